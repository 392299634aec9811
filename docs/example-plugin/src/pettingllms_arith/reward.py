"""The reward of `arith/sum`."""

from __future__ import annotations

from typing import Any

import attrs

from pettingllms.api import Reward, Transition


@attrs.frozen
class SumRewardOptions:
    """Weights of the reward."""

    solved: float = attrs.field(default=1.0, metadata={"help": "team reward for a right sum"})
    unread: float = attrs.field(
        default=0.5,
        validator=attrs.validators.ge(0.0),
        metadata={"help": "taken from the local reward of an answer without a digit"},
    )


class SumReward:
    """Team: the answer is what the sum needs. Local: it is right for what the role was shown."""

    def __init__(self, options: SumRewardOptions) -> None:
        self.options = options

    def __call__(self, transition: Transition[Any], role: str) -> Reward:
        """Return the reward of one answer, from its facts alone."""
        facts = transition.facts
        parts = {
            "right": float(facts["right"]),
            "solved": self.options.solved * bool(facts["solved"]),
            "own": float(facts["consistent"]),
            "unread": 0.0 if facts["read"] else -self.options.unread,
        }
        return Reward(parts["right"] + parts["solved"], parts["own"] + parts["unread"], parts)
