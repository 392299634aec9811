"""Sampling: the right distribution, recorded exactly, and independent of what shares the batch."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from pettingllms.algorithm.batching import collate  # noqa: E402
from pettingllms.algorithm.estimators import PromptGroup, TrainSample  # noqa: E402
from pettingllms.policy import generation  # noqa: E402
from pettingllms.policy.generation import PromptCache, choose, generate  # noqa: E402
from pettingllms.policy.loading import prepare  # noqa: E402
from pettingllms.policy.scoring import score, verify  # noqa: E402
from pettingllms.rollout.types import SamplingParams  # noqa: E402

torch.set_num_threads(1)

END = 7
PROMPTS = [(3, 1, 4, 1, 5), (9, 2, 6), (5, 3, 5, 8, 9, 7, 9, 3, 2), (1,)]


def make(vocab=24, **more):
    torch.manual_seed(3)
    config = transformers.Qwen3Config(
        vocab_size=vocab,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        initializer_range=0.2,
        tie_word_embeddings=False,
        **more,
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    prepare(model, gradient_checkpointing=False)
    verify(model)
    return model


@pytest.fixture(scope="module")
def model():
    return make()


def run(model, prompts, K, seeds=None, **params):
    params = SamplingParams(**{"max_new_tokens": 12, **params})
    seeds = seeds or [[(100 + b, k) for k in range(K)] for b in range(len(prompts))]
    return generate(model, prompts, K, params, seeds, end_ids=frozenset({END}), ends=None, version=5)


def plain(model, prompt, response):
    """Logits by the model's own forward."""
    ours = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *response]]), use_cache=False).logits[0]
    model.set_attn_implementation(ours)
    return logits[len(prompt) - 1 : -1]


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"),
    [(1.0, 1.0, 0), (0.7, 1.0, 0), (1.5, 0.8, 0), (1.0, 1.0, 5), (1.2, 0.9, 6)],
)
@pytest.mark.parametrize("window", [None, 4])
def test_d7_the_learner_scores_what_the_generator_recorded(temperature, top_p, top_k, window):
    more = (
        {}
        if window is None
        else {"use_sliding_window": True, "sliding_window": window, "max_window_layers": 1}
    )
    model = make(**more)
    answers = run(model, PROMPTS, 3, temperature=temperature, top_p=top_p, top_k=top_k)
    groups = [
        PromptGroup("p", "r", prompt, tuple(TrainSample(s, 0.0) for s in samples), temperature)
        for prompt, samples in zip(PROMPTS, answers, strict=True)
    ]
    batch = collate(groups)
    with torch.no_grad():
        for shared_prefix in (True, False):
            scored = score(model, batch, shared_prefix=shared_prefix).logprobs_BKR
            assert (scored - batch.logprobs_BKR).abs().max() < 1e-5
    for samples in answers:
        for sample in samples:
            assert (sample.kept is None) == (top_p == 1.0 and top_k == 0)
            for token, kept in zip(sample.token_ids, sample.kept or (), strict=False):
                assert token in kept
                assert not top_k or len(kept) <= top_k


def test_filters_by_hand():
    logits = torch.log(torch.tensor([[0.05, 0.5, 0.3, 0.15]]))

    def kept(**params):
        token, logprob, sets = choose(
            logits, SamplingParams(**params), torch.tensor([0.0], dtype=torch.float64)
        )
        return sets[0], token.item(), math.exp(logprob.item())

    # The likeliest tokens whose share before them is under top_p; the first of them is drawn at 0.
    assert kept(top_p=0.75) == ((1, 2), 1, pytest.approx(0.5 / 0.8))
    assert kept(top_p=0.85) == ((1, 2, 3), 1, pytest.approx(0.5 / 0.95))
    assert kept(top_p=0.01) == ((1,), 1, pytest.approx(1.0))
    assert kept(top_k=3) == ((1, 2, 3), 1, pytest.approx(0.5 / 0.95))
    # top_k first: .526 .316 .158, of which .842 is over .83 after two; without it, .8 would not be.
    assert kept(top_k=3, top_p=0.83) == ((1, 2), 1, pytest.approx(0.5 / 0.8))
    assert kept(top_p=0.83)[0] == (1, 2, 3)
    # At temperature 1/2 shares are squares: .25 .09 .0225 .0025 of .365, so .685 .247 .062 .007
    assert kept(top_p=0.9, temperature=0.5) == ((1, 2), 1, pytest.approx(0.25 / 0.34))
    equal = torch.zeros(1, 4)
    assert choose(equal, SamplingParams(top_k=2), torch.tensor([0.9]))[2] == [(0, 1)]


