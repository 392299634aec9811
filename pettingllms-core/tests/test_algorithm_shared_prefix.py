"""The prompt computed once gives what full rows give: log-probabilities and gradients, in float32.

The reference is independent of our code: the model's own forward (eager attention) on one unpadded
row `[prompt | response]` after the other.
"""

from __future__ import annotations

import random

import attrs
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from pettingllms.algorithm.batching import collate  # noqa: E402
from pettingllms.algorithm.estimators import PromptGroup, TrainSample  # noqa: E402
from pettingllms.algorithm.shared_prefix import use_shared_prefix_attention  # noqa: E402
from pettingllms.policy import scoring  # noqa: E402
from pettingllms.policy.loading import prepare  # noqa: E402
from pettingllms.policy.scoring import UnsupportedModelError, score, verify  # noqa: E402
from pettingllms.rollout.types import Sample  # noqa: E402

torch.set_num_threads(1)

VOCAB = 40
SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.25,  # sharp attention, so that a wrong mask or position shows
    "pad_token_id": None,
}
WINDOWS = {
    "use_sliding_window": True,
    "sliding_window": 6,
    "layer_types": ["sliding_attention", "full_attention"],
}
FAMILIES = {
    "qwen3": lambda **more: transformers.Qwen3Config(**SHAPE, head_dim=8, tie_word_embeddings=True, **more),
    "qwen2": lambda **more: transformers.Qwen2Config(**SHAPE, **more),
    "llama": lambda **more: transformers.LlamaConfig(**SHAPE, **more),
    "mistral": lambda **more: transformers.MistralConfig(**SHAPE, **more),
}


def make(family="qwen3", *, gradient_checkpointing=False, **more):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(FAMILIES[family](**more))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or name.endswith("bias"):  # which start as ones and zeros
                parameter.add_(0.2 * torch.randn_like(parameter))
    prepare(model, gradient_checkpointing=gradient_checkpointing)
    use_shared_prefix_attention(model)
    return model


def make_groups(shapes, *, temperature=1.0, kept=False, seed=0):
    """Groups of (K, prompt tokens, longest response), the responses of differing lengths."""
    rng = random.Random(seed)

    def tokens(n):
        return tuple(rng.randrange(VOCAB) for _ in range(n))

    groups = []
    for K, P, R in shapes:
        items = []
        for k in range(K):
            ids = tokens(R if k == 0 else rng.randint(1, R))
            sets = tuple(tuple(sorted({i, *tokens(rng.randint(0, 9))})) for i in ids) if kept else None
            items.append(TrainSample(Sample(ids, (0.0,) * len(ids), "stop", 0, sets), rng.uniform(-1, 1)))
        groups.append(PromptGroup("p", "r", tokens(P), tuple(items), temperature))
    return groups


def reference_scores(model, groups):
    """Log-probabilities and entropies by the model's own forward, row by row: lists [group][branch]."""
    ours = model.config._attn_implementation
    model.set_attn_implementation("eager")
    logprobs, entropies = [], []
    for group in groups:
        logprobs.append([])
        entropies.append([])
        for item in group.samples:
            ids, P = item.sample.token_ids, len(group.prompt_ids)
            row = torch.tensor([[*group.prompt_ids, *ids]])
            logits = model(input_ids=row, use_cache=False).logits[0, P - 1 : -1] / group.temperature
            if item.sample.kept is not None:
                allowed = torch.zeros_like(logits, dtype=torch.bool)
                for r, keep in enumerate(item.sample.kept):
                    allowed[r, list(keep)] = True
                logits = torch.where(allowed, logits, torch.tensor(-1e9))
            table = torch.log_softmax(logits, -1)
            logprobs[-1].append(table[range(len(ids)), ids])
            entropies[-1].append(-(table.exp() * table).sum(-1))
    model.set_attn_implementation(ours)
    return logprobs, entropies


def weighted(rows):
    """A loss in which every token has a weight of its own."""
    flat = torch.cat([row for group in rows for row in group])
    return (flat * torch.sin(torch.arange(1.0, len(flat) + 1))).sum()


def gradient(model, loss):
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def unpad(values_BKR, groups):
    return [
        [values_BKR[b, k, : len(item.sample.token_ids)] for k, item in enumerate(group.samples)]
        for b, group in enumerate(groups)
    ]


def assert_close(got, wanted):
    """Within 1e-5, relative to the largest value."""
    difference = (got - wanted).abs().max().item()
    assert difference <= 1e-5 * wanted.abs().max().item() + 1e-12, difference


def assert_exact(model, groups, *, reference_model=None, entropy=True, **how):
    other = reference_model or model
    wanted, wanted_entropy = reference_scores(other, groups)
    wanted_gradient = gradient(other, weighted(wanted) + weighted(wanted_entropy) * entropy)
    scores = score(model, collate(groups), **how)
    got, got_entropy = unpad(scores.logprobs_BKR, groups), unpad(scores.entropy_BKR, groups)
    for mine, theirs in ((got, wanted), (got_entropy, wanted_entropy)):
        assert_close(torch.cat([r for g in mine for r in g]), torch.cat([r for g in theirs for r in g]))
    # Nothing stands on padding.
    assert torch.equal(
        scores.logprobs_BKR != 0, scores.logprobs_BKR.masked_fill(~collate(groups).mask_BKR, 0) != 0
    )
    got_gradient = gradient(model, weighted(got) + weighted(got_entropy) * entropy)
    assert got_gradient.keys() == wanted_gradient.keys()
    flat = [torch.cat([g.flatten() for g in grads.values()]) for grads in (got_gradient, wanted_gradient)]
    assert (flat[0] - flat[1]).norm() <= 1e-5 * flat[1].norm()
    largest = flat[1].abs().max()
    for name, wanted_one in wanted_gradient.items():
        # The bias of the keys has no gradient in exact arithmetic: measure that against the model's largest.
        scale = max(wanted_one.abs().max(), 0.02 * largest)
        assert (got_gradient[name] - wanted_one).abs().max() <= 1e-5 * scale, name


