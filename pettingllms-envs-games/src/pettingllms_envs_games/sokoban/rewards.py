"""Reward functions of Sokoban.

Progress is potential-based shaping with discount 1 (Ng, Harada, Russell 1999): moves that return to
the same position sum to zero, and the step penalty makes them a loss. A planner's proposal is not a
move, so a good one could be paid again and again; it is therefore scored against the best proposal of
its position and never earns more than zero. Within a group of branches of one prompt this changes
neither order nor spread.

The potential falls geometrically with the moves that remain (`env.potential`); steps are counted in
shares of the budget of moves.
"""

from __future__ import annotations

import math
from typing import Any

import attrs

from pettingllms.api import ConfigError, Reward, Transition


def _finite(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"sokoban reward option {attribute.name} must be a finite number, not {value!r}")


def _weight(default: float, text: str) -> Any:
    return attrs.field(default=default, validator=_finite, metadata={"help": text})


@attrs.frozen
class SokobanRewardOptions:
    """Options of `games/sokoban`; all are reward units."""

    step_penalty: float = _weight(
        -0.04, "for the whole budget of moves; a move tried pays its share (a turn without one pays for one)"
    )
    illegal_penalty: float = _weight(-0.02, "for every move into a wall or a blocked box")
    idle_penalty: float = _weight(-0.1, "for an answer without a move: passing must not beat trying")
    malformed_penalty: float = _weight(-0.2, "for an answer that cannot be read")
    overlong_penalty: float = _weight(-0.05, "for an answer of more moves than a turn has")
    box_on_target: float = _weight(0.1, "for every box brought onto a goal, taken back when it leaves")
    success_reward: float = _weight(1.0, "for solving the level")
    failure_reward: float = _weight(-0.2, "for ending the episode unsolved")
    progress: float = _weight(1.0, "times the change of potential, which is 0 when dead and 1 when solved")


@attrs.frozen
class SokobanReward:
    """Dense reward: progress, boxes on goals, success or failure; discipline as the role's own part.

    Executor and player: `team` is what the moves did, `local` their discipline plus the same progress.
    Planner: `team` is 0, `local` is discipline plus what the proposal would do, less the best that any
    could.
    """

    options: SokobanRewardOptions = attrs.field(factory=SokobanRewardOptions)

    def __call__(self, transition: Transition[Any], role: str) -> Reward:
        """Return the reward of a transition of `SokobanEnvironment`."""
        weights, facts = self.options, transition.facts
        illegal = int(facts["illegal"])
        discipline = {
            "illegal": weights.illegal_penalty * illegal,
            "idle": weights.idle_penalty if facts["parsed"] and not (illegal or int(facts["moves"])) else 0.0,
            "malformed": 0.0 if facts["parsed"] else weights.malformed_penalty,
            "overlong": weights.overlong_penalty if int(facts["cut"]) else 0.0,
        }
        step = weights.step_penalty * float(facts["effort"])
        if "would_progress" in facts:
            shortfall = float(facts["would_progress"]) - float(facts["best_progress"])
            parts = {**discipline, "step": step, "shortfall": weights.progress * min(0.0, shortfall)}
            return Reward(0.0, sum(parts.values()), parts)
        progress = weights.progress * float(facts["progress"])
        shared = {
            "progress": progress,
            "step": step,
            "box_on_target": weights.box_on_target * int(facts["boxes_delta"]),
            "success": weights.success_reward if facts["solved"] else 0.0,
            "failure": weights.failure_reward if facts["failed"] else 0.0,
        }
        return Reward(sum(shared.values()), sum(discipline.values()) + progress, {**shared, **discipline})


@attrs.frozen
class SokobanSparseRewardOptions:
    """Options of `games/sokoban-sparse`; both are reward units."""

    success_reward: float = _weight(1.0, "for solving the level")
    failure_reward: float = _weight(
        -1.0, "for ending the episode unsolved; for a proposal that would not solve it"
    )


@attrs.frozen
class SokobanSparseReward:
    """Success and failure only.

    The planner's `team` is 0; its `local` is 0 for a proposal that would solve the level, else the
    failure reward.
    """

    options: SokobanSparseRewardOptions = attrs.field(factory=SokobanSparseRewardOptions)

    def __call__(self, transition: Transition[Any], role: str) -> Reward:
        """Return the reward of a transition of `SokobanEnvironment`."""
        weights, facts = self.options, transition.facts
        if "would_solve" in facts:
            miss = 0.0 if facts["would_solve"] else weights.failure_reward
            return Reward(0.0, miss, {"failure": miss})
        success = weights.success_reward if facts["solved"] else 0.0
        failure = weights.failure_reward if facts["failed"] else 0.0
        return Reward(success + failure, success + failure, {"success": success, "failure": failure})