def test_choose_inverts_the_distribution():
    n = 20000
    shares = torch.tensor([0.0, 0.1, 0.45, 0.0, 0.15, 0.3, 0.0])
    points = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    logits = torch.log(shares).expand(n, -1)
    token, logprob, _ = choose(logits, SamplingParams(), points)
    counts = torch.bincount(token, minlength=7) / n
    assert (counts - shares).abs().max() <= 1.5 / n
    assert torch.allclose(logprob, torch.log(shares)[token])
    token, _, _ = choose(logits, SamplingParams(temperature=2.0), points)
    heated = shares.sqrt() / shares.sqrt().sum()
    assert (torch.bincount(token, minlength=7) / n - heated).abs().max() <= 1.5 / n
    last = torch.tensor([1.0 - 2**-53], dtype=torch.float64)
    assert choose(logits[:1], SamplingParams(), last)[0].item() == 5  # never a token without probability


def test_no_random_number_draws_a_token_that_a_filter_removed(model, monkeypatch):
    class Edge:
        def __init__(self, seed, index):
            pass

        def at(self, step):
            return 1.0 - 2**-53

    monkeypatch.setattr(generation, "_Uniforms", Edge)
    for (sample,) in run(model, PROMPTS, 1, top_k=3):
        assert all(token in kept for token, kept in zip(sample.token_ids, sample.kept, strict=True))
        assert all(math.isfinite(logprob) for logprob in sample.logprobs)


def test_sampled_tokens_follow_the_softmax():
    model, K = make(vocab=12), 4000
    (samples,) = run(model, [PROMPTS[0]], K, temperature=1.3, max_new_tokens=2)
    expected = torch.softmax(plain(model, PROMPTS[0], (0,))[0] / 1.3, -1) * K
    counts = torch.bincount(torch.tensor([s.token_ids[0] for s in samples]), minlength=12)
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_square < 31.3  # 11 degrees of freedom, p = 0.001
    first = max((t for t in range(12) if t != END), key=lambda t: int(counts[t]))
    second = [s.token_ids[1] for s in samples if s.token_ids[0] == first]
    expected = torch.softmax(plain(model, PROMPTS[0], (first, 0))[1] / 1.3, -1) * len(second)
    counts = torch.bincount(torch.tensor(second), minlength=12)
    assert ((counts - expected) ** 2 / expected).sum().item() < 31.3


def test_greedy_takes_the_likeliest_token_at_every_step(model):
    for prompt, (sample,) in zip(PROMPTS, run(model, PROMPTS, 1, temperature=0.0), strict=True):
        logits = plain(model, prompt, sample.token_ids)
        assert sample.token_ids == tuple(logits.argmax(-1).tolist())
        assert sample.logprobs == pytest.approx(
            torch.log_softmax(logits, -1).max(-1).values.tolist(), abs=1e-5
        )
        assert sample.kept is None


def test_a_response_ends_with_its_end_token_or_its_length(model):
    samples = [s for row in run(model, PROMPTS, 40, temperature=1.5) for s in row]
    assert {s.finish_reason for s in samples} == {"stop", "length"}
    for sample in samples:
        assert END not in sample.token_ids[:-1]
        assert len(sample.logprobs) == len(sample.token_ids)
        assert sample.policy_version == 5
        if sample.finish_reason == "stop":
            assert sample.token_ids[-1] == END
        else:
            assert len(sample.token_ids) == 12
            assert sample.token_ids[-1] != END


def test_stop_conditions_see_the_response_so_far(model):
    def ends(ids):
        return len(ids) >= 2 and sum(ids) > 30

    params = SamplingParams(max_new_tokens=12, temperature=1.5)
    seeds = [[(100 + b, k) for k in range(3)] for b in range(4)]
    got = generate(model, PROMPTS, 3, params, seeds, end_ids=frozenset({END}), ends=ends, version=0)
    free = run(model, PROMPTS, 3, temperature=1.5)
    stopped = 0
    for sample, whole in zip((s for r in got for s in r), (s for r in free for s in r), strict=True):
        cut = next(
            (n for n in range(1, len(whole.token_ids)) if ends(whole.token_ids[:n])), len(whole.token_ids)
        )
        assert sample.token_ids == whole.token_ids[:cut]
        stopped += cut < len(whole.token_ids)
        assert cut == len(whole.token_ids) or sample.finish_reason == "stop"
    assert stopped > 3


