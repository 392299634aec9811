"""AT-GRPO on one page: sample trees, compare branches, update every policy, repeat.

Stronger-MAS, arXiv 2510.11062. The steps are `rollout.samplers` (trees and commits), `algorithm.estimators`
(advantages within a group), `algorithm.loss` (clipped surrogate), `policy.learner` (optimiser).
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence

import attrs

from pettingllms.algorithm.estimators import Estimate, PromptGroup, at_grpo, grpo
from pettingllms.errors import EnvironmentFault
from pettingllms.rollout.metrics import first_fault, rollout_metrics
from pettingllms.rollout.samplers import commit_rule, sample_independent, sample_trees
from pettingllms.rollout.types import Episode, derive_seed
from pettingllms.training.checkpoint import Progress
from pettingllms.training.run import Run


def train(run: Run) -> Progress:
    """Train until `num_iterations` or the token budget is reached, or the user asks to stop."""
    settings, seed = run.config.training, run.config.env.seed
    progress = run.progress
    while not run.stop.requested and not finished(run, progress):
        iteration = progress.iteration
        began = time.perf_counter()

        tasks = run.tasks(iteration)
        episodes, estimate = collect(run, tasks, derive_seed(seed, "rollout", iteration))
        if run.stop.requested:
            break  # a rollout that was cut short is thrown away: the iteration has not begun
        metrics = rollout_metrics(episodes, run.problem.environment.roles)
        refuse_total_failure(episodes, iteration)
        run.rollouts_finished(iteration, metrics, episodes)
        sampled = time.perf_counter()

        updates = run.engine.update(by_policy(estimate.groups), iteration, derive_seed(seed, "update", iteration))
        run.engine.sync()
        metrics |= update_metrics(updates) | estimate_metrics(estimate)
        updated = time.perf_counter()

        progress = attrs.evolve(
            progress,
            iteration=iteration + 1,
            sampled_tokens=progress.sampled_tokens + int(metrics["sampled_tokens"]),
        )
        metrics["total_sampled_tokens"] = float(progress.sampled_tokens)
        metrics["time/rollout"] = sampled - began
        metrics["time/update"] = updated - sampled
        metrics["time/tokens_per_second"] = metrics["sampled_tokens"] / (updated - began)
        progress = run.iteration_finished(progress, metrics, last=finished(run, progress))
    if settings.num_iterations and progress.iteration:
        run.save(progress)
    return progress


def finished(run: Run, progress: Progress) -> bool:
    """Whether the planned iterations or tokens are used up."""
    settings = run.config.training
    budget = settings.max_sampled_tokens
    spent = budget is not None and progress.sampled_tokens >= budget
    return spent or progress.iteration >= settings.num_iterations


def collect(run: Run, tasks: Sequence, seed: int) -> tuple[list[Episode], Estimate]:  # type: ignore[type-arg]
    """Sample an iteration's episodes and give every response its advantage."""
    s = run.config.training
    if s.algorithm == "at_grpo":
        commit = commit_rule(s.commit, s.greedy_share)
        episodes = asyncio.run(
            sample_trees(run.training, tasks, seed, branches=s.num_branches, commit=commit)
        )
        return episodes, at_grpo(episodes, s.norm, drop_zero_variance=s.drop_zero_variance)
    rollouts = asyncio.run(
        sample_independent(run.training, tasks, seed, rollouts_per_task=s.num_branches)
    )
    estimate = grpo(rollouts, s.norm, drop_zero_variance=s.drop_zero_variance)
    return [episode for group in rollouts for episode in group], estimate


def by_policy(groups: Sequence[PromptGroup]) -> dict[str, list[PromptGroup]]:
    """Send every group to the policy that played it."""
    batches: dict[str, list[PromptGroup]] = defaultdict(list)
    for group in groups:
        batches[group.policy].append(group)
    return batches


def update_metrics(updates: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the learners' metrics: means over policies weighted by groups, and each policy's own."""
    total = sum(update["groups"] for update in updates.values())
    names = sorted({name for update in updates.values() for name in update} - {"groups"})
    metrics = {
        name: sum(update.get(name, 0.0) * update["groups"] for update in updates.values()) / max(total, 1.0)
        for name in names
    }
    if len(updates) > 1:
        metrics |= {
            f"{policy}/{name}": value for policy, update in updates.items() for name, value in update.items()
        }
    return metrics


def estimate_metrics(estimate: Estimate) -> dict[str, float]:
    """Return how many groups there were and how many were trained on."""
    return {
        "groups": float(estimate.total),
        "trained_groups": float(len(estimate.groups)),
        "zero_variance_groups": float(estimate.zero_variance),
        "faulty_groups": float(estimate.faulty),
    }


def refuse_total_failure(episodes: Sequence[Episode], iteration: int) -> None:
    """Stop a run in which nothing works any more.

    Raises:
        EnvironmentFault: A fault ended every episode of the iteration.
    """
    if all(episode.fault is not None for episode in episodes):
        raise EnvironmentFault(
            f"every episode of iteration {iteration + 1} failed, the first with {first_fault(episodes)!r}; see episodes/"
        )
