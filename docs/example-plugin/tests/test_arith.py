from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pettingllms_arith.reward import SumReward, SumRewardOptions
from pettingllms_arith.sum import SumEnvironment, SumOptions

from pettingllms.api import Task


@pytest.mark.parametrize("options", [{}, {"digits": 1}, {"digits": 6, "base": 3, "max_turns": 8}])
def test_keeps_the_promises_of_an_environment(
    check_environment: Callable[..., Any], options: dict[str, Any]
) -> None:
    check_environment("arith/sum", options=options)


def test_a_wrong_carry_misleads_the_adder_and_earns_no_team_reward() -> None:
    env, reward = SumEnvironment(SumOptions()), SumReward(SumRewardOptions())
    state = env.start(Task("t", {"a": 17, "b": 25}), seed=0)  # 7 + 5 carries 1
    rewards = []
    for role, response in (("adder", "2"), ("carrier", "0"), ("adder", "4"), ("carrier", "no idea")):
        assert env.acting_role(state) == role
        transition = asyncio.run(env.step(state, role, response))
        rewards.append(reward(transition, role))
        state = transition.state
    assert [(r.team, r.local) for r in rewards] == [(1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.0, -0.5)]
    assert env.acting_role(state) is None
    assert env.outcome(state).score == 0.0
    assert not env.outcome(state).success


def test_more_columns_than_turns_are_refused() -> None:
    with pytest.raises(ValueError, match="'digits' must be at most max_turns"):
        SumOptions(digits=5)
