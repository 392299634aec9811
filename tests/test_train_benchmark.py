"""`pettingllms benchmark`: arms that spend the same tokens, and the shared prefix against the plain path."""

from __future__ import annotations

import json
import signal

import pytest


def learning(tiny, *arguments, settings=()):
    sets = [part for text in (*tiny.settings, "model.name=tiny", *settings) for part in ("--set", text)]
    return tiny.cli("benchmark", "learning", "--env", "clue", "--output", tiny.output, *sets, *arguments)


def rows(tiny):
    found = [json.loads(path.read_text()) for path in sorted(tiny.output.glob("*/*/*/*/benchmark.json"))]
    return {(row["arm"], row["seed"]): row for row in found}


def test_all_arms_sample_as_many_tokens_as_at_grpo_did(tiny):
    result = learning(
        tiny, "--arms", "grpo,at_grpo", "--seeds", "3,4", settings=("training.num_iterations=2",)
    )
    assert (result.code, result.err) == (0, "")
    found = rows(tiny)
    assert set(found) == {(arm, seed) for arm in ("at_grpo", "grpo") for seed in (3, 4)}
    for seed in (3, 4):
        budget, other = found["at_grpo", seed], found["grpo", seed]
        assert budget["iterations"] == 2
        # The last iteration may go over the budget, or the allowed iterations may end before it.
        assert other["sampled_tokens"] >= budget["sampled_tokens"] or other["iterations"] == 8
        spent = [line["total_sampled_tokens"] for line in tiny.metrics(tiny.folder / other["folder"])]
        assert all(total < budget["sampled_tokens"] for total in spent[:-1])
    table = [line for line in result.out.splitlines() if line.startswith("| ")]
    assert len(table) == 2 + 4 + 2
    (pooled,) = (line for line in table if line.startswith("| grpo | all |"))
    after = [found["grpo", seed]["results"]["after grpo"] for seed in (3, 4)]
    assert f" {sum(row['successes'] for row in after) / 16:.3f} " in pooled


def test_what_cannot_be_compared_is_said_before_anything_is_trained(tiny):
    for arguments, settings, line in (
        (("--arms", "at_grpo,single"), (), "env.options.players is not a known key"),
        (("--arms", "at_grp"), (), "--arms: there is no arm 'at_grp'; the arms are at_grpo, grpo, single"),
        (("--arms", "at_grpo", "--seeds", "1,x"), (), "--seeds '1,x': "),
        (("--arms", ","), (), "--arms ',' names nothing"),
        (
            ("--arms", "grpo"),
            ("evaluation.final_num_tasks=0",),
            "evaluation.final_num_tasks = 0 leaves nothing",
        ),
    ):
        result = learning(tiny, *arguments, settings=settings)
        assert result.code == 2
        assert result.err.startswith(f"error: {line}")
        assert result.err.count("\n") == 1
        assert not tiny.output.exists()


def test_ctrl_c_ends_all_arms(tiny, monkeypatch):
    import pettingllms.training.session as module

    def cut_short(*arguments):
        signal.raise_signal(signal.SIGINT)
        return play(*arguments)

    play = module.play_held_out
    monkeypatch.setattr(module, "play_held_out", cut_short)
    result = learning(tiny, "--arms", "at_grpo,grpo")
    assert (result.code, result.err.strip()) == (130, "interrupted")
    assert len(list(tiny.output.glob("*/*/*/*"))) == 1


def test_both_paths_of_an_update_agree():
    pytest.importorskip("torch")
    from pettingllms.benchmark.shared_prefix import measure

    (row,) = measure(((3, 24, 5),), passes=1, device="cpu")
    assert row.logprob_difference < 1e-5
    assert row.gradient_difference < 1e-4
    assert row.ideal == pytest.approx(3 * 29 / 39)
    assert row.speedup > 0


def test_environments_are_measured_and_those_without_a_random_player_named(tiny, monkeypatch):
    from pettingllms.testing.toy import ClueEnvironment

    (row,) = json.loads(tiny.cli("benchmark", "environments", "--json").out)
    assert row["name"] == "toy/clue"
    assert row["acts_per_second"] > 0
    monkeypatch.delattr(ClueEnvironment, "random_response")
    everything = tiny.cli("benchmark", "environments")
    assert everything.code == 0
    assert "toy/clue has no random player" in everything.err
    named = tiny.cli("benchmark", "environments", "clue")
    assert named.code == 2
