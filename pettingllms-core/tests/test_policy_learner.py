"""The learner: micro-batches, the gradient, the schedule, and what a checkpoint brings back."""

from __future__ import annotations

import math
import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pettingllms.algorithm.batching import collate, micro_batches  # noqa: E402
from pettingllms.algorithm.estimators import PromptGroup, TrainSample  # noqa: E402
from pettingllms.config.schema import TinyConfig, TrainingConfig  # noqa: E402
from pettingllms.policy.chat import TokenizerCodec  # noqa: E402
from pettingllms.policy.learner import Learner  # noqa: E402
from pettingllms.policy.loading import LoadedModel, prepare  # noqa: E402
from pettingllms.policy.optimizer import make_optimizer  # noqa: E402
from pettingllms.policy.scoring import verify  # noqa: E402
from pettingllms.policy.tiny import make_tiny_model, train_tokenizer  # noqa: E402
from pettingllms.rollout.types import Sample  # noqa: E402

torch.set_num_threads(1)

SHAPE = TinyConfig(
    hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=48
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["go left", "go right"], 300)


@pytest.fixture
def make(tokenizer):
    def make(seed=0, reference=None, **settings):
        model = make_tiny_model(SHAPE, tokenizer, seed, max_length=64)
        prepare(model, gradient_checkpointing=False)
        verify(model)
        loaded = LoadedModel(
            model, tokenizer, TokenizerCodec(tokenizer, enable_thinking=False), frozenset({1})
        )
        return Learner(loaded, TrainingConfig(**{"learning_rate": 1e-2, **settings}), reference)

    return make


def make_group(K, P, R, seed=0, finish="stop", advantage=None, kept=None):
    rng = random.Random(f"{K}{P}{R}{seed}")

    def tokens(n):
        return tuple(rng.randrange(5, 270) for _ in range(n))

    items = []
    for k in range(K):
        ids = tokens(R if k == 0 else rng.randint(1, R))
        # log-probabilities that no filter would give; the generator's ratio is then away from one
        sample = Sample(
            ids, tuple(rng.uniform(-5.8, -5.4) for _ in ids), finish, 0, kept and tuple((i,) for i in ids)
        )
        items.append(TrainSample(sample, rng.uniform(-1, 1) if advantage is None else advantage))
    return PromptGroup("p", "r", tokens(P), tuple(items), 1.0)


GROUPS = [
    make_group(3, 5, 4),
    make_group(3, 9, 2),
    make_group(2, 4, 6),
    make_group(3, 7, 7),
    make_group(1, 3, 3),
]


def weights_of(learner):
    return {name: value.clone() for name, value in learner.model.state_dict().items()}


def part_groups(learner):
    """The parameter groups of every part of the optimiser."""
    return [group for part in learner.optimizer.state_dict()["parts"] for group in part["param_groups"]]


def same_weights(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 30), st.integers(1, 20), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 200),
)
def test_micro_batches_hold_whole_groups_once_within_the_budget(shapes, tokens):
    groups = [make_group(K, P, R, seed=i, kept=f or None) for i, (K, P, R, f) in enumerate(shapes)]
    batches = list(micro_batches(groups, tokens))
    assert sorted(i for batch in batches for i in batch) == list(range(len(groups)))
    for indices in batches:
        part = [groups[i] for i in indices]
        batch = collate(part)  # refuses to mix numbers of responses, or filtered with unfiltered
        B, K, R = batch.responses_BKR.shape
        assert B == 1 or B * (batch.prompts_BP.shape[1] + K * R) <= tokens
        for b, group in enumerate(part):
            assert batch.mask_BKR[b].sum(-1).tolist() == [
                len(item.sample.token_ids) for item in group.samples
            ]


