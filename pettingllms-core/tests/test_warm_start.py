"""The warm start: demonstrations, the tokenizer made from them, and the clone."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pettingllms.env.types import Message
from pettingllms.errors import ConfigError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pettingllms.config.schema import TinyConfig, TrainingConfig  # noqa: E402
from pettingllms.policy.chat import TokenizerCodec  # noqa: E402
from pettingllms.policy.generation import generate  # noqa: E402
from pettingllms.policy.learner import Learner  # noqa: E402
from pettingllms.policy.loading import LoadedModel, prepare  # noqa: E402
from pettingllms.policy.scoring import verify  # noqa: E402
from pettingllms.policy.tiny import make_tiny_model, train_tokenizer  # noqa: E402
from pettingllms.rollout.types import SamplingParams  # noqa: E402
from pettingllms.testing.toy import ClueEnvironment, ClueOptions, ClueSuite  # noqa: E402
from pettingllms.training.warm_start import clone, demonstrate, texts_of  # noqa: E402

torch.set_num_threads(1)

OPTIONS = ClueOptions()
PROMPTS = {"caller": "Say the digit.", "answerer": ""}
SHAPE = TinyConfig(hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=64)


def show(num_tasks=12, noise=0.3, seed=0, environment=None):
    environment = environment or ClueEnvironment(OPTIONS)
    return demonstrate(environment, ClueSuite(OPTIONS), PROMPTS, num_tasks=num_tasks, noise=noise, seed=seed)


@pytest.fixture(scope="module")
def tokenizer():
    board = "#####\n#@$.#\n#_*+#\n#####\n5 3 . | 1 2 4"
    return train_tokenizer([*texts_of(show()), board] * 4, 400)


def test_demonstrations_repeat_by_their_seed():
    assert show(seed=3) == show(seed=3)
    assert show(seed=3) != show(seed=4)
    assert show(noise=0.0, seed=3) == show(noise=0.0, seed=4)


def test_demonstrations_are_the_experts_in_every_seat():
    found = show(num_tasks=5, noise=0.0)
    assert len(found) == 5 * 2 * 2  # two digits, two roles
    assert [d.role for d in found[:4]] == ["caller", "answerer"] * 2
    assert found[0].messages[0] == Message("system", "Say the digit.")
    assert [m.role for m in found[1].messages] == ["user"]  # an empty system prompt is no message
    for demonstration in found:
        text = demonstration.messages[-1].content
        if demonstration.role == "caller":
            assert demonstration.response == text[-1]
        else:
            assert int(demonstration.response) == (int(text.split("Heard: ")[1][0]) + 1) % 10


def test_noise_leads_off_the_experts_path_but_is_not_demonstrated():
    found = show(num_tasks=20, noise=1.0)
    assert len(found) > 20 * 2 * 2  # random answers repeat digits
    off = 0
    for first, second in zip(found, found[1:], strict=False):
        if second.role == "answerer":
            heard = second.messages[-1].content.split("Heard: ")[1][0]
            off += heard != first.response
            assert int(second.response) == (int(heard) + 1) % 10
    assert off > 20


def test_no_more_demonstrations_than_tasks():
    assert len({d.messages for d in show(num_tasks=10**6, noise=0.0)}) > 10
    size = ClueSuite(OPTIONS).size("train")
    assert len(show(num_tasks=10**6, noise=0.0)) == size * 4


def test_an_environment_without_an_expert_is_refused_in_one_line():
    class Mute(ClueEnvironment):
        expert = None

    with pytest.raises(ConfigError, match="no expert to clone; set warm_start.steps = 0") as failure:
        show(environment=Mute(OPTIONS))
    assert "\n" not in str(failure.value)


@settings(max_examples=150)
@given(st.text())
@example("  two  spaces\t\n\n and é ß 漢字 🙂‍↔️ \u200b  end ")
@example("don't 12345 -3.5 __init__ ['a']")
def test_any_text_survives_the_tiny_tokenizer(tokenizer, text):
    codec = TokenizerCodec(tokenizer, enable_thinking=False)
    assert codec.decode(codec.response_ids(text)) == text


def test_boards_are_one_token_a_cell_and_markers_one_token_each(tokenizer):
    board = "#@$.#\n#_*+#"
    assert [tokenizer.decode([i]) for i in tokenizer.encode(board, add_special_tokens=False)] == list(board)
    row = "5 3 . | 1 2 4"
    assert [tokenizer.decode([i]).strip() for i in tokenizer.encode(row, add_special_tokens=False)] == row.split(" ")
    assert len(tokenizer.encode("9876543210", add_special_tokens=False)) == 10
    codec = TokenizerCodec(tokenizer, enable_thinking=False)
    ids = codec.encode((Message("system", ""), Message("user", "#")))
    assert [tokenizer.decode([i]) for i in ids] == ["<|system|>", "<|user|>", "#", "<|assistant|>"]
    assert codec.response_ids("5") == (*tokenizer.encode("5"), tokenizer.eos_token_id)


def make_learner(tokenizer, seed=0):
    model = make_tiny_model(SHAPE, tokenizer, seed, max_length=128)
    prepare(model, gradient_checkpointing=False)
    verify(model)
    codec = TokenizerCodec(tokenizer, enable_thinking=False)
    return Learner(LoadedModel(model, tokenizer, codec, frozenset({tokenizer.eos_token_id})), TrainingConfig())


def test_the_tiny_model_is_the_same_for_one_seed_and_leaves_torchs_own_alone(tokenizer):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    one, same, other = (make_tiny_model(SHAPE, tokenizer, seed, 128).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_clone_learns_to_end_and_repeats_bit_for_bit(tokenizer):
    demonstrations = show(num_tasks=8, noise=0.0)

    def run(seed=0):
        learner = make_learner(tokenizer)
        losses = clone(learner, demonstrations, steps=60, batch_size=16, learning_rate=1e-2, seed=seed)
        return learner, losses

    learner, losses = run()
    assert len(losses) == 60
    assert losses[-1] < 0.2 * losses[0]
    again, losses_again = run()
    assert losses == losses_again
    for one, other in zip(learner.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert run(seed=1)[1] != losses
    prompt = learner.loaded.codec.encode(demonstrations[0].messages)
    (samples,) = generate(
        learner.model, [prompt], 8, SamplingParams(max_new_tokens=4), [[(0, k) for k in range(8)]],
        end_ids=learner.loaded.end_ids, ends=None, version=0,
    )  # fmt: skip
    texts = [learner.loaded.codec.decode(s.token_ids) for s in samples]
    assert sum(len(text) == 1 and text.isdigit() for text in texts) >= 6


def test_the_demonstrations_solve_the_tasks():
    environment, suite = ClueEnvironment(OPTIONS), ClueSuite(OPTIONS)

    async def play(index):
        state = environment.start(suite.task("train", index), 0)
        while (role := environment.acting_role(state)) is not None:
            state = (await environment.step(state, role, environment.expert(state, role))).state
        return environment.outcome(state).success

    assert all(asyncio.run(play(index)) for index in range(5))
