"""What plugins do wrong while a run goes on: recorded, counted, said, and never a silent zero reward."""

from __future__ import annotations

import json

import pytest

from pettingllms.errors import ConfigError, EnvironmentFault


@pytest.fixture
def faulty(monkeypatch):
    """Make the toy's environment or reward raise when `when` says so; returns the number of raises."""
    raised = []

    def install(where, when):
        from pettingllms.testing.toy import ClueEnvironment, ClueReward

        if where == "step":
            step = ClueEnvironment.step

            async def failing(self, state, role, response):
                if when(response, role):
                    raised.append(response)
                    raise RuntimeError("the board fell over")
                return await step(self, state, role, response)

            monkeypatch.setattr(ClueEnvironment, "step", failing)
        else:
            score = ClueReward.__call__

            def failing_score(self, transition, role):
                if when(transition, role):
                    raised.append(role)
                    raise ZeroDivisionError("division by zero")
                return score(self, transition, role)

            monkeypatch.setattr(ClueReward, "__call__", failing_score)
        return raised

    return install


SHORT = ("training.num_iterations=1", "evaluation.interval=0", "evaluation.final_num_tasks=0")


def test_a_branch_that_raises_is_left_out_and_the_others_go_on(tiny, faulty):
    tiny.train(*SHORT)  # makes the model while nothing fails
    raised = faulty("step", lambda response, role: not any(c.isdigit() for c in response))
    run = tiny.train(*SHORT, "tracking.episodes=99").folder
    (metrics,) = tiny.metrics(run)
    assert metrics["faulty_branches"] == len(raised) > 0
    episodes = [
        json.loads(line) for line in (run / "episodes/iteration_000001.jsonl").read_text().splitlines()
    ]
    groups = [act for episode in episodes for act in episode["acts"]]
    with_fault = [g for g in groups if any(branch["fault"] for branch in g["branches"])]
    assert metrics["faulty_groups"] == len(with_fault)
    assert 0 < metrics["faulty_groups"] < metrics["groups"]
    for group in groups:
        for branch in group["branches"]:
            if branch["fault"]:
                assert branch["fault"] == "environment: RuntimeError: the board fell over"
                assert branch["score"] is None
                assert branch["reward"] is None
        if any(branch["fault"] is None for branch in group["branches"]):
            assert group["branches"][group["committed"]]["fault"] is None
    order = [episode["fault"] is None for episode in episodes]
    assert order == sorted(order)  # episodes that a fault ended come first


def test_a_run_whose_episodes_all_fail_stops_with_one_line(tiny, faulty):
    tiny.train(*SHORT)
    faulty("reward", lambda transition, role: True)
    result = tiny.cli("train", *tiny.arguments(*SHORT))
    run = tiny.runs()[-1]
    assert result.code == 2
    assert result.err == (
        "error: every episode of iteration 1 failed, the first with "
        f"'environment: ZeroDivisionError: division by zero'; see {run / 'episodes'}\n"
    )
    lines = (run / "episodes/iteration_000001.jsonl").read_text().splitlines()
    assert "ZeroDivisionError" in json.loads(lines[0])["fault"]
    assert list((run / "checkpoints").iterdir()) == []


def test_what_was_learnt_before_everything_failed_is_kept(tiny, faulty, isolated_registry):
    from pettingllms.api import hookimpl
    from pettingllms.testing import toy

    done = []

    class Watcher:
        @hookimpl
        def pettingllms_iteration_finished(self, report):
            done.append(report.iteration)

    registry = isolated_registry(toy=toy, watcher=Watcher())
    faulty("reward", lambda transition, role: len(done) == 2)
    settings = ("checkpoint.save_interval=0", "training.num_iterations=4", *SHORT[1:])
    with pytest.raises(EnvironmentFault, match="iteration 3"):
        tiny.train(*settings, registry=registry)
    (run,) = tiny.runs()
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["iteration_000002"]


def test_an_environment_that_fails_in_the_warm_start_is_one_line(tiny, faulty):
    faulty("step", lambda response, role: True)
    result = tiny.cli("train", *tiny.arguments("warm_start.num_tasks=3"))
    assert result.code == 2
    assert result.err == (
        "error: the expert's play of train task 0 failed with RuntimeError: the board fell over\n"
    )
    assert not tiny.output.exists()


def test_faults_of_evaluation_are_counted_and_shown(tiny, faulty):
    tiny.train(*SHORT)
    faulty("step", lambda response, role: not response.strip().isdigit())
    result = tiny.cli("train", *tiny.arguments("training.num_iterations=1"))
    assert result.code == 0
    results = json.loads((tiny.runs()[-1] / "results.json").read_text())
    assert results["warm start"]["faults"] > 0
    assert results["expert"]["faults"] == 0
    assert "first fault: environment: RuntimeError: the board fell over" in result.out


class Observing:
    """A plugin whose every observer raises."""

    def __init__(self):
        from pettingllms.api import hookimpl

        self.called = []

        def fail(name):
            self.called.append(name)
            raise SystemExit("the plugin gives up")

        self.pettingllms_run_started = hookimpl(lambda run: fail("started"))
        self.pettingllms_rollouts_finished = hookimpl(lambda summary: fail("rollouts"))
        self.pettingllms_iteration_finished = hookimpl(lambda report: fail("iteration"))
        self.pettingllms_run_finished = hookimpl(lambda run, error: fail("finished"))


