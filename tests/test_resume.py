"""Going on with a run: after a kill, from an earlier checkpoint, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from pettingllms.errors import CheckpointError

LONG = ("training.num_iterations=12", "training.batch_size=6", "checkpoint.save_interval=2")


def resume(tiny, where):
    from pettingllms.training.session import resume_run

    return resume_run(where, tiny.registry)


def test_a_killed_and_resumed_run_ends_as_one_that_was_never_killed(tiny):
    whole = tiny.train(*LONG)
    process = tiny.spawn("train", *tiny.arguments(*LONG))
    while len(tiny.runs()) < 2:
        tiny.wait_for("*/*/*", process)
    (run,) = (path for path in tiny.runs() if path != whole.folder)
    tiny.wait_for(f"{run.relative_to(tiny.output)}/checkpoints/iteration_000002", process)
    process.kill()
    process.communicate()
    assert not (run / "results.json").exists()
    begun = sorted((run / "checkpoints").glob("iteration_*"))[-1].name
    assert "iteration_000002" <= begun < "iteration_000012"

    result = tiny.cli("train", "--resume", run)
    assert (result.code, result.err) == (0, "")
    assert f"resumed from {run / 'checkpoints' / begun}" in result.out
    assert tiny.metrics(run) == tiny.metrics(whole.folder)
    assert tiny.last_weights(run) == tiny.last_weights(whole.folder)
    assert json.loads((run / "results.json").read_text()) == json.loads(
        (whole.folder / "results.json").read_text()
    )
    names = [sorted(p.name for p in (r / "checkpoints").iterdir()) for r in (run, whole.folder)]
    assert names[0] == names[1]
    recorded = [sorted(p.name for p in (r / "episodes").iterdir()) for r in (run, whole.folder)]
    assert recorded[0] == recorded[1]


class Killed(BaseException):
    """Ends the process that a test stands for."""


@pytest.mark.parametrize("at", range(2, 6))
def test_no_moment_of_saving_is_a_bad_one_to_be_killed_in(tiny, monkeypatch, at):
    settings = ("training.num_iterations=3", "evaluation.interval=1", "checkpoint.keep_last_n=1")
    settings += ("evaluation.final_num_tasks=0", "training.batch_size=2", "evaluation.num_tasks=3")
    whole = tiny.train(*settings).folder
    moves = []
    replace = os.replace

    def counted(source, target):
        if "checkpoints" in str(target):
            moves.append(target)
            if len(moves) == at:
                raise Killed
        replace(source, target)

    monkeypatch.setattr("os.replace", counted)
    with pytest.raises(Killed):
        tiny.train(*settings)
    monkeypatch.setattr("os.replace", replace)
    (run,) = (path for path in tiny.runs() if path != whole)
    resume(tiny, run)
    assert tiny.metrics(run) == tiny.metrics(whole)
    assert tiny.last_weights(run) == tiny.last_weights(whole)
    assert (run / "checkpoints/best.json").read_text() == (whole / "checkpoints/best.json").read_text()
    names = [{p.name for p in (r / "checkpoints").glob("[!.]*")} for r in (run, whole)]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(("agents.policy_mapping=per_role", "training.kl_coefficient=0.1"), id="per-role-kl"),
        pytest.param(("training.algorithm=grpo", "training.lr_schedule=cosine"), id="grpo-schedule"),
        pytest.param(("training.optimizer=muon", "training.commit=mixed"), id="muon-mixed"),
    ],
)
def test_a_run_goes_on_from_an_earlier_checkpoint(tiny, monkeypatch, settings):
    settings = (*settings, "training.num_iterations=4", "checkpoint.keep_last_n=9")
    run = tiny.train(*settings).folder
    metrics, weights = tiny.metrics(run), tiny.last_weights(run)
    shutil.rmtree(run / "checkpoints/iteration_000004")

    monkeypatch.setenv("CHECKPOINT_PATH", str(run / "checkpoints/iteration_000002"))
    result = tiny.cli("train")
    assert (result.code, result.err) == (0, "")
    assert "iteration_000003 is deleted: its iteration is done again" in result.out
    assert tiny.metrics(run) == metrics
    assert tiny.last_weights(run) == weights


def test_later_checkpoints_cannot_be_taken_for_those_of_the_resumed_run(tiny, monkeypatch):
    """Stale checkpoints would be kept instead of the new ones, and resumed from with a gap in the metrics."""
    from pettingllms.policy.learner import Learner

    settings = ("training.num_iterations=4", "checkpoint.keep_last_n=2", "evaluation.interval=0")
    run = tiny.train(*settings, "evaluation.final_num_tasks=0").folder
    old = tiny.weights(run / "checkpoints/iteration_000004")
    monkeypatch.setattr(Learner, "learning_rate", lambda self, iteration: 0.05)  # another future
    resume(tiny, run / "checkpoints/iteration_000003")
    assert tiny.weights(run / "checkpoints/iteration_000004") != old
    assert [line["iteration"] for line in tiny.metrics(run)] == [1, 2, 3, 4]


def test_a_finished_run_resumes_to_the_same_table(tiny):
    run = tiny.train().folder
    weights, results = tiny.last_weights(run), (run / "results.json").read_text()
    (run / "results.json").unlink()
    again = resume(tiny, run)
    assert again.progress.iteration == 3
    assert (run / "results.json").read_text() == results
    assert tiny.last_weights(run) == weights
    assert len(tiny.metrics(run)) == 3


def test_resuming_does_not_need_the_warm_start_again(tiny, monkeypatch, tmp_path):
    run = tiny.train("training.num_iterations=2", "evaluation.final_num_tasks=0").folder
    metrics = tiny.metrics(run)
    monkeypatch.setenv("PETTINGLLMS_CACHE", str(tmp_path / "empty"))
    resume(tiny, run / "checkpoints/iteration_000001")
    assert tiny.metrics(run) == metrics
    assert not (tmp_path / "empty").exists()


def test_a_best_checkpoint_whose_mark_was_lost_is_marked(tiny):
    settings = ("training.num_iterations=1", "evaluation.interval=1", "evaluation.final_num_tasks=0")
    run = tiny.train(*settings).folder
    mark = run / "checkpoints/best.json"
    text = mark.read_text()
    mark.unlink()  # killed between the two
    resume(tiny, run)
    assert mark.read_text() == text


def test_half_written_checkpoints_are_not_seen(tiny):
    run = tiny.train("training.num_iterations=2", "evaluation.final_num_tasks=0").folder
    checkpoints = run / "checkpoints"
    (checkpoints / "iteration_000002").rename(checkpoints / ".iteration_000002.tmp")
    (checkpoints / "iteration_000009").mkdir()
    assert resume(tiny, run).progress.iteration == 2
    assert {path.name for path in checkpoints.glob("iteration_00000[12]")} == {
        "iteration_000001",
        "iteration_000002",
    }
    assert not (checkpoints / ".iteration_000002.tmp").exists()


def test_a_checkpoint_named_from_inside_its_folder(tiny, monkeypatch):
    run = tiny.train("training.num_iterations=1", "evaluation.final_num_tasks=0").folder
    monkeypatch.chdir(run / "checkpoints")
    result = tiny.cli("train", "--resume", "iteration_000001")
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: shutil.rmtree(c / "shared"), "holds no policy 'shared'"),
        (lambda c: (c / "shared/learner.pt").write_bytes(b"no"), "is damaged"),
        (lambda c: (c / "shared/model.safetensors").write_bytes(b"no"), "cannot be loaded"),
        (lambda c: (c / "state.json").write_text("{"), "cannot be read"),
        (lambda c: (c / "state.json").unlink(), "holds no finished checkpoint"),
        (lambda c: (c.parents[1] / "config.toml").unlink(), "holds no config.toml"),
    ],
)
def test_damage_is_one_line_and_nothing_is_lost(tiny, damage, message):
    run = tiny.train("training.num_iterations=1", "evaluation.final_num_tasks=0").folder
    metrics = tiny.metrics(run)
    damage(run / "checkpoints/iteration_000001")
    result = tiny.cli("train", "--resume", run)
    assert result.code == 2
    assert result.err.count("\n") == 1
    assert result.err.startswith("error: ")
    assert message in result.err
    assert tiny.metrics(run) == metrics
    assert (run / "summary.log").is_file()


def test_settings_beside_a_resumption_are_refused(tiny, monkeypatch):
    result = tiny.cli("train", "--resume", "logs/x", "--set", "training.alpha=1", "--seed", "0")
    assert result.code == 2
    assert result.err.startswith("error: --resume goes on with the run's own settings; leave out ")
    assert {"--set", "--seed"} == {word.strip(",\n") for word in result.err.split() if word.startswith("--s")}
    monkeypatch.setenv("CHECKPOINT_PATH", "logs/x")
    result = tiny.cli("train", "--env", "clue")
    assert result.err == (
        "error: CHECKPOINT_PATH goes on with the run's own settings; "
        "leave out --env or unset CHECKPOINT_PATH\n"
    )
    with pytest.raises(CheckpointError, match="'logs/x' is no folder"):
        resume(tiny, Path("logs/x"))
