"""From a config to a finished run: build, train, measure, report."""

from __future__ import annotations

import contextlib
import json
import logging
import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from pettingllms.config.hardware import TINY
from pettingllms.config.schema import Config
from pettingllms.config.structure import to_plain
from pettingllms.config.unused import unused_settings
from pettingllms.engine.local import LocalEngine
from pettingllms.errors import PettingLLMsError
from pettingllms.plugins.events import RunInfo
from pettingllms.plugins.observers import Observers
from pettingllms.plugins.registry import Registry
from pettingllms.policy.loading import pick_device
from pettingllms.rollout.types import derive_seed
from pettingllms.tracking.log import Display, open_log
from pettingllms.tracking.table import table
from pettingllms.training.checkpoint import (
    Progress,
    find_checkpoint,
    forget_after,
    load_progress,
    mend_best,
    policy_folders,
)
from pettingllms.training.evaluation import (
    Evaluation,
    held_out,
    label_spread,
    play_held_out,
    play_scripted,
    scripted_players,
    summarise,
)
from pettingllms.training.loop import train
from pettingllms.training.measure import config_of_run
from pettingllms.training.run import Run
from pettingllms.training.run_dir import RunDir, replace_text, versions
from pettingllms.training.signals import StopRequest
from pettingllms.training.source import starting_weights
from pettingllms.training.team import Problem, Team, build_problem, build_team, rollouts_of

logger = logging.getLogger(__name__)


@attrs.frozen
class Finished:
    """How a run ended.

    Attributes:
        folder: Its folder.
        progress: How far it came.
        stopped_by: The signal that ended it early, or an empty string.
        rows: The closing table: row name to evaluation on the final split.
    """

    folder: Path
    progress: Progress
    stopped_by: str
    rows: dict[str, dict[str, Any]]


def start_run(config: Config, registry: Registry, *, notes: tuple[str, ...] = ()) -> Finished:
    """Start a new run and train it to its end.

    Args:
        config: Resolved settings.
        registry: Installed plugins.
        notes: Lines for the user to see first.

    Raises:
        PettingLLMsError: The settings cannot be carried out; nothing was trained.
    """
    problem = build_problem(config, registry)  # before anything is loaded or written: typos end here
    team = build_team(config, registry, problem)
    pick_device(config.engine.device)
    observers = Observers(registry)
    observers.configure(to_plain(config))
    folder = RunDir.create(config, datetime.now())
    folder.write_config(config)
    return _execute(config, registry, problem, team, observers, folder, None, notes)


def resume_run(where: Path, registry: Registry) -> Finished:
    """Go on with a run from its folder (the latest checkpoint) or from one of its checkpoints.

    Raises:
        CheckpointError: There is no checkpoint to go on from.
    """
    config, checkpoint = config_of_run(where)
    folder = RunDir(find_checkpoint(where)[0])
    problem = build_problem(config, registry)
    team = build_team(config, registry, problem)
    observers = Observers(registry)
    observers.configure(to_plain(config))
    return _execute(config, registry, problem, team, observers, folder, checkpoint, ())


def _go_back(folder: RunDir, config: Config, checkpoint: Path, progress: Progress, display: Display) -> None:
    """Drop what belongs to iterations that will be done again."""
    for path in forget_after(folder.checkpoints, progress.iteration):
        display.say(f"{path.name} is deleted: its iteration is done again")
    if config.checkpoint.save_best:
        mend_best(folder.checkpoints, checkpoint, progress)
    if not folder.metrics.is_file():
        return
    reported = progress.iteration if progress.unreported is None else progress.iteration - 1
    lines = folder.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["iteration"] <= reported]
    replace_text(folder.metrics, "".join(kept))


def _execute(
    config: Config,
    registry: Registry,
    problem: Problem,
    team: Team,
    observers: Observers,
    folder: RunDir,
    checkpoint: Path | None,
    notes: tuple[str, ...],
) -> Finished:
    handler = open_log(folder.root / "train.log")
    progress = Progress() if checkpoint is None else load_progress(checkpoint)
    display = Display(folder.root / "summary.log", config.training.num_iterations, progress.iteration)
    info = RunInfo(
        run_dir=folder.root.absolute(),
        config=to_plain(config),
        environment=problem.spec.name,
        policies=team.policies,
        plugin_versions=registry.versions,
    )
    error: BaseException | None = None
    started = False
    stop = StopRequest()
    try:
        with stop, contextlib.ExitStack() as held:
            for line in (*notes, *_opening(config, problem, team, folder, checkpoint)):
                display.say(line)
            for failure in registry.failures:
                display.say(f"plugin {failure.name!r} was left out: {failure.reason}")
            sources = _sources(config, problem, team, checkpoint, display)
            engine = LocalEngine(config, sources, train=True)
            held.callback(engine.close)
            if checkpoint is None:
                _write_manifest(folder, config, registry, problem, team, sources)
            else:
                engine.load(checkpoint)
                _go_back(folder, config, checkpoint, progress, display)
            started = True
            observers.run_started(info)
            stop.on_request = engine.generator.stop
            run = Run(
                config=config,
                folder=folder,
                problem=problem,
                engine=engine,
                training=rollouts_of(config, problem, team, engine, team.train),
                validation=rollouts_of(config, problem, team, engine, team.evaluate),
                observers=observers,
                display=display,
                stop=stop,
                progress=progress,
            )
            finished = _train_and_measure(run, started=checkpoint is None)
            if finished.stopped_by:
                error = KeyboardInterrupt(finished.stopped_by)  # for the observers
            return finished
    except BaseException as caught:
        error = caught
        logger.error("the run ended with %s: %s", type(caught).__name__, caught)
        if isinstance(caught, KeyboardInterrupt) and stop.on_request is None:  # asked while it was set up
            _say_goodbye(display, folder, stop.signal_name, progress)
            return Finished(folder.root, progress, stop.signal_name, {})
        raise
    finally:
        if started:
            observers.run_finished(info, error)
        for plugin, count in observers.errors.items():
            display.say(
                f"plugin {plugin!r} failed {count} times while it watched; see {folder.root / 'train.log'}"
            )
        display.close()
        logging.getLogger("pettingllms").removeHandler(handler)
        handler.close()
        if isinstance(error, PettingLLMsError) and not started and checkpoint is None:
            folder.discard()


