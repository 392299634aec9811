"""Reward functions and the mixer of team and local reward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import attrs

from pettingllms.env.types import Transition


@attrs.frozen
class Reward:
    """The reward of one branch.

    Attributes:
        team: What the response did for the task; every role is judged by it alike.
        local: What the response was worth as this role's own work.
        parts: The named addends behind both, for the record. Unitless, like the rewards.
    """

    team: float
    local: float
    parts: Mapping[str, float] = attrs.field(factory=dict)


@runtime_checkable
class RewardFunction(Protocol):
    """Scores a transition. Made as ``Class(options)``; pure: a branch's reward depends on it alone."""

    def __call__(self, transition: Transition[Any], role: str) -> Reward:
        """Return the reward of `role` for `transition`."""
        ...


MixForm = Literal["convex", "additive"]


def mix(reward: Reward, alpha: float, form: MixForm) -> float:
    """Return the one number that a branch is trained on.

    ``convex``: ``alpha * team + (1 - alpha) * local``. ``additive``: ``alpha * team + local``
    (Stronger-MAS, arXiv 2510.11062, with alpha = 1).
    """
    if form == "convex":
        return alpha * reward.team + (1.0 - alpha) * reward.local
    return alpha * reward.team + reward.local
