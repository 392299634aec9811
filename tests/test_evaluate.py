"""`pettingllms evaluate`: what it plays, what it prints, and that it agrees with the run's own table."""

from __future__ import annotations

import json
import shutil

import pytest

from pettingllms.errors import ConfigError
from pettingllms.training.evaluation import held_out, play_scripted, summarise, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # By hand, with z = 1.959964: centre (p + z^2/2n) / (1 + z^2/n), half width
        # z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n). 8 of 10: 0.992073 / 1.384146 and 0.313617 / 1.384146.
        (8, 10, 0.490162, 0.943318),
        (0, 10, 0.0, 0.277533),
        (10, 10, 0.722467, 1.0),
        (100, 200, 0.431360, 0.568640),
        (1, 1, 0.206549, 1.0),
    ],
)
def test_wilson_intervals(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-6)
    assert wilson(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-6)


def test_nothing_played_says_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


def test_scripted_players_are_measured_by_the_environments_outcome():
    from pettingllms.testing.toy import ClueEnvironment, ClueOptions, ClueSuite

    environment, suite = ClueEnvironment(ClueOptions()), ClueSuite(ClueOptions())
    tasks = held_out(suite, "test", 7)
    assert [task.id for task in tasks] == [suite.task("test", i).id for i in range(7)]
    assert len(held_out(suite, "test", 9999)) == suite.size("test") == 20

    def sometimes(state, role, rng):
        """Never brings a code across whose first digit is odd."""
        return "0" if state.code[0] % 2 else environment.expert(state, role)

    solved = sum(task.data["code"][0] % 2 == 0 for task in tasks)
    found = summarise(play_scripted(environment, tasks, sometimes, seed=0)).to_plain()
    assert (found["tasks"], found["successes"], found["faults"]) == (7, solved, 0)
    assert found["episode_length"] == (solved * 2 + (7 - solved) * 4) / 7


def test_a_scripted_player_that_fails_is_a_fault_and_not_a_crash():
    from pettingllms.testing.toy import ClueEnvironment, ClueOptions, ClueSuite

    environment, suite = ClueEnvironment(ClueOptions()), ClueSuite(ClueOptions())

    def broken(state, role, rng):
        raise RuntimeError("no idea")

    found = summarise(play_scripted(environment, held_out(suite, "test", 3), broken, seed=0))
    assert (found.successes, found.faults) == (0, 3)
    assert found.first_fault == "environment: RuntimeError: no idea"
    ClueEnvironment.acting_role, kept = lambda self, state: "caller", ClueEnvironment.acting_role
    try:
        found = summarise(play_scripted(environment, held_out(suite, "test", 1), lambda *_: "", seed=0))
    finally:
        ClueEnvironment.acting_role = kept
    assert found.first_fault is not None
    assert "max_turns = 4" in found.first_fault


def test_an_empty_split_is_an_error():
    class Empty:
        def size(self, split):
            return 0

    with pytest.raises(ConfigError, match="'test' of this environment holds no tasks"):
        held_out(Empty(), "test", 3)


