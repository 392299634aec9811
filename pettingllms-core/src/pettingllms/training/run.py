"""A run: everything the loop needs, and everything that happens around an iteration."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import attrs

from pettingllms.config.schema import Config
from pettingllms.engine.base import Engine
from pettingllms.env.types import Task
from pettingllms.errors import ConfigError
from pettingllms.plugins.events import IterationReport, RolloutSummary
from pettingllms.plugins.observers import Observers
from pettingllms.rollout.collect import Rollouts
from pettingllms.rollout.records import records
from pettingllms.rollout.types import Episode, derive_seed
from pettingllms.tracking.log import Display
from pettingllms.training.checkpoint import Progress, checkpoints, mark_best, prune, save_checkpoint
from pettingllms.training.evaluation import held_out, play_held_out, summarise
from pettingllms.training.run_dir import RunDir
from pettingllms.training.signals import StopRequest
from pettingllms.training.team import Problem


@attrs.define(eq=False)
class Run:
    """One training run.

    Attributes:
        config: Resolved settings.
        folder: Where it writes.
        problem: Environment, tasks, reward.
        engine: Generators and learners.
        training: What training episodes share.
        validation: What evaluation episodes share.
        observers: Plugins that watch.
        display: Console and summary.
        stop: Whether the user asked to stop.
        progress: Where the run starts: zero, or a checkpoint's.
    """

    config: Config
    folder: RunDir
    problem: Problem
    engine: Engine
    training: Rollouts[Any]
    validation: Rollouts[Any]
    observers: Observers
    display: Display
    stop: StopRequest
    progress: Progress
    _epoch: tuple[int, list[int]] | None = None

    def tasks(self, iteration: int) -> list[Task]:
        """Return the tasks of `iteration`: the train split in a seeded order, reshuffled every epoch."""
        size = self.problem.suite.size("train")
        if size == 0:
            raise ConfigError("the train split of this environment holds no tasks")
        first = iteration * self.config.training.batch_size
        return [self._task(first + i, size) for i in range(self.config.training.batch_size)]

    def _task(self, position: int, size: int) -> Task:
        epoch, place = divmod(position, size)
        if self._epoch is None or self._epoch[0] != epoch:
            order = list(range(size))
            random.Random(derive_seed(self.config.env.seed, "order", epoch)).shuffle(order)
            self._epoch = (epoch, order)
        return self.problem.suite.task("train", self._epoch[1][place])

    def rollouts_finished(
        self, iteration: int, metrics: dict[str, float], episodes: Sequence[Episode]
    ) -> None:
        """Record some episodes, tell the observers."""
        name = f"episodes/iteration_{iteration + 1:06d}.jsonl"
        (self.folder.root / name).unlink(missing_ok=True)  # left by a run that was killed in this iteration
        kept = records(episodes, iteration + 1, self.config.tracking.episodes)
        if kept:
            self.folder.append_lines(name, kept)
        self.observers.rollouts_finished(RolloutSummary(iteration=iteration + 1, metrics=metrics))

    def iteration_finished(self, progress: Progress, metrics: dict[str, float], *, last: bool) -> Progress:
        """Validate and save when due, write the metrics, tell everybody.

        When the user asks to stop before the validation is done, all of it is left for when the run goes on.
        """
        number = progress.iteration
        interval = self.config.evaluation.interval
        improved = False
        if interval and (number % interval == 0 or last):
            validated = None if self.stop.requested else self.validate(number)
            if validated is None:
                return attrs.evolve(progress, unreported=metrics)
            metrics = metrics | validated
            success = metrics["validation/success_rate"]
            improved = progress.best_success is None or success > progress.best_success
            if improved:
                progress = attrs.evolve(progress, best_success=success)
        # JSON knows no NaN: a loss or norm that was not finite is written as null.
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        self.folder.append_lines("metrics.jsonl", [{"iteration": number, **finite}])
        self.display.iteration(number, metrics)
        self.observers.iteration_finished(IterationReport(iteration=number, metrics=metrics))
        save_interval = self.config.checkpoint.save_interval
        keep_as_best = improved and self.config.checkpoint.save_best
        if keep_as_best or (save_interval and number % save_interval == 0):
            saved = self.save(progress)
            if keep_as_best:
                mark_best(self.folder.checkpoints, saved, progress.best_success or 0.0)
                prune(self.folder.checkpoints, self.config.checkpoint.keep_last_n)
        return progress

    def save(self, progress: Progress) -> Any:
        """Write a checkpoint unless this iteration's stands already; delete old ones."""
        name = f"iteration_{progress.iteration:06d}"
        standing = [path for path in checkpoints(self.folder.checkpoints) if path.name == name]
        saved = standing[0] if standing else save_checkpoint(self.folder.checkpoints, self.engine, progress)
        prune(self.folder.checkpoints, self.config.checkpoint.keep_last_n)
        return saved

    def validate(self, number: int) -> dict[str, float] | None:
        """Play the validation tasks, write the result, return its metrics; None when it was cut short."""
        settings = self.config.evaluation
        tasks = held_out(self.problem.suite, settings.split, settings.num_tasks)
        result = summarise(
            play_held_out(self.validation, tasks, derive_seed(self.config.env.seed, "validation"))
        )
        if self.stop.requested:
            return None  # the episodes that were refused a response count for nothing
        self.folder.write_json(
            f"validate/iteration_{number:06d}.json",
            {"iteration": number, "split": settings.split, **result.to_plain()},
        )
        low, high = result.interval
        return {
            "validation/success_rate": result.success_rate,
            "validation/interval_low": low,
            "validation/interval_high": high,
            "validation/episode_length": result.episode_length,
            "validation/faults": float(result.faults),
        }