def same(one, other):
    assert one.token_ids == other.token_ids
    assert one.finish_reason == other.finish_reason
    assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
    assert one.kept == other.kept


def test_samples_do_not_depend_on_what_shares_the_batch(model):
    together = run(model, PROMPTS, 4, top_p=0.95)
    for b, prompt in enumerate(PROMPTS):
        seeds = [[(100 + b, k) for k in range(4)]]
        for alone, among in zip(run(model, [prompt], 4, seeds, top_p=0.95)[0], together[b], strict=True):
            same(alone, among)
        (single,) = run(model, [prompt], 1, [[(100 + b, 2)]], top_p=0.95)[0]
        same(single, together[b][2])
    assert len({s.token_ids for row in together for s in row}) > 12


def test_letting_finished_prompts_go_changes_nothing(model, monkeypatch):
    prompts = [tuple((i * j) % 24 for j in range(1, 4 + i)) for i in range(1, 9)]
    wanted = run(model, prompts, 2, max_new_tokens=30, temperature=1.5)
    assert min(max(len(s.token_ids) for s in row) for row in wanted) < 15  # somebody did leave early
    assert max(len(s.token_ids) for row in wanted for s in row) == 30
    calls = []
    select = PromptCache.select

    def counting(self, rows):
        calls.append(len(rows))
        select(self, rows)

    monkeypatch.setattr(PromptCache, "select", counting)
    assert run(model, prompts, 2, max_new_tokens=30, temperature=1.5) == wanted
    assert calls  # a prompt on its own is never let go early
    alone = [
        run(model, [p], 2, [[(100 + b, 0), (100 + b, 1)]], max_new_tokens=30, temperature=1.5)
        for b, p in enumerate(prompts)
    ]
    for row, (single,) in zip(wanted, alone, strict=True):
        for one, other in zip(row, single, strict=True):
            same(one, other)


@pytest.mark.parametrize("window", [None, 6])
def test_long_responses_outgrow_their_block_and_leave_at_any_length(window, monkeypatch):
    """The cache grows from 16 to 32 to 40 tokens while prompts leave it; tokens stay the model's own."""
    more = (
        {}
        if window is None
        else {"use_sliding_window": True, "sliding_window": window, "max_window_layers": 1}
    )
    model = make(**more)
    prompts = [tuple((i * j) % 24 for j in range(1, 4 + i)) for i in range(1, 9)]
    sizes, left = [], []
    room, select = PromptCache._room, PromptCache.select

    def measured(self, *arguments):
        held = room(self, *arguments)
        sizes.append(held[0].shape[3])
        return held

    def selecting(self, rows):
        left.append((self.step, len(rows)))
        select(self, rows)

    monkeypatch.setattr(PromptCache, "_room", measured)
    monkeypatch.setattr(PromptCache, "select", selecting)
    answers = generate(
        model, prompts, 1, SamplingParams(max_new_tokens=40, temperature=1.3),
        [[(b, 0)] for b in range(8)], end_ids=frozenset(), version=0,
        ends=lambda ids: len(ids) >= 18 + ids[0],
    )  # fmt: skip
    assert [size for i, size in enumerate(sizes) if i == 0 or sizes[i - 1] != size] == [16, 32, 40]
    assert any(step > 16 and rows < 8 for step, rows in left)
    for prompt, (sample,) in zip(prompts, answers, strict=True):
        assert len(sample.token_ids) == min(40, 18 + sample.token_ids[0])
        table = torch.log_softmax(plain(model, prompt, sample.token_ids) / 1.3, -1)
        expected = table[range(len(sample.token_ids)), sample.token_ids]
        assert sample.logprobs == pytest.approx(expected.tolist(), abs=1e-5)


def test_random_numbers_of_long_responses_do_not_repeat():
    draws = generation._Uniforms(1, 2)
    values = [draws.at(step) for step in range(100)]
    again = generation._Uniforms(1, 2)
    assert again.at(99) == values[99]
    assert len(set(values)) == 100
    assert not set(values) & {generation._Uniforms(1, 3).at(step) for step in range(100)}