def test_a_run_and_its_checkpoint_give_the_runs_own_table(tiny, tmp_path):
    settings = (
        "agents.policy_mapping=per_role",
        "training.learning_rate=0.01",
    )
    # Sampled, from a team that solves some of its tasks: so the seeds of the evaluation matter.
    settings += ("evaluation.temperature=1.0", "warm_start.steps=200", "model.tiny.hidden_size=32")
    settings += ("evaluation.final_num_tasks=20",)
    run = tiny.train(*settings).folder
    closing = json.loads((run / "results.json").read_text())
    assert 0 < closing["after at_grpo"]["successes"] < closing["after at_grpo"]["tasks"]
    result = tiny.cli("evaluate", run, "--scripted", "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert set(found) == {"environment", "evaluated", "split", "seed", "results", "labels"}
    assert (found["environment"], found["split"], found["seed"]) == ("toy/clue", "test", 0)
    assert found["evaluated"] == str(run / "checkpoints/iteration_000003")
    assert found["labels"] == {"length": {"min": 2, "median": 2, "max": 2}}
    assert found["results"] == {
        "team": closing["after at_grpo"],
        "random": closing["random"],
        "expert": closing["expert"],
    }
    for row in found["results"].values():
        assert row["interval_95"] == pytest.approx(list(wilson(row["successes"], row["tasks"])))

    moved = tmp_path / "moved"
    shutil.copytree(run, moved)  # a run is its folder, wherever that stands
    shutil.rmtree(run)
    result = tiny.cli("evaluate", moved / "checkpoints/iteration_000003", "--json")
    assert json.loads(result.out)["results"] == {"team": closing["after at_grpo"]}
    early = json.loads(tiny.cli("evaluate", moved / "checkpoints/iteration_000001", "--json").out)
    assert early["results"]["team"]["tasks"] == 20


def test_a_model_folder_is_evaluated_as_it_is(tiny):
    run = tiny.train("training.num_iterations=1").folder
    model = run / "checkpoints/iteration_000001/shared"
    sets = [part for text in tiny.settings for part in ("--set", text)]
    result = tiny.cli(
        "evaluate", "--env", "clue", "--model", model, *sets, "--set", "warm_start.steps=0", "--json"
    )
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert found["evaluated"] == str(model)
    assert found["results"]["team"] == json.loads((run / "results.json").read_text())["after at_grpo"]


def test_the_starting_weights_give_the_row_before_training(tiny):
    run = tiny.train("training.num_iterations=1").folder
    result = tiny.cli("evaluate", *tiny.arguments()[:4], *tiny.arguments()[6:], "--json")
    assert result.code == 0
    assert (
        json.loads(result.out)["results"]["team"]
        == json.loads((run / "results.json").read_text())["warm start"]
    )
    assert "found in the cache" in result.err  # what happens goes to the side, the result alone to the front


def test_split_count_and_files(tiny, tmp_path):
    run = tiny.train("training.num_iterations=1", "evaluation.final_num_tasks=0").folder
    output = tmp_path / "deep" / "kept"
    result = tiny.cli("evaluate", run, "--split", "validation", "--num-tasks", "5", "--output", output)
    assert (result.code, result.err) == (0, "")
    kept = json.loads((output / "evaluation.json").read_text())
    assert (kept["split"], kept["results"]["team"]["tasks"]) == ("validation", 5)
    episodes = [json.loads(line) for line in (output / "episodes.jsonl").read_text().splitlines()]
    assert len(episodes) == 5
    assert sum(episode["outcome"]["success"] for episode in episodes) == kept["results"]["team"]["successes"]
    assert all(len(act["branches"]) == 1 for episode in episodes for act in episode["acts"])
    lines = result.out.splitlines()
    assert lines[0] == f"toy/clue, {run / 'checkpoints/iteration_000001'}"
    assert lines[2] == "held-out success, 5 tasks of the validation split that training never saw"
    low, high = kept["results"]["team"]["interval_95"]
    assert lines[4].startswith("team")
    assert f"[{low:.3f}, {high:.3f}]" in lines[4]


def test_the_train_split_is_not_called_unseen(tiny):
    run = tiny.train("training.num_iterations=1", "evaluation.final_num_tasks=0").folder
    result = tiny.cli("evaluate", run, "--split", "train", "--num-tasks", "5")
    assert result.code == 0
    assert "never saw" not in result.out
    assert "5 tasks of the train split" in result.out


def test_a_result_that_cannot_be_kept_is_said_before_playing(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("pettingllms.training.measure.evaluate", lambda *_, **__: pytest.fail("played"))
    result = tiny.cli("evaluate", "--env", "clue", "--model", "tiny", "--output", tmp_path / "file/below")
    assert result.code == 2
    assert result.err == (
        f"error: --output '{tmp_path}/file/below' cannot be written: '{tmp_path}/file' is no folder\n"
    )


def test_settings_that_a_run_brings_are_refused(tiny):
    run = tiny.train("training.num_iterations=1", "evaluation.final_num_tasks=0").folder
    result = tiny.cli("evaluate", run, "--env", "clue", "--model", "tiny")
    assert result.code == 2
    assert result.err == ("error: a run brings its own settings; leave out --env, --model (use --set)\n")
    changed = tiny.cli(
        "evaluate", run, "--set", "evaluation.temperature=1.0", "--set", "env.seed=5", "--json"
    )
    assert json.loads(changed.out)["seed"] == 5
    for where, text in ((run.parent, "holds no finished checkpoint"), (run / "nothing", "is no folder")):
        result = tiny.cli("evaluate", where)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert text in result.err
