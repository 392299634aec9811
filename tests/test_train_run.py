"""A training run from the outside: what it writes, and that it repeats."""

from __future__ import annotations

import json
import math
from datetime import datetime

import pytest

MAPPED = [
    pytest.param(algorithm, mapping, id=f"{algorithm}-{mapping}")
    for algorithm in ("at_grpo", "grpo")
    for mapping in ("shared", "per_role")
]
ROLLOUT = ("reward", "team_reward", "local_reward", "success_rate", "episode_length", "score", "diversity")
UPDATE = ("policy_loss", "entropy", "clip_fraction", "grad_norm", "learning_rate")


@pytest.mark.parametrize(("algorithm", "mapping"), MAPPED)
def test_the_same_seed_gives_the_same_metrics_and_another_seed_others(tiny, algorithm, mapping):
    settings = (f"training.algorithm={algorithm}", f"agents.policy_mapping={mapping}")
    settings += ("training.num_iterations=2", "evaluation.final_num_tasks=0")
    one, two = tiny.train(*settings), tiny.train(*settings)
    assert one.folder != two.folder
    metrics = tiny.metrics(one.folder)
    assert [line["iteration"] for line in metrics] == [1, 2]
    assert sum(line["trained_groups"] for line in metrics) > 0  # or equal weights would prove nothing
    assert tiny.metrics(two.folder) == metrics
    assert tiny.last_weights(two.folder) == tiny.last_weights(one.folder)
    assert set(tiny.last_weights(one.folder)) == (
        {"shared"} if mapping == "shared" else {"caller", "answerer"}
    )
    other = tiny.train(*settings, "env.seed=1")
    assert tiny.metrics(other.folder) != metrics


def test_the_warm_start_itself_repeats(tiny, tmp_path, monkeypatch):
    settings = ("training.num_iterations=0", "warm_start.steps=3", "evaluation.final_num_tasks=0")
    made = []
    for name in ("a", "b"):
        monkeypatch.setenv("PETTINGLLMS_CACHE", str(tmp_path / name))
        tiny.train(*settings)
        made.append(tiny.weights(tmp_path / name / "models"))
    assert made[0] == made[1]


def test_a_changed_model_folder_is_not_answered_from_the_cache(tiny, tmp_path):
    from pettingllms.config.load import load_config
    from pettingllms.config.schema import TinyConfig
    from pettingllms.policy.tiny import save_tiny
    from pettingllms.training.session import start_run

    model, sources = tmp_path / "model", []
    shape = TinyConfig(hidden_size=16, num_layers=1, num_heads=2, num_kv_heads=1, head_dim=8)
    settings = [s for s in tiny.settings if not s.startswith("model.tiny.")]
    settings += ["training.num_iterations=0", "warm_start.steps=2", "evaluation.final_num_tasks=0"]
    flags = {"env.name": "toy/clue", "model.name": str(model), "tracking.output": str(tiny.output)}
    for seed in (1, 1, 2):
        if seed not in sources:
            save_tiny(model, ["0 1 2 3 4 5 6 7 8 9"], shape, seed, 128)
        run = start_run(load_config(overrides=settings, flags=flags), tiny.registry).folder
        sources += [seed, json.loads((run / "manifest.json").read_text())["sources"]["shared"]]
    assert sources[1] == sources[3] != sources[5]


