"""Settings of the update, in whole runs: each does what it says, and the exact ones change nothing."""

from __future__ import annotations

import pytest

SHORT = ("training.num_iterations=2", "evaluation.interval=0", "evaluation.final_num_tasks=0")


def tensors(run):
    """Return the weights of the last checkpoint by name."""
    from safetensors.torch import load_file

    return load_file(max((run / "checkpoints").glob("iteration_*")) / "shared/model.safetensors")


def difference(one, two):
    """Return the largest difference of two runs' weights."""
    a, b = tensors(one), tensors(two)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.parametrize(
    "settings",
    [
        ("training.shared_prefix=false",),
        ("model.gradient_checkpointing=true",),
        ("training.microbatch_tokens=128",),
        ("training.old_logprobs=recompute",),
        ("training.old_logprobs=recompute", "training.importance_cap=2.0"),
        ("training.dual_clip=1e9",),
    ],
    ids=lambda settings: settings[-1],
)
def test_exact_paths_end_in_the_same_weights(tiny, settings):
    # Plain gradient steps would differ by rounding alone; Adam divides by it where a gradient is nearly zero.
    common = (*SHORT, "training.learning_rate=0.001", "training.algorithm=at_grpo")
    plain, other = tiny.train(*common).folder, tiny.train(*common, *settings).folder
    assert difference(plain, other) < 1e-4
    start = tiny.train(*common, "training.learning_rate=0.0").folder
    assert difference(plain, start) > 1e-3  # so the runs had something to agree about


def test_a_group_of_rollouts_is_trained_the_same_with_or_without_a_shared_prefix(tiny):
    common = (*SHORT, "training.algorithm=grpo", "training.learning_rate=0.001")
    plain = tiny.train(*common, "training.shared_prefix=false").folder
    assert difference(plain, tiny.train(*common).folder) < 1e-4


@pytest.mark.parametrize(
    "settings",
    [
        ("training.kl_coefficient=5.0",),
        ("training.entropy_coefficient=5.0",),
        ("training.ppo_epochs=2", "training.num_minibatches=2"),
        ("model.top_p=0.9",),
        ("model.top_k=20",),
        ("training.norm=mean",),
        ("training.mix=additive",),
        ("training.alpha=0.0",),
        ("training.loss_aggregation=sequence-mean",),
        ("training.mask_truncated=true",),
        ("training.commit=sampled",),
        ("training.weight_decay=5.0",),
        ("training.max_grad_norm=1e-9", "training.adam_betas=[0.0, 0.0]"),
        ("training.lr_schedule=linear",),
        ("training.warmup_iterations=2",),
    ],
    ids=lambda settings: settings[0],
)
def test_settings_that_matter_change_the_result(tiny, settings):
    plain, other = tiny.train(*SHORT).folder, tiny.train(*SHORT, *settings).folder
    assert difference(plain, other) > 1e-5
    for line in tiny.metrics(other):
        assert line["trained_groups"] > 0
        assert line["skipped_steps"] == 0
        assert "policy_loss" in line


def test_kl_is_to_the_start_of_the_run_and_holds_it_there(tiny):
    free, held = (
        tiny.train(*SHORT[1:], "training.num_iterations=4", f"training.kl_coefficient={beta}").folder
        for beta in (0.0, 20.0)
    )
    assert "reference_kl" not in tiny.metrics(free)[0]
    kl = [line["reference_kl"] for line in tiny.metrics(held)]
    assert kl[0] == pytest.approx(0.0, abs=1e-5)  # before the first step nobody has moved
    assert all(value > 1e-5 for value in kl[1:])
    start = tiny.train(*SHORT, "training.learning_rate=0.0").folder
    assert difference(held, start) < difference(free, start)


def test_the_entropy_bonus_raises_entropy(tiny):
    low, high = (
        tiny.train(*SHORT[1:], "training.num_iterations=4", f"training.entropy_coefficient={c}").folder
        for c in (0.0, 10.0)
    )
    assert tiny.metrics(high)[-1]["entropy"] > tiny.metrics(low)[-1]["entropy"]


def test_steps_are_epochs_times_minibatches_and_a_second_epoch_clips(tiny):
    settings = ("training.ppo_epochs=3", "training.num_minibatches=2", "training.learning_rate=0.05")
    lines = tiny.metrics(tiny.train(*SHORT, *settings).folder)
    assert [line["optimizer_steps"] for line in lines] == [6.0, 6.0]
    assert all(line["clip_fraction"] > 0.0 for line in lines)
    assert all(line["ratio_kl"] > 0.0 for line in lines)
    assert all(line["clip_fraction"] == 0.0 for line in tiny.metrics(tiny.train(*SHORT).folder))


@pytest.mark.parametrize("settings", [(), ("model.top_p=0.9",), ("model.temperature=0.7",)])
def test_the_learner_agrees_with_the_generator_about_what_was_sampled(tiny, settings):
    lines = tiny.metrics(tiny.train(*SHORT, *settings).folder)
    assert all(line["generator_drift"] < 1e-5 for line in lines)


def test_a_negative_advantage_is_bounded_by_the_dual_clip(tiny):
    settings = (*SHORT, "training.ppo_epochs=3", "training.learning_rate=0.05")
    plain = tiny.train(*settings).folder
    bounded = tiny.train(*settings, "training.dual_clip=1.01").folder
    assert tiny.metrics(bounded)[0]["clip_fraction"] > tiny.metrics(plain)[0]["clip_fraction"]


def test_learning_rates_of_a_schedule(tiny):
    settings = ("training.num_iterations=4", *SHORT[1:], "training.batch_size=1")
    run = tiny.train(*settings, "training.lr_schedule=linear", "training.warmup_iterations=2").folder
    rates = [line["learning_rate"] for line in tiny.metrics(run)]
    assert rates == pytest.approx([0.0015, 0.003, 0.003, 0.0015])


def test_an_iteration_with_nothing_to_learn_makes_no_number_up(tiny, monkeypatch):
    from pettingllms.api import Reward
    from pettingllms.testing.toy import ClueReward

    monkeypatch.setattr(ClueReward, "__call__", lambda self, transition, role: Reward(team=1.0, local=0.0))
    result = tiny.cli("train", *tiny.arguments(*SHORT))
    assert result.code == 0
    (run,) = tiny.runs()
    for line in tiny.metrics(run):
        assert (line["zero_variance"], line["trained_groups"]) == (1.0, 0)
        assert "policy_loss" not in line
        assert line["learning_rate"] == 0.003
    assert result.out.count("no step taken") == 2
    assert tiny.last_weights(run) == tiny.last_weights(tiny.train(*SHORT, "training.num_iterations=1").folder)


def test_settings_that_the_algorithm_does_not_use_are_named_at_the_start(tiny):
    result = tiny.cli(
        "train",
        *tiny.arguments(
            *("training.algorithm=grpo", "training.gamma=0.99", "training.commit=sampled"),
            *("training.num_iterations=0", "evaluation.final_num_tasks=0", "warm_start.steps=2"),
        ),
    )
    lines = result.out.splitlines()
    first = lines.index("training.gamma = 0.99 is not used by grpo")
    assert first < 6
    assert "training.commit = 'sampled' is not used by grpo" in lines