def _sources(
    config: Config, problem: Problem, team: Team, checkpoint: Path | None, display: Display
) -> dict[str, str | Path]:
    """Return where each policy's model is loaded from; only a KL needs the start of the run once more."""
    if checkpoint is not None and config.training.kl_coefficient == 0.0:
        return dict(policy_folders(checkpoint, team.policy_names))
    return dict.fromkeys(team.policy_names, starting_weights(config, problem, team, display.say))


def _opening(
    config: Config, problem: Problem, team: Team, folder: RunDir, checkpoint: Path | None
) -> list[str]:
    s = config.training
    seats = ", ".join(f"{role} ({policy})" for role, policy in team.policies.items())
    lines = [
        f"run: {folder.root}",
        f"environment: {problem.spec.name}, at most {problem.environment.max_turns} turns; "
        f"reward {problem.reward_name}; roles (policies): {seats}",
        f"model: {config.model.name}"
        + (
            " (made on the spot, nothing is downloaded; --model takes a Hugging Face name or a folder)"
            if config.model.name == TINY
            else ""
        ),
        f"{s.algorithm}: {s.num_iterations} iterations of {s.batch_size} tasks with {s.num_branches} "
        f"branches, seed {config.env.seed}",
        *unused_settings(config),
    ]
    if checkpoint is not None:
        lines.append(f"resumed from {checkpoint}")
    return lines


def _write_manifest(
    folder: RunDir,
    config: Config,
    registry: Registry,
    problem: Problem,
    team: Team,
    sources: Mapping[str, str | Path],
) -> None:
    folder.write_json(
        "manifest.json",
        {
            "environment": problem.spec.name,
            "suite_version": problem.suite.version,
            "policies": dict(team.policies),
            "system_prompts": team.system_prompts,
            "sources": {policy: str(source) for policy, source in sources.items()},
            "seed": config.env.seed,
            "versions": versions(),
            "plugins": dict(registry.versions),
        },
    )


def _train_and_measure(run: Run, *, started: bool) -> Finished:
    display, count = run.display, run.config.evaluation.final_num_tasks
    rows: dict[str, dict[str, Any]] = dict(run.progress.baseline)
    if started and count:
        name = "warm start" if run.config.warm_start.steps else "before training"
        before = _final_evaluation(run)
        if run.stop.requested:
            return _stopped(run, run.progress, {})
        rows = {name: before.to_plain()}
        run.progress = attrs.evolve(run.progress, baseline=rows)
        faults = f", {before.faults} faults, the first: {before.first_fault}" if before.faults else ""
        display.say(f"{name}: success {before.success_rate:.3f} on {before.tasks} held-out tasks{faults}")
    display.start()
    progress = train(run)
    if run.stop.requested:
        return _stopped(run, progress, rows)
    if count:
        final = _final_rows(run, rows, f"after {run.config.training.algorithm}")
        if run.stop.requested:
            return _stopped(run, progress, rows)
        rows = final
        run.folder.write_json("results.json", rows)
        tasks = held_out(run.problem.suite, run.config.evaluation.final_split, count)
        for line in table(rows, run.config.evaluation.final_split, label_spread(tasks)):
            display.say(line)
    display.say(f"run: {run.folder.root}")
    return Finished(run.folder.root, progress, "", rows)


def _final_evaluation(run: Run) -> Evaluation:
    settings = run.config.evaluation
    tasks = held_out(run.problem.suite, settings.final_split, settings.final_num_tasks)
    return summarise(play_held_out(run.validation, tasks, derive_seed(run.config.env.seed, "final")))


def _final_rows(run: Run, before: Mapping[str, dict[str, Any]], after: str) -> dict[str, dict[str, Any]]:
    """Return the closing table: random, before, after, expert, as far as the environment has them."""
    settings, environment = run.config.evaluation, run.problem.environment
    tasks = held_out(run.problem.suite, settings.final_split, settings.final_num_tasks)
    scripted = {
        name: summarise(play_scripted(environment, tasks, player, run.config.env.seed)).to_plain()
        for name, player in scripted_players(environment).items()
    }
    rows = {"random": scripted["random"]} if "random" in scripted else {}
    rows |= dict(before) | {after: _final_evaluation(run).to_plain()}
    return rows | ({"expert": scripted["expert"]} if "expert" in scripted else {})


def _stopped(run: Run, progress: Progress, rows: dict[str, dict[str, Any]]) -> Finished:
    _say_goodbye(run.display, run.folder, run.stop.signal_name, progress)
    return Finished(run.folder.root, progress, run.stop.signal_name, rows)


def _say_goodbye(display: Display, folder: RunDir, signal_name: str, progress: Progress) -> None:
    display.say(f"stopped by {signal_name} after iteration {progress.iteration}")
    if progress.iteration:
        display.say(f"go on with: pettingllms train --resume {shlex.quote(str(folder.root))}")
    else:
        display.say("no iteration was finished, so there is no checkpoint")