def test_collate_keeps_every_number_in_its_place():
    long, short = make_group(2, 6, 5), make_group(2, 3, 2, finish="length")
    batch = collate([long, short], mask_truncated=True)
    for b, group in enumerate([long, short]):
        assert tuple(batch.prompts_BP[b, : batch.prompt_lengths_B[b]].tolist()) == group.prompt_ids
        for k, item in enumerate(group.samples):
            real = batch.mask_BKR[b, k]
            assert tuple(batch.responses_BKR[b, k][real].tolist()) == item.sample.token_ids
            assert batch.logprobs_BKR[b, k][real].tolist() == pytest.approx(item.sample.logprobs)
            assert batch.advantages_BK[b, k].item() == pytest.approx(item.advantage)
    assert torch.equal(batch.trained_BKR[0], batch.mask_BKR[0])
    assert not batch.trained_BKR[1].any()


@pytest.mark.parametrize("aggregation", ["token-mean", "sequence-mean"])
def test_the_gradient_does_not_depend_on_the_micro_batches(make, aggregation):
    def gradient(tokens, **more):
        learner = make(loss_aggregation=aggregation, microbatch_tokens=tokens, max_grad_norm=1e9, **more)
        metrics = learner.update(GROUPS, 0, seed=0)
        return torch.cat([p.grad.flatten() for p in learner.model.parameters()]), metrics

    whole, metrics = gradient(10_000)
    for tokens in (1, 40):
        split, split_metrics = gradient(tokens)
        assert (split - whole).norm() <= 1e-5 * whole.norm()
        assert split_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-7)
    plain, _ = gradient(10_000, shared_prefix=False)
    assert (plain - whole).norm() <= 1e-5 * whole.norm()


def test_token_and_sequence_mean_differ_as_they_should(make):
    # One token against seven: the short response has 1/8 or 1/2 of the weight.
    group = attrs.evolve(
        make_group(2, 4, 7),
        samples=(
            TrainSample(Sample((9,), (-5.6,), "stop", 0), 1.0),
            TrainSample(Sample((11, 12, 13, 14, 15, 16, 17), (-5.6,) * 7, "stop", 0), 0.0),
        ),
    )
    losses = [
        make(loss_aggregation=how, clip_epsilon=0.99).update([group], 0, 0)["policy_loss"]
        for how in ("token-mean", "sequence-mean")
    ]
    assert losses[0] / losses[1] == pytest.approx((1 / 8) / (1 / 2), rel=1e-5)


def test_an_update_repeats_bit_for_bit_and_its_seed_shuffles_minibatches(make):
    def run(seed):
        learner = make(num_minibatches=2, ppo_epochs=2)
        metrics = learner.update(GROUPS, 0, seed)
        assert metrics["optimizer_steps"] == 4
        assert learner.version == 1
        return weights_of(learner), metrics

    (first, metrics), (again, metrics_again), (other, _) = run(1), run(1), run(2)
    assert same_weights(first, again)
    assert metrics == metrics_again
    assert not same_weights(first, other)


def test_an_update_raises_what_was_good_and_lowers_what_was_bad(make):
    learner = make(old_logprobs="recompute")
    good, bad = make_group(2, 5, 4, advantage=1.0), make_group(2, 6, 4, seed=1, advantage=-1.0)
    before = [logprobs.sum().item() for logprobs in learner.logprobs([good, bad])]
    learner.update([good, bad], 0, 0)
    after = [logprobs.sum().item() for logprobs in learner.logprobs([good, bad])]
    assert after[0] > before[0]
    assert after[1] < before[1]


def test_recomputed_ratios_start_at_one(make):
    metrics = make(old_logprobs="recompute", microbatch_tokens=30).update(GROUPS, 0, 0)
    assert metrics["ratio_kl"] == pytest.approx(0.0, abs=1e-10)
    assert metrics["clip_fraction"] == 0.0
    assert metrics["generator_drift"] > 1e-3  # the recorded ones were made up
    assert make().update(GROUPS, 0, 0)["ratio_kl"] > 1e-4


def test_the_reference_pulls_back(make):
    reference = make(seed=1).model.requires_grad_(False)
    flat = [attrs.evolve(g, samples=tuple(attrs.evolve(s, advantage=0.0) for s in g.samples)) for g in GROUPS]
    learner = make(seed=0, reference=reference, kl_coefficient=1.0)
    first = learner.update(flat, 0, 0)["reference_kl"]
    for _ in range(8):
        last = learner.update(flat, 0, 0)["reference_kl"]
    assert 0 < last < first
    assert all(parameter.grad is None for parameter in reference.parameters())