TWO_PART = [True, False]
PADDED = [(3, 9, 7), (3, 5, 4), (3, 12, 1)]


@pytest.mark.parametrize("two_part", TWO_PART)
@pytest.mark.parametrize(
    "shapes",
    [[(4, 8, 6)], PADDED, [(1, 7, 5), (1, 3, 2)], [(5, 6, 1)], [(1, 1, 1)], [(2, 1, 9), (2, 11, 3)]],
    ids=["one", "padded", "K=1", "R=1", "all-ones", "long-response"],
)
def test_shared_prefix_equals_full_rows(shapes, two_part):
    assert_exact(make(), make_groups(shapes), shared_prefix=True, two_part=two_part)


@pytest.mark.parametrize("two_part", TWO_PART)
@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("qwen2", {}),
        ("llama", {}),
        ("llama", {"num_key_value_heads": 4}),
        ("llama", {"num_key_value_heads": 1}),
        ("mistral", {"sliding_window": 5}),
        ("qwen2", WINDOWS),
        ("qwen3", WINDOWS),
    ],
    ids=["qwen2", "llama", "no-gqa", "one-kv-head", "mistral-window", "qwen2-window", "qwen3-window"],
)
def test_every_family_and_window(family, more, two_part):
    shape = dict(SHAPE)
    for key in more.keys() & SHAPE.keys():
        shape[key] = more[key]
    rest = {key: value for key, value in more.items() if key not in SHAPE}
    config = type(FAMILIES[family]())
    extra = {"head_dim": 8} if family == "qwen3" else {}
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config(**shape, **extra, **rest))
    prepare(model, gradient_checkpointing=False)
    verify(model)
    assert_exact(model, make_groups(PADDED), shared_prefix=True, two_part=two_part)


@pytest.mark.parametrize("shared_prefix", [True, False])
@pytest.mark.parametrize("more", [{}, WINDOWS], ids=["full", "window"])
def test_gradient_checkpointing_changes_nothing(shared_prefix, more):
    model = make(gradient_checkpointing=True, **more)
    assert model.training
    groups = make_groups(PADDED)
    assert_exact(model, groups, reference_model=make(**more), shared_prefix=shared_prefix)


@pytest.mark.parametrize("shared_prefix", [True, False])
def test_the_plain_path_temperature_and_filters(shared_prefix):
    model = make()
    assert_exact(model, make_groups(PADDED, temperature=0.6), shared_prefix=shared_prefix)
    assert_exact(model, make_groups(PADDED, temperature=1.4, kept=True), shared_prefix=shared_prefix)
    assert model.config._attn_implementation == "pettingllms_shared_prefix"


def test_temperatures_may_differ_within_a_batch():
    cold, hot = make_groups(PADDED[:1], temperature=0.5), make_groups(PADDED[1:2], temperature=2.0, seed=1)
    assert_exact(make(), [*cold, *hot], shared_prefix=True)


def test_logits_in_blocks_equal_logits_at_once(monkeypatch):
    model, groups = make(), make_groups(PADDED, kept=True)
    monkeypatch.setattr(scoring, "LOGIT_BLOCK", 3 * VOCAB)
    assert_exact(model, groups, shared_prefix=True)


def test_responses_of_a_group_do_not_see_each_other():
    model, (group,) = make(), make_groups([(3, 6, 5)])
    others = make_groups([(3, 6, 5)], seed=9)[0].samples
    changed = attrs.evolve(group, samples=(group.samples[0], *others[1:]))
    with torch.no_grad():
        before, after = (
            score(model, collate([g]), shared_prefix=True).logprobs_BKR for g in (group, changed)
        )
    assert torch.equal(before[0, 0, :5], after[0, 0, :5])
    assert not torch.equal(before[0, 1, :1], after[0, 1, :1])


def gemma2(**more):
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(
        transformers.Gemma2Config(**{**SHAPE, "pad_token_id": 0}, head_dim=8, query_pre_attn_scalar=8, **more)
    )


def test_an_architecture_that_computes_something_else_is_refused():
    with pytest.raises(UnsupportedModelError, match="soft-capped scores"):
        verify(gemma2())
    capped_logits = gemma2(attn_logit_softcapping=None, final_logit_softcapping=2.0)
    with pytest.raises(UnsupportedModelError, match="log-probabilities differ by"):
        verify(capped_logits)
    verify(gemma2(attn_logit_softcapping=None, final_logit_softcapping=None))


def test_a_model_without_attention_is_refused():
    torch.manual_seed(0)
    config = transformers.MambaConfig(
        vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, state_size=8, initializer_range=0.25
    )
    with pytest.raises(UnsupportedModelError):
        verify(transformers.AutoModelForCausalLM.from_config(config))