def test_what_a_run_leaves_behind(tiny):
    from pettingllms.config.load import parse_config

    result = tiny.cli("train", *tiny.arguments("agents.policy_mapping=per_role", "training.gamma=0.9"))
    assert (result.code, result.err) == (0, "")
    (run,) = tiny.runs()
    task, date, time = run.relative_to(tiny.output).parts
    assert task == "clue"
    datetime.strptime(f"{date} {time}", "%Y-%m-%d %H-%M-%S")
    assert {path.name for path in run.iterdir()} == {
        *("train.log", "summary.log", "metrics.jsonl", "config.toml", "manifest.json", "results.json"),
        *("episodes", "checkpoints", "validate"),
    }
    expected = tiny.config("agents.policy_mapping=per_role", "training.gamma=0.9")
    assert parse_config((run / "config.toml").read_text("utf-8"), "config.toml") == expected

    # The console, the summary and the log say the same.
    assert result.out == (run / "summary.log").read_text("utf-8")
    assert result.out.splitlines()[0] == f"run: {run}"
    for line in filter(None, result.out.splitlines()):
        assert line in (run / "train.log").read_text("utf-8")
    assert "training.gamma = 0.9 is not used by at_grpo" in result.out.splitlines()
    assert "model: tiny (made on the spot, nothing is downloaded" in result.out

    for number, line in enumerate((run / "metrics.jsonl").read_text("utf-8").splitlines(), start=1):
        metrics = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        assert metrics["iteration"] == number
        assert all(isinstance(v, (int, float)) and math.isfinite(v) for v in metrics.values())
        assert metrics.keys() >= {*ROLLOUT, *UPDATE, "zero_variance", "time/rollout", "time/update"}
        for role in ("caller", "answerer"):  # a role is a policy here, so it has a loss of its own too
            own = {"reward", "zero_variance", "diversity", *UPDATE}
            assert metrics.keys() >= {f"{role}/{name}" for name in own}
        assert ("validation/success_rate" in metrics) == (number in (2, 3))  # every other, and the last
    assert number == 3
    assert sorted(p.name for p in (run / "validate").iterdir()) == [
        f"iteration_00000{i}.json" for i in (2, 3)
    ]
    episodes = [p.read_text("utf-8").splitlines() for p in sorted((run / "episodes").iterdir())]
    assert [len(lines) for lines in episodes] == [4, 4, 4]
    acts = json.loads(episodes[0][0])["acts"]
    assert all(len(act["branches"]) == 4 for act in acts)

    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    assert manifest["policies"] == {"caller": "caller", "answerer": "answerer"}
    assert manifest["versions"]["pettingllms-core"]
    assert manifest["seed"] == 0

    results = json.loads((run / "results.json").read_text("utf-8"))
    assert list(results) == sorted(["random", "warm start", "after at_grpo", "expert"])
    assert results["expert"]["success_rate"] == 1.0
    for row in results.values():
        assert row["tasks"] == 8
        assert row["interval_95"][0] <= row["success_rate"] <= row["interval_95"][1]
    for name, row in results.items():
        assert any(
            line.startswith(name) and f"{row['success_rate']:.3f}" in line for line in result.out.splitlines()
        )


def test_rewards_of_an_iteration_are_those_of_its_recorded_branches(tiny):
    run = tiny.train(
        "tracking.episodes=99", "training.num_iterations=1", "evaluation.final_num_tasks=0"
    ).folder
    episodes = [
        json.loads(line) for line in (run / "episodes/iteration_000001.jsonl").read_text().splitlines()
    ]
    groups = [act for episode in episodes for act in episode["acts"]]
    scores = [branch["score"] for group in groups for branch in group["branches"]]
    (metrics,) = tiny.metrics(run)
    assert metrics["reward"] == pytest.approx(math.fsum(scores) / len(scores))
    flat = [len({branch["score"] for branch in group["branches"]}) == 1 for group in groups]
    assert metrics["zero_variance"] == pytest.approx(sum(flat) / len(flat))
    assert metrics["trained_groups"] == len(flat) - sum(flat)
    distinct = [len({branch["response"] for branch in group["branches"]}) / 4 for group in groups]
    assert metrics["diversity"] == pytest.approx(math.fsum(distinct) / len(distinct))
    for group in groups:  # greedy: no branch earned more than the one that was followed
        earned = [branch["score"] for branch in group["branches"]]
        assert earned[group["committed"]] == max(earned)
        for branch in group["branches"]:
            reward = branch["reward"]
            assert branch["score"] == pytest.approx(0.7 * reward["team"] + 0.3 * reward["local"])


