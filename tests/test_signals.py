"""Ctrl-C and SIGTERM: a run ends soon, in good order, and says how to go on."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time

import pytest

MANY = ("training.num_iterations=12", "training.batch_size=6", "evaluation.interval=3")


def test_ctrl_c_ends_soon_with_a_checkpoint_and_the_command_that_goes_on(tiny):
    whole = tiny.train(*MANY)
    process = tiny.spawn("train", *tiny.arguments(*MANY))
    while len(tiny.runs()) < 2:
        tiny.wait_for("*/*/*", process)
    (run,) = (path for path in tiny.runs() if path != whole.folder)
    tiny.wait_for(f"{run.relative_to(tiny.output)}/checkpoints/iteration_000002", process)
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - asked < 8  # it takes far less; the machine may be busy
    assert (process.returncode, err) == (130, "")
    stopped, go_on = out.splitlines()[-2:]
    done = int(stopped.removeprefix("stopped by SIGINT after iteration "))
    assert 2 <= done < 12
    assert (run / f"checkpoints/iteration_{done:06d}").is_dir()
    assert not (run / "results.json").exists()

    program, *arguments = shlex.split(go_on.removeprefix("go on with: "))
    assert (program, *arguments) == ("pettingllms", "train", "--resume", str(run))
    assert tiny.cli(*arguments).code == 0
    assert tiny.metrics(run) == tiny.metrics(whole.folder)
    assert tiny.last_weights(run) == tiny.last_weights(whole.folder)


def test_sigterm_while_the_warm_start_is_made(tiny):
    process = tiny.spawn("train", *tiny.arguments("warm_start.steps=100000", "model.tiny.num_layers=2"))
    summary = tiny.wait_for("*/*/*/summary.log", process)
    while "cloning the expert" not in summary.read_text():
        time.sleep(0.01)
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    assert out.splitlines()[-2:] == [
        "stopped by SIGTERM after iteration 0",
        "no iteration was finished, so there is no checkpoint",
    ]
    assert not [path for path in (tiny.cache / "models").iterdir() if path.name.startswith(".")]


def interrupt(number=signal.SIGINT):
    os.kill(os.getpid(), number)


class Watcher:
    """A plugin that sends a signal when it is told of something."""

    def __init__(self, hook, iteration, number=signal.SIGINT):
        from pettingllms.api import hookimpl

        def tell(**event):
            (value,) = event.values()
            if value.iteration == iteration:
                interrupt(number)

        called = {
            "pettingllms_rollouts_finished": lambda summary: tell(summary=summary),
            "pettingllms_iteration_finished": lambda report: tell(report=report),
        }[hook]
        setattr(self, hook, hookimpl(called))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("hook", ["pettingllms_rollouts_finished", "pettingllms_iteration_finished"])
def test_a_signal_lets_the_step_finish_and_saves(tiny, isolated_registry, hook, number):
    from pettingllms.testing import toy

    registry = isolated_registry(toy=toy, watcher=Watcher(hook, 2, number))
    settings = ("checkpoint.save_interval=0", "checkpoint.save_best=false")
    ended = tiny.train(*settings, registry=registry)
    assert ended.stopped_by == signal.Signals(number).name
    assert ended.progress.iteration == 2
    assert [path.name for path in (ended.folder / "checkpoints").iterdir()] == ["iteration_000002"]
    whole = tiny.train(*settings)
    assert tiny.cli("train", "--resume", ended.folder).code == 0
    assert tiny.metrics(ended.folder) == tiny.metrics(whole.folder)
    assert tiny.last_weights(ended.folder) == tiny.last_weights(whole.folder)


@pytest.mark.parametrize("which", [1, 2])
def test_a_validation_that_was_cut_short_is_played_when_the_run_goes_on(tiny, monkeypatch, which):
    """Its refused episodes would count as failures, and might even be marked as the best."""
    settings = ("evaluation.interval=1", "evaluation.num_tasks=8")
    whole = tiny.train(*settings)
    import pettingllms.training.run as module

    calls, play = [], module.play_held_out

    def cut_short(*arguments):
        calls.append(1)
        if len(calls) == which:
            interrupt()
        return play(*arguments)

    monkeypatch.setattr(module, "play_held_out", cut_short)
    ended = tiny.train(*settings)
    assert ended.progress.iteration == which
    assert [line["iteration"] for line in tiny.metrics(ended.folder)] == list(range(1, which))
    assert tiny.cli("train", "--resume", ended.folder).code == 0
    assert tiny.metrics(ended.folder) == tiny.metrics(whole.folder)
    assert tiny.last_weights(ended.folder) == tiny.last_weights(whole.folder)
    marks = [json.loads((run.folder / "checkpoints/best.json").read_text()) for run in (ended, whole)]
    assert marks[0] == marks[1]
    assert tiny.cli("train", "--resume", ended.folder).code == 0  # and once more: nothing is told twice
    assert tiny.metrics(ended.folder) == tiny.metrics(whole.folder)


@pytest.mark.parametrize(("call", "iteration"), [(1, 0), (2, 3)])
def test_the_table_is_not_made_of_episodes_that_were_cut_short(tiny, monkeypatch, call, iteration):
    import pettingllms.training.session as module

    calls, play = [], module.play_held_out

    def cut_short(*arguments):
        calls.append(1)
        if len(calls) == call:
            interrupt()
        return play(*arguments)

    monkeypatch.setattr(module, "play_held_out", cut_short)
    result = tiny.cli("train", *tiny.arguments())
    assert result.code == 130
    (run,) = tiny.runs()
    assert not (run / "results.json").exists()
    assert "held-out success" not in result.out
    last = result.out.splitlines()[-2:]
    assert last[0] == f"stopped by SIGINT after iteration {iteration}"
    if iteration:
        assert last[1] == f"go on with: pettingllms train --resume {run}"
        assert tiny.cli("train", "--resume", run).code == 0
        assert json.loads((run / "results.json").read_text())["after at_grpo"]["faults"] == 0
    else:
        assert last[1] == "no iteration was finished, so there is no checkpoint"
        assert "warm start: success" not in result.out


def test_a_second_signal_ends_the_run_at_once(tiny, isolated_registry):
    from pettingllms.testing import toy

    watcher = Watcher("pettingllms_rollouts_finished", 1)
    tiny.registry = isolated_registry(
        toy=toy, first=watcher, second=Watcher("pettingllms_rollouts_finished", 1)
    )
    result = tiny.cli("train", *tiny.arguments())
    assert (result.code, result.err.strip()) == (130, "interrupted")


def test_signal_handlers_are_put_back(tiny):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    tiny.train("training.num_iterations=0", "evaluation.final_num_tasks=0")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_run_in_a_thread_leaves_signals_alone(tiny):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(tiny.train, "training.num_iterations=1", "evaluation.final_num_tasks=0").result()
    assert run.progress.iteration == 1
