"""The warm start: demonstrations, the tokenizer made from them, and the clone."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pettingllms.env.types import Message
from pettingllms.errors import ConfigError, EnvironmentFault

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pettingllms.config.schema import Config, EngineConfig, ModelConfig, TinyConfig, WarmStartConfig  # noqa: E402
from pettingllms.policy.chat import TokenizerCodec  # noqa: E402
from pettingllms.policy.generation import generate  # noqa: E402
from pettingllms.policy.imitation import Demonstrated, imitate  # noqa: E402
from pettingllms.policy.loading import load_model, prepare  # noqa: E402
from pettingllms.policy.saving import save_model  # noqa: E402
from pettingllms.policy.scoring import verify  # noqa: E402
from pettingllms.policy.tiny import make_tiny_model, train_tokenizer  # noqa: E402
from pettingllms.rollout.types import SamplingParams  # noqa: E402
from pettingllms.testing.toy import ClueEnvironment, ClueOptions, ClueSuite  # noqa: E402
from pettingllms.training.source import starting_weights  # noqa: E402
from pettingllms.training.warm_start import batches_of, demonstrate, texts_of, wander  # noqa: E402

torch.set_num_threads(1)

OPTIONS = ClueOptions()
PROMPTS = {"caller": "Say the digit.", "answerer": ""}
SHAPE = TinyConfig(
    hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=64
)


def show(num_tasks=12, noise=0.3, seed=0, environment=None):
    environment = environment or ClueEnvironment(OPTIONS)
    return demonstrate(environment, ClueSuite(OPTIONS), PROMPTS, num_tasks=num_tasks, noise=noise, seed=seed)


@pytest.fixture(scope="module")
def tokenizer():
    board = "#####\n#@$.#\n#_*+#\n#####\n5 3 . | 1 2 4, 9876543210"
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
    for first, second in itertools.pairwise(found):
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
    with pytest.raises(ConfigError, match="no expert to clone") as failure:
        show(environment=Mute(OPTIONS))
    assert "\n" not in str(failure.value)


def test_where_the_expert_gives_up_its_demonstrations_end():
    class Fussy(ClueEnvironment):
        def expert(self, state, role):
            lost = role == "answerer" and state.said != state.code[state.done]
            return None if lost else super().expert(state, role)

    found = show(num_tasks=30, noise=1.0, environment=Fussy(OPTIONS))
    calls = [d for d in found if d.role == "caller"]
    assert 30 <= len(calls) < 30 * 2  # nearly every random call is wrong, and nothing follows it
    assert len(found) - len(calls) < 12
    assert all(d.response.isdigit() for d in found)

    class Hopeless(ClueEnvironment):
        def expert(self, state, role):
            return None

    with pytest.raises(EnvironmentFault, match="the expert's play of the train split shows nothing"):
        show(environment=Hopeless(OPTIONS))


class Mute(ClueEnvironment):
    expert = None


class Silent(Mute):
    random_response = None


@pytest.mark.parametrize("environment", [Mute(OPTIONS), Silent(OPTIONS)])
def test_without_an_expert_random_play_or_silence_shows_the_prompts(environment):
    found = wander(environment, ClueSuite(OPTIONS), PROMPTS, num_tasks=6, seed=0)
    assert found == wander(environment, ClueSuite(OPTIONS), PROMPTS, num_tasks=6, seed=0)
    texts = texts_of(found)
    assert {d.role for d in found} == {"caller", "answerer"}
    assert "Say the digit." in texts
    assert any("Digit: " in text for text in texts)
    answers = {d.response for d in found}
    if isinstance(environment, Silent):
        assert answers == {""}
        assert any("Heard: nothing" in text for text in texts)
    else:
        assert answers <= set("0123456789")
        assert len(answers) > 3
        assert found != wander(environment, ClueSuite(OPTIONS), PROMPTS, num_tasks=6, seed=1)


def weights_for(environment, tmp_path, monkeypatch, *, steps):
    monkeypatch.setenv("PETTINGLLMS_CACHE", str(tmp_path))
    config = Config(
        model=ModelConfig(name="tiny", max_length=128, tiny=SHAPE),
        warm_start=WarmStartConfig(steps=steps, num_tasks=6, learning_rate=1e-3),
        engine=EngineConfig(device="cpu", threads=1),
    )
    problem = SimpleNamespace(environment=environment, suite=ClueSuite(OPTIONS))
    said = []
    folder = starting_weights(config, problem, SimpleNamespace(system_prompts=PROMPTS), said.append)
    return folder, said


@pytest.mark.parametrize("environment", [ClueEnvironment(OPTIONS), Mute(OPTIONS), Silent(OPTIONS)])
def test_the_tiny_model_is_made_without_an_expert_when_nothing_is_cloned(environment, tmp_path, monkeypatch):
    folder, said = weights_for(environment, tmp_path, monkeypatch, steps=0)
    assert said == []
    loaded = load_model(folder, ModelConfig(), torch.device("cpu"))
    # Words of the prompts are single tokens, of both seats, so the tokenizer was trained on them.
    for word in (" Digit", " Heard", "Say"):
        assert len(loaded.tokenizer.encode(word, add_special_tokens=False)) == 1
    again, said = weights_for(environment, tmp_path, monkeypatch, steps=0)
    assert again == folder
    assert said == [f"model: found in the cache ({folder})"]


def test_to_clone_without_an_expert_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"no expert to clone; set warm_start\.steps = 0"):
        weights_for(Mute(OPTIONS), tmp_path, monkeypatch, steps=2)
    assert list(tmp_path.iterdir()) == []


def test_writing_a_model_shows_no_progress_bar(tokenizer, tmp_path, capfd):
    from transformers.utils import logging

    model = make_tiny_model(SHAPE, tokenizer, 0, max_length=128)
    logging.enable_progress_bar()
    model.save_pretrained(tmp_path / "loud")
    assert "Writing model shards" in capfd.readouterr().err  # what there is to silence
    logging.enable_progress_bar()
    save_model(model, tokenizer, tmp_path / "quiet")
    assert capfd.readouterr() == ("", "")


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
    assert [
        tokenizer.decode([i]).strip() for i in tokenizer.encode(row, add_special_tokens=False)
    ] == row.split(" ")
    assert len(tokenizer.encode("9876543210", add_special_tokens=False)) == 10
    codec = TokenizerCodec(tokenizer, enable_thinking=False)
    ids = codec.encode((Message("system", ""), Message("user", "#")))
    assert [tokenizer.decode([i]) for i in ids] == ["<|system|>", "<|user|>", "#", "<|assistant|>"]
    assert codec.response_ids("5") == (*tokenizer.encode("5"), tokenizer.eos_token_id)


def make_model(tokenizer, seed=0):
    model = make_tiny_model(SHAPE, tokenizer, seed, max_length=128)
    prepare(model, gradient_checkpointing=False)
    verify(model)
    return model


def fit(model, batches, **settings):
    defaults = {
        "optimizer": "adamw",
        "learning_rate": 1e-2,
        "betas": (0.9, 0.999),
        "prompt_weight": 0.0,
        "microbatch_tokens": 4096,
    }
    return imitate(model, batches, **(defaults | settings))


def test_the_tiny_model_is_the_same_for_one_seed_and_leaves_torchs_own_alone(tokenizer):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    one, same, other = (make_tiny_model(SHAPE, tokenizer, seed, 128).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_every_pass_has_all_demonstrations_in_a_new_order(tokenizer):
    codec = TokenizerCodec(tokenizer, enable_thinking=False)
    demonstrations = show(num_tasks=3, noise=0.0)
    batches = batches_of(demonstrations, codec, steps=6, batch_size=4, seed=0)
    assert [len(batch) for batch in batches] == [4] * 6
    flat = [item for batch in batches for item in batch]
    assert (
        set(flat[:12])
        == set(flat[12:])
        == {Demonstrated(codec.encode(d.messages), codec.response_ids(d.response)) for d in demonstrations}
    )
    assert flat[:12] != flat[12:]
    assert batches == batches_of(demonstrations, codec, steps=6, batch_size=4, seed=0)
    assert batches != batches_of(demonstrations, codec, steps=6, batch_size=4, seed=1)


def test_the_loss_is_the_models_own_on_the_responses_whatever_the_micro_batches(tokenizer):
    batch = [
        Demonstrated((10, 11, 12), (20, 1)),
        Demonstrated((13,), (21, 22, 1)),
        Demonstrated((10, 14), (1,)),
    ]
    model = make_model(tokenizer)
    expected = 0.0
    model.set_attn_implementation("eager")
    with torch.no_grad():
        for item in batch:
            row = torch.tensor([[*item.prompt_ids, *item.response_ids]])
            table = torch.log_softmax(model(input_ids=row).logits[0, len(item.prompt_ids) - 1 : -1], -1)
            expected -= table[range(len(item.response_ids)), item.response_ids].sum().item() / 6
    ends = []
    for tokens in (1, 10, 4096):
        model = make_model(tokenizer)
        assert fit(model, [batch], microbatch_tokens=tokens) == [pytest.approx(expected, rel=1e-5)]
        assert model.config._attn_implementation == "pettingllms_shared_prefix"
        ends.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert all((end - ends[0]).norm() <= 1e-5 * ends[0].norm() for end in ends)
    with_prompt = make_model(tokenizer)
    assert fit(with_prompt, [batch], prompt_weight=0.5) == [pytest.approx(expected, rel=1e-5)]
    assert (torch.cat([p.grad.flatten() for p in with_prompt.parameters()]) - ends[0]).norm() > 0.01 * ends[
        0
    ].norm()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_clone_learns_to_answer_and_end_and_repeats_bit_for_bit(tokenizer, optimizer):
    codec = TokenizerCodec(tokenizer, enable_thinking=False)
    demonstrations = show(num_tasks=8, noise=0.0)
    batches = batches_of(demonstrations, codec, steps=60, batch_size=16, seed=0)
    model, again = make_model(tokenizer), make_model(tokenizer)
    losses = fit(model, batches, optimizer=optimizer)
    assert len(losses) == 60
    assert losses[-1] < 0.2 * losses[0]
    assert losses == fit(again, batches, optimizer=optimizer)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    (samples,) = generate(
        model, [codec.encode(demonstrations[0].messages)], 8, SamplingParams(max_new_tokens=4),
        [[(0, k) for k in range(8)]], end_ids=frozenset({tokenizer.eos_token_id}), ends=None, version=0,
    )  # fmt: skip
    texts = [codec.decode(sample.token_ids) for sample in samples]
    assert sum(len(text) == 1 and text.isdigit() for text in texts) >= 6


def test_arithmetic_is_bfloat16_where_asked_and_weights_stay_float32(tokenizer, tmp_path):
    save_model(make_model(tokenizer), tokenizer, tmp_path)
    for dtype, expected in (
        ("float32", torch.float32),
        ("auto", torch.float32),
        ("bfloat16", torch.bfloat16),
    ):
        loaded = load_model(tmp_path, ModelConfig(dtype=dtype), torch.device("cpu"))
        assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
        with loaded.arithmetic(), torch.no_grad():
            projected = loaded.model.model.layers[0].mlp.up_proj(torch.ones(1, SHAPE.hidden_size))
        assert projected.dtype == expected


def test_the_demonstrations_solve_the_tasks():
    environment, suite = ClueEnvironment(OPTIONS), ClueSuite(OPTIONS)

    async def play(index):
        state = environment.start(suite.task("train", index), 0)
        while (role := environment.acting_role(state)) is not None:
            state = (await environment.step(state, role, environment.expert(state, role))).state
        return environment.outcome(state).success

    assert all(asyncio.run(play(index)) for index in range(5))