def test_metrics_of_grpo_are_of_trajectory_groups(tiny):
    settings = ("training.algorithm=grpo", "training.num_iterations=1", "tracking.episodes=99")
    run = tiny.train(*settings, "evaluation.final_num_tasks=0").folder
    episodes = [
        json.loads(line) for line in (run / "episodes/iteration_000001.jsonl").read_text().splitlines()
    ]
    assert len(episodes) == 4 * 4
    returns: dict[int, list[float]] = {}
    for episode in episodes:
        total = math.fsum(act["branches"][0]["score"] for act in episode["acts"])
        returns.setdefault(episode["instance"] // 4, []).append(total)
    (metrics,) = tiny.metrics(run)
    flat = [max(values) == min(values) for values in returns.values()]
    assert metrics["zero_variance"] == sum(flat) / 4
    assert 0.25 <= metrics["diversity"] <= 1.0
    assert "caller/zero_variance" not in metrics


def test_two_runs_of_one_second_have_folders_of_their_own(tiny):
    from pettingllms.training.run_dir import RunDir

    now = datetime(2026, 1, 2, 3, 4, 5)
    made = [RunDir.create(tiny.config(), now) for _ in range(3)]
    assert [run.root.name for run in made] == ["03-04-05", "03-04-05-2", "03-04-05-3"]
    made[0].discard()
    assert not made[0].root.exists()
    assert made[1].root.is_dir()


def test_checkpoints_by_interval_count_and_best(tiny):
    settings = ("training.num_iterations=5", "evaluation.interval=1", "evaluation.final_num_tasks=0")
    run = tiny.train(*settings, "checkpoint.keep_last_n=2", "training.learning_rate=0.02").folder
    success = [line["validation/success_rate"] for line in tiny.metrics(run)]
    best = success.index(max(success)) + 1
    kept = sorted(path.name for path in (run / "checkpoints").glob("iteration_*"))
    assert kept == sorted({f"iteration_{i:06d}" for i in (best, 4, 5)})
    assert json.loads((run / "checkpoints/best.json").read_text()) == {
        "checkpoint": f"iteration_{best:06d}",
        "success_rate": max(success),
    }
    plain = tiny.train(*settings, "checkpoint.save_interval=2", "checkpoint.save_best=false").folder
    assert sorted(path.name for path in (plain / "checkpoints").iterdir()) == [
        f"iteration_{i:06d}" for i in (2, 4, 5)
    ]
    last = tiny.train(*settings, "checkpoint.save_interval=0", "checkpoint.save_best=false").folder
    assert [path.name for path in (last / "checkpoints").iterdir()] == ["iteration_000005"]


def test_no_best_is_forgotten_by_a_later_worse_one(tiny, monkeypatch):
    rates = iter((0.25, 0.75, 0.5, 0.5, 0.25))
    from pettingllms.training.run import Run

    def validated(self, number):
        return {"validation/success_rate": next(rates)}

    monkeypatch.setattr(Run, "validate", validated)
    settings = ("training.num_iterations=5", "evaluation.interval=1", "evaluation.final_num_tasks=0")
    run = tiny.train(*settings, "checkpoint.keep_last_n=1", "checkpoint.save_interval=1").folder
    assert sorted(p.name for p in (run / "checkpoints").glob("iteration_*")) == [
        "iteration_000002",
        "iteration_000005",
    ]
    assert json.loads((run / "checkpoints/best.json").read_text())["checkpoint"] == "iteration_000002"


def test_a_token_budget_ends_the_run_after_the_iteration_that_spends_it(tiny):
    settings = ("training.num_iterations=50", "evaluation.interval=0", "evaluation.final_num_tasks=0")
    run = tiny.train(*settings, "training.max_sampled_tokens=300", "training.batch_size=2")
    totals = [line["total_sampled_tokens"] for line in tiny.metrics(run.folder)]
    assert totals[-1] >= 300
    assert all(total < 300 for total in totals[:-1])
    assert run.progress.sampled_tokens == totals[-1]


def test_training_goes_through_the_train_split_and_never_leaves_it(tiny):
    settings = ("env.num_envs=5", "training.num_iterations=3", "tracking.episodes=99")
    run = tiny.train(*settings, "evaluation.final_num_tasks=0").folder
    played = []
    for path in sorted((run / "episodes").iterdir()):
        played += [json.loads(line)["task"]["id"] for line in path.read_text().splitlines()]
    assert len(played) == 12
    assert len(set(played[:5])) == len(set(played[5:10])) == 5  # each epoch is a permutation
    assert set(played[:5]) == set(played[5:10])
    assert played[:5] != played[5:10]  # in an order of its own
    from pettingllms.testing.toy import ClueOptions, ClueSuite

    suite = ClueSuite(ClueOptions())
    held = {suite.task(split, i).id for split in ("validation", "test") for i in range(suite.size(split))}
    assert not held & set(played)


def test_an_unset_model_is_the_tiny_one_where_there_is_no_gpu(tiny, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    arguments = [a for a in tiny.arguments("training.num_iterations=1") if a not in ("--model", "tiny")]
    result = tiny.cli("train", *arguments)
    assert result.code == 0, result.err
    assert any(line.startswith("model: tiny (made on the spot") for line in result.out.splitlines()[:4])
