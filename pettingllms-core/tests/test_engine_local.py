"""The local engine: one batch for all who wait, faults as answers, and folders that load back."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from pettingllms.algorithm.batching import collate  # noqa: E402
from pettingllms.algorithm.estimators import at_grpo  # noqa: E402
from pettingllms.config.schema import Config, EngineConfig, ModelConfig, TinyConfig, TrainingConfig  # noqa: E402
from pettingllms.engine import local_generator  # noqa: E402
from pettingllms.engine.local import LocalEngine, set_threads  # noqa: E402
from pettingllms.env.types import Message  # noqa: E402
from pettingllms.errors import CheckpointError, ConfigError, GenerationFault  # noqa: E402
from pettingllms.policy.loading import pick_device  # noqa: E402
from pettingllms.policy.scoring import score  # noqa: E402
from pettingllms.policy.tiny import save_tiny  # noqa: E402
from pettingllms.rollout.collect import Rollouts  # noqa: E402
from pettingllms.rollout.samplers import greedy, sample_trees  # noqa: E402
from pettingllms.rollout.types import SamplingParams, Seat  # noqa: E402
from pettingllms.testing.toy import ClueEnvironment, ClueOptions, ClueReward, ClueRewardOptions, ClueSuite  # noqa: E402
from pettingllms.training.loop import collect  # noqa: E402

torch.set_num_threads(1)

SHAPE = TinyConfig(
    hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, intermediate_size=48
)
TEXTS = ["Turn 1, 2 to go. Digit: 5", "Heard: 3. Answer it plus 1:", "You are the caller.", "0123456789"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny(folder, TEXTS, SHAPE, seed=0, max_length=256)
    return folder


def make(source, policies=("shared",), *, train=True, **training):
    config = Config(
        model=ModelConfig(name=str(source), max_length=256),
        training=TrainingConfig(**{"learning_rate": 1e-2, **training}),
        engine=EngineConfig(device="cpu", threads=1),
    )
    return LocalEngine(config, dict.fromkeys(policies, source), train=train)


@pytest.fixture(scope="module")
def engine(source):
    return make(source)


def ask(engine, *requests):
    """Every request is (prompt, n, seed) or (prompt, n, seed, params)."""

    async def all_at_once():
        answers = asyncio.gather(
            *(
                engine.generator.sample(
                    "shared", prompt, n, (params or [SamplingParams(max_new_tokens=6)])[0], seed
                )
                for prompt, n, seed, *params in requests
            ),
            return_exceptions=True,
        )
        return await asyncio.wait_for(answers, 20)

    return asyncio.run(all_at_once())


def same(answer, other):
    assert [s.token_ids for s in answer] == [s.token_ids for s in other]
    for one, two in zip(answer, other, strict=True):
        assert one.logprobs == pytest.approx(two.logprobs, abs=1e-5)


def test_an_answer_does_not_depend_on_who_else_asks(engine):
    requests = [
        ((10, 11, 12), 3, 1),
        ((10, 11, 12), 3, 2),
        ((20, 21), 3, 3),
        ((20, 21), 2, 4),
        ((30,) * 9, 3, 5),
    ]
    together = ask(engine, *requests)
    assert [len(answer) for answer in together] == [3, 3, 3, 2, 3]
    for request, answer in zip(requests, together, strict=True):
        same(ask(engine, request)[0], answer)
    assert together[0] != together[1]  # one prompt, two seeds
    same(*ask(engine, requests[0], requests[0]))  # one prompt, one seed


def count_batches(monkeypatch):
    batches = []
    generate = local_generator.generate

    def counting(model, prompts, K, *rest, **more):
        batches.append((len(prompts), K))
        return generate(model, prompts, K, *rest, **more)

    monkeypatch.setattr(local_generator, "generate", counting)
    return batches


def test_all_who_wait_share_a_batch_and_equal_prompts_are_computed_once(engine, monkeypatch):
    batches = count_batches(monkeypatch)
    ask(engine, ((1, 2, 3), 2, 0), ((4, 5), 2, 1), ((6, 7, 8, 9), 2, 2))
    assert batches == [(3, 2)]
    batches.clear()
    ask(engine, ((1, 2, 3), 2, 0), ((1, 2, 3), 2, 1), ((4, 5), 4, 2))
    assert batches == [(2, 4)]
    batches.clear()
    monkeypatch.setattr(local_generator, "BATCH_TOKENS", 7)
    ask(engine, *(((i, i, i), 2, i) for i in range(10, 15)))
    assert batches == [(2, 2), (2, 2), (1, 2)]
    batches.clear()
    monkeypatch.setattr(local_generator, "BATCH_TOKENS", 10**6)
    monkeypatch.setattr(local_generator, "CACHE_TOKENS", 3 * (3 + 2 * 6))  # a prompt and two full responses
    ask(engine, *(((i, i, i), 2, i) for i in range(10, 15)))
    assert batches == [(3, 2), (2, 2)]
    batches.clear()
    ask(engine, *(((i, i, i), 9, i) for i in range(10, 12)))
    assert batches == [(1, 9), (1, 9)]  # what is over the bound on its own is answered all the same


def test_the_event_loop_goes_on_while_the_model_runs(source, monkeypatch):
    engine = make(source, train=False)
    threads, release = [], threading.Event()
    generate = local_generator.generate

    def held_up(*arguments, **more):
        threads.append(threading.current_thread())
        assert release.wait(20)
        return generate(*arguments, **more)

    monkeypatch.setattr(local_generator, "generate", held_up)

    async def beside():
        answer = asyncio.create_task(
            engine.generator.sample("shared", (1, 2), 1, SamplingParams(max_new_tokens=2), 0)
        )
        while not threads:
            await asyncio.sleep(0.001)
        assert not answer.done()
        release.set()  # only a loop that is not blocked comes here
        return await answer

    assert len(asyncio.run(beside())) == 1
    (thread,) = threads
    assert thread is not threading.main_thread()
    engine.close()
    assert not thread.is_alive()


def test_a_stop_text_ends_a_response_and_stays_in_it(engine):
    codec = engine.codec("shared")
    free = ask(engine, ((5, 6), 24, 0, SamplingParams(max_new_tokens=12)))[0]
    text = codec.decode(free[0].token_ids[:4])
    stop = text[-1]
    params = SamplingParams(max_new_tokens=12, stop=(stop,))
    cut = ask(engine, ((5, 6), 24, 0, params))[0]
    assert codec.decode(cut[0].token_ids).endswith(stop)
    assert cut[0].finish_reason == "stop"
    for one, whole in zip(cut, free, strict=True):
        assert one.token_ids == whole.token_ids[: len(one.token_ids)]
        assert stop not in codec.decode(one.token_ids[:-1])
        assert len(one.token_ids) == len(whole.token_ids) or stop in codec.decode(one.token_ids)


def test_a_request_that_fails_is_a_fault_of_that_batch_alone(engine):
    bad, beside = (((token,), 2, 0, SamplingParams(max_new_tokens=3)) for token in (10**6, 5))
    *faults, answer = ask(engine, bad, beside, ((1, 2), 2, 0))
    for fault in faults:
        assert isinstance(fault, GenerationFault)
        assert "IndexError" in str(fault)
        assert "\n" not in str(fault)
    assert len(answer) == 2

    async def unknown():
        await engine.generator.sample("nobody", (1,), 1, SamplingParams(), 0)

    with pytest.raises(GenerationFault, match="nobody"):
        asyncio.run(unknown())


def test_a_cancelled_rollout_does_not_block_the_next(source):
    engine = make(source, train=False)

    async def cancelled():
        waiting = asyncio.create_task(
            engine.generator.sample("shared", (1, 2), 1, SamplingParams(max_new_tokens=2), 0)
        )
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(cancelled())

    async def next_one():
        async with asyncio.timeout(10):
            return await engine.generator.sample("shared", (1, 2), 1, SamplingParams(max_new_tokens=2), 0)

    assert len(asyncio.run(next_one())) == 1


def test_a_generator_that_was_stopped_refuses(source):
    engine = make(source, train=False)
    engine.generator.stop()
    (fault,) = ask(engine, ((1, 2), 1, 0))
    assert isinstance(fault, GenerationFault)
    assert "asked to stop" in str(fault)


def rollouts_of(engine, policies, **params):
    params = SamplingParams(max_new_tokens=3, **params)
    seats = {
        role: Seat(role, f"You are the {role}.", policy, engine.codec(policy), params, 256)
        for role, policy in policies.items()
    }
    reward = ClueReward(ClueRewardOptions())
    return Rollouts(ClueEnvironment(ClueOptions()), seats, engine.generator, reward, 0.7, "convex", 5.0)


def play(engine, policies, tasks=4, seed=0, **params):
    rollouts, suite = rollouts_of(engine, policies, **params), ClueSuite(ClueOptions())
    drawn = [suite.task("train", i) for i in range(tasks)]
    return asyncio.run(sample_trees(rollouts, drawn, seed, branches=4, commit=greedy))


@pytest.mark.parametrize("params", [{}, {"temperature": 0.8, "top_p": 0.9}])
def test_d7_a_whole_rollout_is_scored_as_it_was_sampled(engine, params):
    episodes = play(engine, {"caller": "shared", "answerer": "shared"}, **params)
    estimate = at_grpo(episodes, "std", drop_zero_variance=False)
    assert len(estimate.groups) == 4 * 2 * 4
    learner = engine._learners["shared"]
    batch = collate(estimate.groups)
    with torch.no_grad():
        drift = (
            (score(learner.model, batch, shared_prefix=True).logprobs_BKR - batch.logprobs_BKR).abs().max()
        )
    assert drift < 1e-5
    assert play(engine, {"caller": "shared", "answerer": "shared"}, **params) == episodes


def test_every_policy_trains_on_the_roles_that_it_played(source, tmp_path):
    engine = make(source, ("caller", "answerer"))
    episodes = play(engine, {"caller": "caller", "answerer": "answerer"})
    groups = at_grpo(episodes, "std", drop_zero_variance=False).groups
    of = {name: [group for group in groups if group.policy == name] for name in ("caller", "answerer")}
    before = {name: weights(engine, name) for name in of}
    metrics = engine.update({"caller": of["caller"]}, 0, 0)
    assert metrics["caller"]["groups"] == len(of["caller"]) == 16
    assert metrics["answerer"]["groups"] == 0
    assert not torch.equal(weights(engine, "caller"), before["caller"])
    assert torch.equal(weights(engine, "answerer"), before["answerer"])
    engine.sync()
    sample = asyncio.run(engine.generator.sample("caller", (1, 2), 1, SamplingParams(max_new_tokens=1), 0))[0]
    assert sample.policy_version == 1

    engine.save(tmp_path)
    restored = make(source, ("caller", "answerer"))
    restored.load(tmp_path)
    for one in (engine, restored):
        one.update(of, 1, 1)
    for name in of:
        assert torch.equal(weights(engine, name), weights(restored, name))
    with pytest.raises(CheckpointError, match="holds no policy 'judge'"):
        make(source, ("caller", "judge")).load(tmp_path)
    weights_file = tmp_path / "caller" / "model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"caller.* is damaged") as failure:
        restored.load(tmp_path)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(("algorithm", "width"), [("at_grpo", 3), ("grpo", 1)])
def test_d11_the_algorithm_that_is_named_is_the_one_that_runs(engine, algorithm, width):
    rollouts = rollouts_of(engine, {"caller": "shared", "answerer": "shared"})
    config = Config(training=TrainingConfig(algorithm=algorithm, num_branches=3, drop_zero_variance=False))
    tasks = [ClueSuite(ClueOptions()).task("train", i) for i in range(2)]
    episodes, estimate = collect(SimpleNamespace(training=rollouts, config=config), tasks, 0)
    assert {len(group.branches) for episode in episodes for group in episode.groups} == {width}
    if algorithm == "at_grpo":
        assert [e.task.id for e in episodes] == [task.id for task in tasks]
        assert estimate.total == len(estimate.groups) == 2 * 2 * 4
    else:
        assert [e.task.id for e in episodes] == [task.id for task in tasks for _ in range(3)]
        assert estimate.total == 2  # trajectory groups, one a task


def weights(engine, policy):
    return torch.cat([p.detach().flatten().clone() for p in engine._learners[policy].model.parameters()])


def test_a_reference_is_held_only_when_it_is_used(source):
    episodes = play(make(source), {"caller": "shared", "answerer": "shared"}, tasks=1)
    group = at_grpo(
        episodes,
        "std",
        drop_zero_variance=False,
    )
    with_kl = make(source, kl_coefficient=0.1)
    assert with_kl.update({"shared": group.groups}, 0, 0)["shared"]["reference_kl"] == pytest.approx(
        0.0, abs=1e-8
    )
    assert with_kl.update({"shared": group.groups}, 1, 0)["shared"]["reference_kl"] > 1e-6
    assert "reference_kl" not in make(source).update({"shared": group.groups}, 0, 0)["shared"]
    assert make(source, train=False, kl_coefficient=0.1)._learners["shared"]._reference is None
    assert make(source)._learners["shared"]._reference is None


def test_policies_of_one_source_share_a_reference_that_is_not_trained(source, tmp_path):
    shutil.copytree(source, tmp_path / "other")
    config = Config(
        model=ModelConfig(name=str(source), max_length=256),
        training=TrainingConfig(kl_coefficient=0.1),
        engine=EngineConfig(device="cpu", threads=1),
    )
    sources = {"caller": source, "answerer": source, "judge": tmp_path / "other"}
    learners = LocalEngine(config, sources, train=True)._learners
    caller, answerer, judge = (learners[name]._reference for name in sources)
    assert caller is answerer
    assert judge is not caller
    assert all(caller is not learner.model for learner in learners.values())
    assert not any(parameter.requires_grad for parameter in caller.parameters())
    assert len({id(learner.model) for learner in learners.values()}) == 3


def test_what_cannot_be_loaded_is_one_clear_line(source, tmp_path):
    with pytest.raises(ConfigError, match="holds no tokenizer") as failure:
        make(tmp_path)
    assert "\n" not in str(failure.value)
    for name in (tmp_path / "nothing", "./nothing", "~/of/nobody", "runs/checkpoints/nothing"):
        with pytest.raises(
            ConfigError, match=f"^the model folder '{re.escape(str(name))}' does not exist"
        ) as failure:
            make(name)
        assert "\n" not in str(failure.value)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"the tokenizer of .* cannot be loaded") as failure:
        make(tmp_path)
    assert "\n" not in str(failure.value)
    for device in ("abacus", *([] if torch.cuda.is_available() else ["cuda"])):
        with pytest.raises(ConfigError, match=f"engine\\.device = '{device}'"):
            pick_device(device)


def test_threads():
    before = torch.get_num_threads()
    assert set_threads(1) == 1
    assert set_threads(None) >= 1
    torch.set_num_threads(before)


def test_chat_without_a_system_turn_gets_the_system_prompt_all_the_same(engine):
    from pettingllms.policy.chat import TokenizerCodec

    codec = engine.codec("shared")
    tokenizer = engine._learners["shared"].loaded.tokenizer
    messages = (Message("system", "be brief"), Message("user", "hello"))
    own = tokenizer.chat_template
    try:
        tokenizer.chat_template = (
            "{% for m in messages %}{% if m['role'] == 'system' %}"
            "{{ raise_exception('no system') }}{% endif %}"
            "<|user|>{{ m['content'] }}{% endfor %}<|assistant|>"
        )
        merged = tokenizer.decode(TokenizerCodec(tokenizer, enable_thinking=False).encode(messages))
        tokenizer.chat_template = None
        with pytest.raises(ConfigError, match="has no chat template"):
            TokenizerCodec(tokenizer, enable_thinking=False)
    finally:
        tokenizer.chat_template = own
    assert merged == "<|user|>be brief\n\nhello<|assistant|>"
    assert tokenizer.decode(codec.encode(messages)) == "<|system|>be brief<|user|>hello<|assistant|>"
