"""Advantages against numbers worked out by hand, and which groups are trained on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pettingllms.algorithm.estimators import at_grpo, group_advantages, grpo, trajectory_return
from pettingllms.env.types import Message, Outcome, Task
from pettingllms.rollout.types import Branch, Episode, Group, GroupKey, Sample
from pettingllms.team.reward import Reward


def group(scores, role="a", turn=0, prompt=(1, 2), task="t", instance=0, committed=0, temperature=1.0):
    branches = tuple(
        Branch(
            sample=Sample((10 + i,), (-1.0,), "stop", 0),
            response=str(i),
            facts={},
            reward=None if score is None else Reward(score, score),
            score=score,
            fault="environment: broke" if score is None else None,
        )
        for i, score in enumerate(scores)
    )
    key = GroupKey(task, instance, role, turn)
    return Group(key, f"policy-{role}", (Message("user", "x"),), prompt, branches, committed, temperature)


def episode(*groups, fault=None, success=False):
    outcome = None if fault else Outcome(success, float(success))
    return Episode(Task("t", {}), 0, 0, groups, outcome, len(groups), fault)


def trained(estimate):
    return [[item.advantage for item in group.samples] for group in estimate.groups]


def test_advantages_by_hand():
    # mean .5, deviations -.5 -.25 .25 .5; squares .25 + .0625 + .0625 + .25 = .625, /3, root .4564355
    std = math.sqrt(0.625 / 3)
    assert std == pytest.approx(0.4564355, abs=1e-7)
    got = group_advantages([0.0, 0.25, 0.75, 1.0], "std")
    assert got == pytest.approx([-1.0954427, -0.5477213, 0.5477213, 1.0954427], abs=1e-6)
    assert got[3] == pytest.approx(0.5 / (std + 1e-6), rel=1e-12)
    assert group_advantages([0.0, 0.25, 0.75, 1.0], "mean") == [-0.5, -0.25, 0.25, 0.5]


def test_ties_at_the_top_share_their_advantage():
    # mean .5, deviations +-.5, squares 4 * .25 = 1, /3, root .5773503; .5 / .5773503 = .8660254
    assert group_advantages([1.0, 1.0, 0.0, 0.0], "std") == pytest.approx(
        [0.8660239, 0.8660239, -0.8660239, -0.8660239], abs=1e-7
    )
    # One loser among four: mean .75; squares 3/16 + 9/16 = .75, /3 = .25, root .5; .25/.5 and -.75/.5
    assert group_advantages([1.0, 1.0, 1.0, 0.0], "std") == pytest.approx([0.5, 0.5, 0.5, -1.5], abs=4e-6)


@pytest.mark.parametrize("norm", ["std", "mean"])
@pytest.mark.parametrize("rewards", [[0.3] * 4, [0.1] * 3, [5.0], []])
def test_a_group_without_variance_teaches_nothing(norm, rewards):
    # The mean of three times 0.1 is not 0.1 in floating point.
    assert group_advantages(rewards, norm) == [0.0] * len(rewards)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8), st.floats(-100, 100), st.floats(0.5, 10))
def test_advantages_sum_to_zero_and_ignore_shift_and_scale(rewards, shift, scale):
    got = group_advantages(rewards, "std")
    assert math.fsum(got) == pytest.approx(0.0, abs=1e-6)
    if max(rewards) - min(rewards) > 0.1:
        moved = group_advantages([scale * reward + shift for reward in rewards], "std")
        assert moved == pytest.approx(got, abs=1e-4)


def test_at_grpo_trains_on_all_branches_of_each_group_apart():
    low, high = group([0.0, 1.0]), group([10.0, 12.0], role="b", prompt=(3,), temperature=0.8)
    estimate = at_grpo([episode(low, high)], "mean", drop_zero_variance=True)
    assert trained(estimate) == [[-0.5, 0.5], [-1.0, 1.0]]
    first, second = estimate.groups
    assert (first.policy, first.role, first.prompt_ids, first.temperature) == ("policy-a", "a", (1, 2), 1.0)
    assert (second.policy, second.role, second.prompt_ids, second.temperature) == ("policy-b", "b", (3,), 0.8)
    assert [item.sample.token_ids for item in second.samples] == [(10,), (11,)]
    assert (estimate.total, estimate.zero_variance, estimate.faulty) == (2, 0, 0)


def test_d9_only_groups_without_variance_are_dropped_and_they_are_counted():
    lowest_mean, lowest_variance, outlier = (
        group([-9.0, -8.0]),
        group([5.0, 5.000001]),
        group([0.0, 0.0, 0.0, 100.0]),
    )
    flat, faulty = group([1.0, 1.0]), group([1.0, None])
    episodes = [episode(lowest_mean, flat), episode(lowest_variance, faulty, outlier)]
    estimate = at_grpo(episodes, "mean", drop_zero_variance=True)
    assert trained(estimate) == [
        pytest.approx([-0.5, 0.5]),
        pytest.approx([-5e-7, 5e-7]),
        pytest.approx([-25, -25, -25, 75]),
    ]
    assert (estimate.total, estimate.zero_variance, estimate.faulty) == (5, 1, 1)
    kept = at_grpo(episodes, "mean", drop_zero_variance=False)
    assert [0.0, 0.0] in trained(kept)
    assert (kept.total, kept.zero_variance, kept.faulty, len(kept.groups)) == (5, 1, 1, 4)


def test_d10_the_rollout_that_solves_early_is_trained_on():
    solver = episode(group([1.0], prompt=(1,)), success=True)
    losers = [
        episode(*(group([0.0], turn=t, prompt=(1, i, t) if t else (1,)) for t in range(3))) for i in range(3)
    ]
    estimate = grpo([[losers[0], solver, *losers[1:]]], "std", drop_zero_variance=True)
    first = estimate.groups[0]
    assert first.prompt_ids == (1,)  # the four first acts share their prompt, computed once
    # returns 0 1 0 0: mean .25; squares 3/16 + 9/16 = .75, /3 = .25, root .5; -.25/.5 and .75/.5
    assert [item.advantage for item in first.samples] == pytest.approx([-0.5, 1.5, -0.5, -0.5], abs=4e-6)
    later = [[item.advantage for item in group.samples] for group in estimate.groups[1:]]
    assert later == [pytest.approx([-0.5], abs=4e-6)] * 6
    assert (estimate.total, estimate.zero_variance, estimate.faulty) == (1, 0, 0)


def test_grpo_compares_returns_of_whole_rollouts():
    rollouts = [
        episode(group([1.0]), group([2.0], role="b", prompt=(7,))),
        episode(group([0.5]), group([0.5], role="b", prompt=(8,))),
    ]
    assert [trajectory_return(rollout) for rollout in rollouts] == [3.0, 1.0]
    estimate = grpo([rollouts], "mean", drop_zero_variance=True)
    assert trained(estimate) == [[1.0, -1.0], [1.0], [-1.0]]
    assert [item.role for item in estimate.groups] == ["a", "b", "b"]


def test_grpo_leaves_out_a_task_with_a_fault_and_one_without_variance():
    good = [episode(group([1.0])), episode(group([0.0]))]
    broken = [episode(group([1.0])), episode(group([0.0]), fault="generation: gone")]
    faulty_branch = [episode(group([1.0])), episode(group([None]))]
    flat = [episode(group([1.0])), episode(group([1.0]))]
    estimate = grpo([broken, good, flat, faulty_branch], "mean", drop_zero_variance=True)
    assert trained(estimate) == [[0.5, -0.5]]
    assert (estimate.total, estimate.zero_variance, estimate.faulty) == (4, 1, 2)
    assert trained(grpo([flat], "mean", drop_zero_variance=False)) == [[0.0, 0.0]]