def test_an_observer_that_raises_changes_nothing(tiny, isolated_registry):
    from pettingllms.testing import toy

    whole = tiny.train(*SHORT).folder
    observing = Observing()
    tiny.registry = isolated_registry(toy=toy, rude=observing)
    result = tiny.cli("train", *tiny.arguments(*SHORT))
    assert (result.code, result.err) == (0, "")
    (run,) = (path for path in tiny.runs() if path != whole)
    assert observing.called == ["started", "rollouts", "iteration"]  # then it is muted
    assert tiny.metrics(run) == tiny.metrics(whole)
    assert tiny.last_weights(run) == tiny.last_weights(whole)
    assert f"plugin 'rude' failed 3 times while it watched; see {run / 'train.log'}" in result.out
    assert "the plugin gives up" in (run / "train.log").read_text()


class Watching:
    """A plugin that writes down what it is told, and spoils it."""

    def __init__(self):
        from pettingllms.api import hookimpl

        self.told = []

        def started(run):
            self.told.append(("started", run.environment, dict(run.policies)))
            run.config.clear()

        def finished(run, error):
            self.told.append(("finished", type(error).__name__))

        def iteration(report):
            self.told.append(("iteration", report.iteration))
            report.metrics.clear()

        self.pettingllms_configure = hookimpl(lambda config: config.clear())
        self.pettingllms_run_started = hookimpl(started)
        self.pettingllms_iteration_finished = hookimpl(iteration)
        self.pettingllms_run_finished = hookimpl(finished)


def test_observers_are_told_once_and_cannot_change_the_run(tiny, isolated_registry, faulty, monkeypatch):
    from pettingllms.testing import toy

    watching = Watching()
    tiny.registry = isolated_registry(toy=toy, watching=watching)
    run = tiny.train("training.num_iterations=2", *SHORT[1:]).folder
    assert watching.told == [
        ("started", "toy/clue", {"caller": "shared", "answerer": "shared"}),
        ("iteration", 1),
        ("iteration", 2),
        ("finished", "NoneType"),
    ]
    assert all("reward" in line for line in tiny.metrics(run))

    watching.told.clear()  # a run that cannot start has not started and does not finish
    with monkeypatch.context() as patch:
        patch.setenv("PETTINGLLMS_CACHE", str(run / "config.toml"))
        with pytest.raises(ConfigError, match="cannot be written"):
            tiny.train(*SHORT)
    assert watching.told == []

    faulty("reward", lambda transition, role: True)
    with pytest.raises(EnvironmentFault):
        tiny.train(*SHORT)
    assert [event[0] for event in watching.told] == ["started", "finished"]
    assert watching.told[-1] == ("finished", "EnvironmentFault")


def test_a_plugin_may_refuse_the_settings_before_anything_is_written(tiny, isolated_registry):
    from pettingllms.api import hookimpl
    from pettingllms.testing import toy

    class Strict:
        @hookimpl
        def pettingllms_configure(self, config):
            if config["training"]["num_branches"] < 8:
                raise ConfigError("training.num_branches must be at least 8 here")

    tiny.registry = isolated_registry(toy=toy, strict=Strict())
    result = tiny.cli("train", *tiny.arguments())
    assert result.code == 2
    assert result.err == "error: plugin 'strict': training.num_branches must be at least 8 here\n"
    assert not tiny.output.exists()


def test_a_gradient_that_is_not_finite_takes_no_step_and_is_said(tiny, monkeypatch):
    import torch

    start = tiny.train(*SHORT, "training.learning_rate=0.0").folder
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_, **__: torch.tensor(float("nan")))
    result = tiny.cli("train", *tiny.arguments(*SHORT))
    run = tiny.runs()[-1]
    (metrics,) = tiny.metrics(run)
    assert metrics["skipped_steps"] == 1.0
    assert "NaN" not in (run / "metrics.jsonl").read_text()
    assert "no step taken" in result.out
    assert tiny.last_weights(run) == tiny.last_weights(start)


def test_a_metric_that_is_not_finite_is_null(tiny, monkeypatch):
    import pettingllms.training.run as module

    validate = module.Run.validate
    monkeypatch.setattr(
        module.Run, "validate", lambda self, number: (validate(self, number) or {}) | {"odd": float("inf")}
    )
    run = tiny.train("training.num_iterations=1", "evaluation.final_num_tasks=0").folder
    (line,) = (run / "metrics.jsonl").read_text().splitlines()
    found = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert found["odd"] is None


def test_an_environment_without_an_expert_trains_without_a_warm_start(tiny, monkeypatch):
    from pettingllms.testing.toy import ClueEnvironment

    monkeypatch.delattr(ClueEnvironment, "expert")
    result = tiny.cli("train", *tiny.arguments())
    assert result.code == 2
    assert result.err == "error: this environment has no expert to clone; set warm_start.steps = 0\n"
    assert not tiny.output.exists()
    run = tiny.train("warm_start.steps=0", "training.num_iterations=1").folder
    assert set(json.loads((run / "results.json").read_text())) == {
        "random",
        "before training",
        "after at_grpo",
    }
    monkeypatch.delattr(ClueEnvironment, "random_response")
    run = tiny.train("warm_start.steps=0", "training.num_iterations=1").folder
    assert set(json.loads((run / "results.json").read_text())) == {"before training", "after at_grpo"}
