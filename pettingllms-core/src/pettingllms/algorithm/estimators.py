"""Group-relative advantages: from episodes to what the learner trains on. Pure Python, no tensors.

at_grpo   groups by (task instance, role, turn): Stronger-MAS, arXiv 2510.11062.
grpo      groups by task, over whole rollouts: DeepSeekMath, arXiv 2402.03300, eq. 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import attrs

from pettingllms.rollout.types import Episode, Sample

Norm = Literal["std", "mean"]
EPSILON = 1e-6


def group_advantages(rewards: Sequence[float], norm: Norm) -> list[float]:
    """Return ``(r - mean) / (std + 1e-6)``, or ``r - mean``.

    `std` is the sample standard deviation (n - 1), as in the public GRPO trainers. A group of
    one or of equal rewards has only zeros: there is nothing to compare.
    """
    n = len(rewards)
    if n < 2 or max(rewards) == min(rewards):
        return [0.0] * n
    mean = math.fsum(rewards) / n
    centred = [reward - mean for reward in rewards]
    if norm == "mean":
        return centred
    std = math.sqrt(math.fsum(c * c for c in centred) / (n - 1))
    return [c / (std + EPSILON) for c in centred]


@attrs.frozen
class TrainSample:
    """A response to train on, with its advantage."""

    sample: Sample
    advantage: float


@attrs.frozen
class PromptGroup:
    """Responses that share one prompt: what the learner trains on, whole.

    Attributes:
        policy: The policy that played the role, the only one to train on this.
        role: For metrics.
        prompt_ids: P tokens.
        samples: K responses of up to R tokens each.
        temperature: At which they were sampled; the learner divides its logits by it.
    """

    policy: str
    role: str
    prompt_ids: tuple[int, ...]
    samples: tuple[TrainSample, ...]
    temperature: float


@attrs.frozen
class Estimate:
    """Training groups, and how many were left out and why (counts of groups)."""

    groups: list[PromptGroup]
    total: int
    zero_variance: int
    faulty: int


def at_grpo(episodes: Sequence[Episode], norm: Norm, *, drop_zero_variance: bool) -> Estimate:
    """Compare the K branches of each (task instance, role, turn); train on all of them.

    A group with a faulty branch is left out and counted: its mean would be another group's.
    """
    kept: list[PromptGroup] = []
    total = zero = faulty = 0
    for episode in episodes:
        for group in episode.groups:
            total += 1
            scores = group.scores
            if scores is None:
                faulty += 1
                continue
            flat = max(scores) == min(scores)
            zero += flat
            if flat and drop_zero_variance:
                continue
            advantages = group_advantages(scores, norm)
            samples = tuple(
                TrainSample(branch.sample, advantage)
                for branch, advantage in zip(group.branches, advantages, strict=True)
            )
            kept.append(
                PromptGroup(group.policy, group.key.role, group.prompt_ids, samples, group.temperature)
            )
    return Estimate(kept, total, zero, faulty)


def trajectory_return(episode: Episode) -> float | None:
    """Return the undiscounted sum of an episode's rewards, or None when a fault is on it."""
    scores = [group.branches[group.committed].score for group in episode.groups]
    if episode.fault is not None or any(score is None for score in scores):
        return None
    return math.fsum(score for score in scores if score is not None)


def grpo(rollouts: Sequence[Sequence[Episode]], norm: Norm, *, drop_zero_variance: bool) -> Estimate:
    """Compare the independent rollouts of each task by their return; its responses share its advantage.

    Responses to one identical prompt (the first act of every rollout, at least) are packed
    into one `PromptGroup`, so that the prompt is computed once. Counts are of trajectory groups.
    """
    kept: list[PromptGroup] = []
    total = zero = faulty = 0
    for episodes in rollouts:
        total += 1
        returns = [trajectory_return(episode) for episode in episodes]
        if any(value is None for value in returns):
            faulty += 1
            continue
        values = [value for value in returns if value is not None]
        flat = max(values) == min(values)
        zero += flat
        if flat and drop_zero_variance:
            continue
        by_prompt: dict[tuple[str, str, tuple[int, ...], float], list[TrainSample]] = {}
        for episode, advantage in zip(episodes, group_advantages(values, norm), strict=True):
            for group in episode.groups:
                prompt = (group.policy, group.key.role, group.prompt_ids, group.temperature)
                by_prompt.setdefault(prompt, []).append(TrainSample(group.branches[0].sample, advantage))
        kept.extend(
            PromptGroup(policy, role, prompt_ids, tuple(samples), temperature)
            for (policy, role, prompt_ids, temperature), samples in by_prompt.items()
        )
    return Estimate(kept, total, zero, faulty)
