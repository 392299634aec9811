"""Reward functions of Sudoku.

Progress is potential-based shaping with discount 1 (Ng, Harada and Russell, ICML 1999). The potential of a
board is the share of its open cells that agree with the completion it is nearest to, so entries that return
to the same board sum to exactly zero and every other term that they can repeat is a loss. A planner's
proposal moves nothing, so a good one could be paid again and again: it is scored against the best that a
turn could reach and never earns more than zero. Among the branches of one prompt that changes neither order
nor spread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from pettingllms.api import ConfigError, Reward, Transition


def _signed(sign: int) -> Callable[[Any, Any, Any], None]:
    word = "at least 0" if sign > 0 else "at most 0"

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not 0 <= value * sign < float("inf")
        ):
            raise ConfigError(
                f"sudoku reward option {attribute.name} must be a number of {word}, not {value!r}"
            )

    return check


def _gain(default: float, text: str) -> Any:
    return attrs.field(default=default, validator=_signed(1), metadata={"help": text})


def _loss(default: float, text: str) -> Any:
    return attrs.field(default=default, validator=_signed(-1), metadata={"help": text})


@attrs.frozen
class SudokuRewardOptions:
    """Options of `games/sudoku`; all are reward units.

    Raises:
        ConfigError: A penalty is above 0 or a reward below 0.
    """

    step_penalty: float = _loss(-0.01, "for every turn")
    progress: float = _gain(1.0, "times the change of the share of cells that are right")
    success_reward: float = _gain(1.0, "for solving the puzzle")
    failure_reward: float = _loss(-0.5, "for ending the episode unsolved")
    conflict_penalty: float = _loss(-0.1, "times the share of entries that clash with another digit")
    refused_penalty: float = _loss(-0.1, "times the share of entries that are refused")
    malformed_penalty: float = _loss(-0.2, "for an answer that cannot be read")


@attrs.frozen
class SudokuReward:
    """Dense reward: progress, success or failure; discipline as the role's own part.

    Executor and player: `team` is what the entries did, `local` their discipline plus the same progress.
    Planner: `team` is 0, `local` is discipline plus what the proposal would do, less the best possible.
    """

    options: SudokuRewardOptions = attrs.field(factory=SudokuRewardOptions)

    def __call__(self, transition: Transition[Any], role: str) -> Reward:
        """Return the reward of a transition of `SudokuEnvironment`."""
        weights, facts = self.options, transition.facts
        applied = int(facts["applied"])
        refused = int(facts["clue_overwrites"]) + int(facts["out_of_range"]) + int(facts["over_limit"])
        discipline = {
            # Adding 0.0 keeps -0.0 out of the records.
            "conflict": weights.conflict_penalty * int(facts["entry_conflicts"]) / max(1, applied) + 0.0,
            "refused": weights.refused_penalty * refused / max(1, applied + refused) + 0.0,
            "malformed": 0.0 if facts["parsed"] else weights.malformed_penalty,
        }
        if "would_progress" in facts:
            shortfall = float(facts["would_progress"]) - float(facts["best_progress"])
            parts = {**discipline, "shortfall": weights.progress * min(0.0, shortfall)}
            return Reward(0.0, sum(parts.values()), parts)
        progress = weights.progress * float(facts["progress"])
        shared = {
            "progress": progress,
            "step": weights.step_penalty,
            "success": weights.success_reward if facts["solved"] else 0.0,
            "failure": weights.failure_reward if facts["failed"] else 0.0,
        }
        return Reward(sum(shared.values()), sum(discipline.values()) + progress, {**shared, **discipline})


@attrs.frozen
class SudokuSparseRewardOptions:
    """Options of `games/sudoku-sparse`; both are reward units.

    Raises:
        ConfigError: `success_reward` is below 0 or `failure_reward` above.
    """

    success_reward: float = _gain(1.0, "for solving the puzzle")
    failure_reward: float = _loss(
        -1.0, "for ending the episode unsolved; for a proposal that would not solve it"
    )


@attrs.frozen
class SudokuSparseReward:
    """Success and failure only.

    The planner's `team` is 0; its `local` is 0 for a proposal that would solve the puzzle, else the failure
    reward.
    """

    options: SudokuSparseRewardOptions = attrs.field(factory=SudokuSparseRewardOptions)

    def __call__(self, transition: Transition[Any], role: str) -> Reward:
        """Return the reward of a transition of `SudokuEnvironment`."""
        weights, facts = self.options, transition.facts
        if "would_solve" in facts:
            miss = 0.0 if facts["would_solve"] else weights.failure_reward
            return Reward(0.0, miss, {"failure": miss})
        success = weights.success_reward if facts["solved"] else 0.0
        failure = weights.failure_reward if facts["failed"] else 0.0
        return Reward(success + failure, success + failure, {"success": success, "failure": failure})
