"""AT-GRPO on one page: sample trees, compare branches, update every policy, repeat.

Stronger-MAS, arXiv 2510.11062. The steps are `rollout.samplers` (trees and commits), `algorithm.estimators`
(advantages within a group), `algorithm.loss` (clipped surrogate), `policy.learner` (optimiser).
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

import attrs

from pettingllms.algorithm.estimators import Estimate, PromptGroup, at_grpo, grpo
from pettingllms.env.types import Task
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
    if progress.unreported is not None:
        metrics = progress.unreported
        progress = attrs.evolve(progress, unreported=None)
        progress = run.iteration_finished(progress, metrics, last=finished(run, progress))
    while not run.stop.requested and not finished(run, progress):
        iteration = progress.iteration
        began = time.perf_counter()

        tasks = run.tasks(iteration)
        episodes, estimate = collect(run, tasks, derive_seed(seed, "rollout", iteration))
        if run.stop.requested:
            break  # a rollout that was cut short is thrown away: the iteration has not begun
        metrics = rollout_metrics(episodes, run.problem.environment.roles) | estimate_metrics(estimate)
        if settings.algorithm == "grpo":
            metrics = of_rollouts(metrics, episodes, settings.num_branches)
        run.rollouts_finished(iteration, metrics, episodes)
        refuse_total_failure(run, progress, episodes)
        sampled = time.perf_counter()

        updates = run.engine.update(
            by_policy(estimate.groups), iteration, derive_seed(seed, "update", iteration)
        )
        run.engine.sync()
        metrics |= update_metrics(updates)
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


def collect(run: Run, tasks: Sequence[Task], seed: int) -> tuple[list[Episode], Estimate]:
    """Sample an iteration's episodes and give every response its advantage."""
    s = run.config.training
    if s.algorithm == "at_grpo":
        commit = commit_rule(s.commit, s.greedy_share)
        episodes = asyncio.run(
            sample_trees(run.training, tasks, seed, branches=s.num_branches, commit=commit)
        )
        return episodes, at_grpo(episodes, s.norm, drop_zero_variance=s.drop_zero_variance)
    rollouts = asyncio.run(sample_independent(run.training, tasks, seed, rollouts_per_task=s.num_branches))
    estimate = grpo(rollouts, s.norm, drop_zero_variance=s.drop_zero_variance)
    return [episode for group in rollouts for episode in group], estimate


def by_policy(groups: Sequence[PromptGroup]) -> dict[str, list[PromptGroup]]:
    """Send every group to the policy that played it."""
    batches: dict[str, list[PromptGroup]] = defaultdict(list)
    for group in groups:
        batches[group.policy].append(group)
    return batches


def update_metrics(updates: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the learners' metrics: means over policies weighted by groups, and each policy's own.

    An iteration without a group to learn from has no loss, so no number is made up for it.
    """
    idle = not any(update["groups"] for update in updates.values())
    weights = {policy: 1.0 if idle else update["groups"] for policy, update in updates.items()}
    total = sum(weights.values())
    names = sorted({name for update in updates.values() for name in update} - {"groups"})
    metrics = {
        name: sum(update.get(name, 0.0) * weights[policy] for policy, update in updates.items()) / total
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
        "zero_variance": estimate.zero_variance / max(1, estimate.total - estimate.faulty),
    }


def of_rollouts(metrics: dict[str, float], episodes: Sequence[Episode], size: int) -> dict[str, float]:
    """Return `metrics` with the diversity of whole rollouts: a prompt has only one response here."""
    kept = {
        name: value for name, value in metrics.items() if not name.endswith(("/zero_variance", "diversity"))
    }
    played = [tuple(group.branches[0].response for group in episode.groups) for episode in episodes]
    groups = [played[i : i + size] for i in range(0, len(played), size)]
    return kept | {"diversity": fmean(len(set(group)) / len(group) for group in groups)}


def refuse_total_failure(run: Run, progress: Progress, episodes: Sequence[Episode]) -> None:
    """Stop a run in which nothing works any more, with a checkpoint to go on from.

    Raises:
        EnvironmentFault: A fault ended every episode of the iteration.
    """
    if any(episode.fault is None for episode in episodes):
        return
    if progress.iteration:
        run.save(progress)
    raise EnvironmentFault(
        f"every episode of iteration {progress.iteration + 1} failed, the first with "
        f"{first_fault(episodes)!r}; see {run.folder.episodes}"
    )
