"""The two ways to collect an iteration: AT-GRPO's tree, and independent rollouts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Literal

from pettingllms.env.types import Task
from pettingllms.rollout.collect import Commit, Rollouts, play
from pettingllms.rollout.types import Episode, derive_seed


def greedy(indices: list[int], scores: list[float], rng: random.Random) -> int:
    """Follow a best branch; ties are broken by the seeded generator."""
    best = max(scores)
    return rng.choice([i for i, score in zip(indices, scores, strict=True) if score == best])


def sampled(indices: list[int], scores: list[float], rng: random.Random) -> int:
    """Follow any branch: the states are those that evaluation will visit."""
    return rng.choice(indices)


def commit_rule(rule: Literal["greedy", "sampled", "mixed"], greedy_share: float) -> Commit:
    """Return the commit rule of that name; `greedy_share` matters under ``mixed`` only."""
    if rule == "greedy":
        return greedy
    if rule == "sampled":
        return sampled

    def mixed(indices: list[int], scores: list[float], rng: random.Random) -> int:
        return (greedy if rng.random() < greedy_share else sampled)(indices, scores, rng)

    return mixed


async def sample_trees(
    rollouts: Rollouts[Any], tasks: Sequence[Task], seed: int, *, branches: int, commit: Commit
) -> list[Episode]:
    """Play every task once, sampling `branches` responses at every act (AT-GRPO).

    `seed` must differ between iterations; a task given twice is two instances.
    """
    return await asyncio.gather(
        *(
            play(rollouts, task, i, derive_seed(seed, i, task.id), branches=branches, commit=commit)
            for i, task in enumerate(tasks)
        )
    )


async def sample_independent(
    rollouts: Rollouts[Any], tasks: Sequence[Task], seed: int, *, rollouts_per_task: int
) -> list[list[Episode]]:
    """Play every task `rollouts_per_task` times without branching (GRPO's trajectory groups)."""
    flat = await asyncio.gather(
        *(
            play(
                rollouts,
                task,
                i * rollouts_per_task + c,
                derive_seed(seed, i, task.id, c),
                branches=1,
                commit=sampled,
            )
            for i, task in enumerate(tasks)
            for c in range(rollouts_per_task)
        )
    )
    return [flat[i : i + rollouts_per_task] for i in range(0, len(flat), rollouts_per_task)]


async def play_once(rollouts: Rollouts[Any], tasks: Sequence[Task], seed: int) -> list[Episode]:
    """Play every task once without branching: how evaluation plays."""
    return [group[0] for group in await sample_independent(rollouts, tasks, seed, rollouts_per_task=1)]