def test_truncated_responses_can_be_masked(make):
    cut = make_group(2, 5, 4, finish="length", advantage=1.0)
    fine = make_group(2, 6, 4, seed=1)
    with_cut, without = make(mask_truncated=True), make(mask_truncated=True)
    with_cut.update([cut, fine], 0, 0)
    without.update([fine], 0, 0)
    for one, other in zip(with_cut.model.parameters(), without.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    unmasked = make()
    unmasked.update([cut, fine], 0, 0)
    assert not torch.allclose(next(unmasked.model.parameters()), next(without.model.parameters()), atol=1e-3)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_learning_rate_of_the_iteration_reaches_every_weight(make, optimizer):
    learner = make(optimizer=optimizer, learning_rate=1.0, warmup_iterations=4)
    assert learner.update(GROUPS[:1], 1, 0)["learning_rate"] == 0.5
    assert {group["lr"] for group in part_groups(learner)} == {0.5}
    still = make(optimizer=optimizer, learning_rate=0.0)
    before = weights_of(still)
    still.update(GROUPS, 0, 0)
    assert same_weights(before, weights_of(still))
    moved = make(optimizer=optimizer)
    moved.update(GROUPS, 0, 0)
    assert not any(torch.equal(before[name], value) for name, value in weights_of(moved).items())


def test_learning_rates(make):
    def rates(**settings):
        learner = make(learning_rate=1.0, **settings)
        return [learner.learning_rate(i) for i in range(7)]

    assert rates() == [1.0] * 7
    assert rates(num_iterations=6, warmup_iterations=2, lr_schedule="linear") == pytest.approx(
        [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    )
    half = math.sqrt(0.5) / 2  # cos(pi/4) / 2
    assert rates(num_iterations=6, warmup_iterations=2, lr_schedule="cosine") == pytest.approx(
        [0.5, 1.0, 1.0, 0.5 + half, 0.5, 0.5 - half, 0.0]
    )


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_weight_decay_spares_norms(make, optimizer):
    # Without a gradient, decay is all that moves a weight: by the factor 1 - lr * decay.
    learner = make(optimizer=optimizer, weight_decay=0.5, learning_rate=0.1)
    before = weights_of(learner)
    for parameter in learner.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    learner.optimizer.step()
    for name, value in weights_of(learner).items():
        factor = 1.0 if value.ndim == 1 else 0.95
        assert torch.allclose(value, factor * before[name], rtol=1e-5, atol=0), name


def test_a_gradient_that_is_not_finite_skips_the_step_and_says_so(make):
    learner = make(clip_epsilon=0.5)
    before = weights_of(learner)
    bad = attrs.evolve(
        GROUPS[0], samples=(TrainSample(GROUPS[0].samples[0].sample, math.nan), *GROUPS[0].samples[1:])
    )
    metrics = learner.update([bad], 0, 0)
    assert metrics == {"skipped_steps": 1.0, "learning_rate": 1e-2, "optimizer_steps": 1.0, "groups": 1.0}
    assert same_weights(before, weights_of(learner))
    assert [part["state"] for part in learner.optimizer.state_dict()["parts"]] == [{}]
    assert learner.update(GROUPS, 0, 0)["skipped_steps"] == 0.0
    assert not same_weights(before, weights_of(learner))


def test_skipped_steps_are_counted_and_stay_out_of_the_means(make):
    lost = attrs.evolve(
        GROUPS[0], samples=tuple(TrainSample(item.sample, math.nan) for item in GROUPS[0].samples)
    )
    alone = make().update([GROUPS[1]], 0, 0)
    beside = make(num_minibatches=3).update([GROUPS[1], lost, lost], 0, 0)
    assert (beside.pop("skipped_steps"), beside.pop("optimizer_steps"), beside.pop("groups")) == (
        2.0,
        3.0,
        3.0,
    )
    assert beside == {name: pytest.approx(alone[name]) for name in beside}
    assert {"policy_loss", "grad_norm"} <= set(beside)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_with_nothing_to_train_on_moves_no_weight_by_momentum_or_decay(make, optimizer):
    learner = make(optimizer=optimizer, mask_truncated=True, weight_decay=0.5)
    learner.update(GROUPS, 0, 0)
    before = weights_of(learner)
    metrics = learner.update([make_group(2, 5, 4, finish="length")], 1, 0)
    assert metrics["skipped_steps"] == 1.0
    assert same_weights(before, weights_of(learner))


def test_entropy_is_measured_but_trained_only_when_it_has_a_weight(make):
    def gradient(coefficient):
        learner = make(entropy_coefficient=coefficient, max_grad_norm=1e9)
        entropy = learner.update(GROUPS, 0, 0)["entropy"]
        return entropy, torch.cat([p.grad.flatten() for p in learner.model.parameters()])

    (entropy, without), (same, also), (_, with_bonus) = gradient(0.0), gradient(1e-12), gradient(1.0)
    assert entropy == pytest.approx(same)
    assert entropy > 1.0
    assert torch.allclose(without, also, atol=1e-7)
    assert (with_bonus - without).norm() > 1e-3 * without.norm()


def test_muon_steps_the_matrices_and_adamw_the_tables_and_vectors(make):
    learner = make(optimizer="muon")
    names = {id(parameter): name for name, parameter in learner.model.named_parameters()}
    adamw, muon = learner.optimizer._parts
    assert (type(adamw).__name__, type(muon).__name__) == ("AdamW", "Muon")
    held = [{names[id(p)] for group in part.param_groups for p in group["params"]} for part in (adamw, muon)]
    assert held[0] | held[1] == set(names.values())
    assert not held[0] & held[1]
    shapes = {name: parameter.ndim for name, parameter in learner.model.named_parameters()}
    assert held[1] == {
        name for name, ndim in shapes.items() if ndim == 2 and "embed" not in name and "head" not in name
    }
    assert "model.embed_tokens.weight" in held[0]
    assert "model.layers.0.self_attn.q_proj.weight" in held[1]


def test_the_head_of_a_model_with_untied_tables_stays_with_adamw():
    from transformers import AutoModelForCausalLM, Qwen3Config

    config = Qwen3Config(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, tie_word_embeddings=False,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    optimizer = make_optimizer(model, kind="muon", learning_rate=0.1, betas=(0.9, 0.999), weight_decay=0.0)
    by_adamw = {id(p) for group in optimizer._parts[0].param_groups for p in group["params"]}
    assert id(model.lm_head.weight) in by_adamw
    assert id(model.model.embed_tokens.weight) in by_adamw
    assert id(model.model.layers[0].mlp.up_proj.weight) not in by_adamw


def test_a_muon_step_by_hand(make):
    """Without momentum yet, the step is the gradient with its singular values near one, scaled."""
    learner = make(optimizer="muon", learning_rate=0.1)
    before = weights_of(learner)
    learner.update(GROUPS, 0, 0)
    name = "model.layers.0.self_attn.q_proj.weight"
    step = (before[name] - weights_of(learner)[name]) / (0.1 * 0.2 * math.sqrt(max(before[name].shape)))
    values = torch.linalg.svdvals(step)
    assert values.max() < 1.3
    assert values.median() > 0.6


def test_no_groups_is_no_update(make):
    learner = make()
    before = weights_of(learner)
    metrics = learner.update([], 3, 0)
    assert metrics == {"learning_rate": 1e-2, "optimizer_steps": 0.0, "groups": 0.0, "skipped_steps": 0.0}
    assert same_weights(before, weights_of(learner))
    assert learner.version == 0


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_what_was_saved_goes_on_bit_for_bit(make, tmp_path, optimizer):
    learner = make(ppo_epochs=2, optimizer=optimizer)
    learner.update(GROUPS, 0, 0)
    learner.save(tmp_path)
    learner.update(GROUPS[:3], 1, 1)
    restored = make(seed=5, ppo_epochs=2, optimizer=optimizer)
    restored.load(tmp_path)
    assert restored.version == 1
    restored.update(GROUPS[:3], 1, 1)
    assert same_weights(weights_of(learner), weights_of(restored))
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert AutoTokenizer.from_pretrained(tmp_path).chat_template
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config.hidden_size == 32
