"""What this package registers. Importing it loads no environment: classes are named by text."""

from __future__ import annotations

from collections.abc import Iterable

from pettingllms.api import EnvironmentSpec, RewardSpec, RoleSpec, hookimpl


@hookimpl
def pettingllms_register_environments() -> Iterable[EnvironmentSpec]:
    """Return the environments of this package."""
    return [
        EnvironmentSpec(
            name="arith/sum",
            factory="pettingllms_arith.sum:SumEnvironment",
            suite="pettingllms_arith.sum:SumSuite",
            state="pettingllms_arith.sum:SumState",
            options="pettingllms_arith.sum:SumOptions",
            roles={"adder": "arith/adder", "carrier": "arith/carrier"},
            reward="arith/sum",
            preset="arith_sum",
            summary="long addition, column by column; adder and carrier",
        )
    ]


@hookimpl
def pettingllms_register_reward_functions() -> Iterable[RewardSpec]:
    """Return the reward functions of this package."""
    return [
        RewardSpec(
            name="arith/sum",
            factory="pettingllms_arith.reward:SumReward",
            options="pettingllms_arith.reward:SumRewardOptions",
            summary="right columns for the team, own work for the role",
        )
    ]


@hookimpl
def pettingllms_register_agent_roles() -> Iterable[RoleSpec]:
    """Return the roles of this package."""
    return [
        RoleSpec(name="arith/adder", role="pettingllms_arith.roles:ADDER", summary="writes the digit"),
        RoleSpec(name="arith/carrier", role="pettingllms_arith.roles:CARRIER", summary="says the carry"),
    ]
