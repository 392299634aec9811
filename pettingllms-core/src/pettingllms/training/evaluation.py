"""Held-out evaluation: one response a prompt, no branching, with an interval."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from statistics import fmean, median
from typing import Any

import attrs

from pettingllms.env.base import Environment
from pettingllms.env.suite import Split, TaskSuite
from pettingllms.env.types import Outcome, Task
from pettingllms.errors import ConfigError
from pettingllms.rollout.collect import Rollouts
from pettingllms.rollout.metrics import first_fault
from pettingllms.rollout.samplers import play_once
from pettingllms.rollout.types import Episode, derive_seed

Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (Wilson, 1927)."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = p + Z95 * Z95 / (2 * n)
    margin = Z95 * math.sqrt(p * (1 - p) / n + Z95 * Z95 / (4 * n * n))
    scale = 1 + Z95 * Z95 / n
    return max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)


@attrs.frozen
class Evaluation:
    """How a team did on a number of tasks.

    Attributes:
        tasks: How many were played.
        successes: How many were solved.
        score: Mean of the task's own score.
        episode_length: Mean turns of an episode.
        faults: Episodes that a fault ended; they count as not solved.
        first_fault: What the first of them was.
        by_label: Label, value, and (successes, tasks) of the tasks that carry it (textual labels only).
    """

    tasks: int
    successes: int
    score: float
    episode_length: float
    faults: int
    first_fault: str | None
    by_label: dict[str, dict[str, tuple[int, int]]]

    @property
    def success_rate(self) -> float:
        """Share of tasks solved."""
        return self.successes / self.tasks if self.tasks else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of `success_rate`."""
        return wilson(self.successes, self.tasks)

    def to_plain(self) -> dict[str, Any]:
        """Return the evaluation as JSON-ready data."""
        low, high = self.interval
        return {
            **attrs.asdict(self),
            "success_rate": self.success_rate,
            "interval_95": [low, high],
        }


def held_out(suite: TaskSuite, split: Split, count: int) -> list[Task]:
    """Return the first `count` tasks of a split (all of it when it holds fewer).

    Raises:
        ConfigError: The split is empty.
    """
    size = suite.size(split)
    if size == 0:
        raise ConfigError(f"the split {split!r} of this environment holds no tasks")
    return [suite.task(split, index) for index in range(min(count, size))]


def summarise(episodes: Sequence[Episode]) -> Evaluation:
    """Return what `episodes`, one a task, amount to."""
    by_label: dict[str, dict[str, tuple[int, int]]] = {}
    for episode in episodes:
        for label, value in episode.task.labels.items():
            if isinstance(value, str):
                solved, played = by_label.setdefault(label, {}).get(value, (0, 0))
                by_label[label][value] = (solved + episode.success, played + 1)
    return Evaluation(
        tasks=len(episodes),
        successes=sum(episode.success for episode in episodes),
        score=fmean(e.outcome.score if e.outcome is not None else 0.0 for e in episodes),
        episode_length=fmean(episode.turns for episode in episodes),
        faults=sum(episode.fault is not None for episode in episodes),
        first_fault=first_fault(episodes),
        by_label=by_label,
    )


def play_held_out(rollouts: Rollouts[Any], tasks: Sequence[Task], seed: int) -> list[Episode]:
    """Let the team of `rollouts` play every task once."""
    return asyncio.run(play_once(rollouts, tasks, seed))


Player = Callable[[Any, str, random.Random], str | None]
"""(state, role, rng) -> response: a player that is no model. None gives up."""


def play_scripted(
    environment: Environment[Any], tasks: Sequence[Task], player: Player, seed: int
) -> list[Episode]:
    """Let `player` take every seat: how `expert` and `random` rows of a table are made.

    What the environment or the player raises is a fault of the episode.
    """

    async def play(task: Task) -> Episode:
        rng = random.Random(derive_seed(seed, "scripted", task.id))
        episode_seed = derive_seed(seed, task.id)
        acts: dict[str, int] = {}
        outcome: Outcome | None = None
        fault: str | None = None
        try:
            state = environment.start(task, derive_seed(episode_seed, "start"))
            while (role := environment.acting_role(state)) is not None:
                acts[role] = acts.get(role, 0) + 1
                if acts[role] > environment.max_turns:
                    raise ValueError(
                        f"{role!r} is asked to act more often than max_turns = {environment.max_turns}"
                    )
                if (response := player(state, role, rng)) is None:
                    break
                state = (await environment.step(state, role, response)).state
            outcome = environment.outcome(state)
        except Exception as error:
            fault = f"environment: {type(error).__name__}: {error}"
        return Episode(
            task=task,
            instance=0,
            seed=episode_seed,
            groups=(),
            outcome=outcome,
            turns=max(acts.values(), default=0),
            fault=fault,
        )

    async def play_all() -> list[Episode]:
        return [await play(task) for task in tasks]

    return asyncio.run(play_all())


def scripted_players(environment: Environment[Any]) -> dict[str, Player]:
    """Return the players that the environment brings: ``random`` and ``expert``, as far as it has them."""
    found: dict[str, Player] = {}
    if (stray := getattr(environment, "random_response", None)) is not None:
        found["random"] = stray
    if (expert := getattr(environment, "expert", None)) is not None:
        found["expert"] = lambda state, role, rng: expert(state, role)
    return found


def label_spread(tasks: Sequence[Task]) -> dict[str, dict[str, float]]:
    """Return least, median and largest value of every numeric label, to say how hard the tasks are."""
    values: dict[str, list[float]] = {}
    for task in tasks:
        for label, value in task.labels.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                values.setdefault(label, []).append(float(value))
    return {
        label: {"min": min(found), "median": median(found), "max": max(found)}
        for label, found in values.items()
    }
