"""Checkpoints at iteration boundaries: everything that the next iteration depends on.

Random numbers are derived from (seed, iteration, ...) and the task order from (seed, epoch), so that the
number of the iteration stands for both.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import attrs

from pettingllms.engine.base import Engine
from pettingllms.errors import CheckpointError

STATE = "state.json"
BEST = "best.json"


@attrs.frozen
class Progress:
    """How far a run has come.

    Attributes:
        iteration: Iterations done, the number of the next one.
        sampled_tokens: Tokens sampled so far.
        best_success: Best validation success so far, None before the first.
        baseline: Final-split results measured before training, by row of the table.
        unreported: Metrics of the last iteration when the run was stopped before its validation, which
            is played when the run goes on.
    """

    iteration: int = 0
    sampled_tokens: int = 0
    best_success: float | None = None
    baseline: dict[str, Any] = attrs.field(factory=dict)
    unreported: dict[str, float] | None = None


def checkpoint_name(iteration: int) -> str:
    """Return the name of the folder of the checkpoint after `iteration` iterations."""
    return f"iteration_{iteration:06d}"


def save_checkpoint(folder: Path, engine: Engine, progress: Progress) -> Path:
    """Write a checkpoint below `folder`; it appears whole or not at all.

    Raises:
        CheckpointError: The disk is full or the folder cannot be written.
    """
    final = folder / checkpoint_name(progress.iteration)
    temporary = folder / f".{final.name}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        engine.save(temporary)
        (temporary / STATE).write_text(json.dumps(attrs.asdict(progress), indent=2), encoding="utf-8")
        _sync(temporary)
        remove_checkpoint(final)
        os.replace(temporary, final)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise CheckpointError(f"checkpoint {str(final)!r} cannot be written: {error}") from error
    return final


def remove_checkpoint(path: Path) -> None:
    """Delete a checkpoint, if it is there; one that is half deleted is never taken for whole."""
    doomed = path.with_name(f".{path.name}.old")
    shutil.rmtree(doomed, ignore_errors=True)
    if path.exists():
        os.replace(path, doomed)
        shutil.rmtree(doomed)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def mark_best(folder: Path, checkpoint: Path, success: float) -> None:
    """Remember which checkpoint is the best."""
    text = json.dumps({"checkpoint": checkpoint.name, "success_rate": success})
    temporary = folder / f".{BEST}.tmp"
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, folder / BEST)


def mend_best(folder: Path, checkpoint: Path, progress: Progress) -> None:
    """Mark `checkpoint` as the best if the process was killed after saving it and before `mark_best`."""
    path = folder / BEST
    marked = json.loads(path.read_text(encoding="utf-8"))["success_rate"] if path.is_file() else -1.0
    if progress.best_success is not None and progress.best_success > marked:
        mark_best(folder, checkpoint, progress.best_success)


def best_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint that `mark_best` named, if there is one."""
    path = folder / BEST
    if not path.is_file():
        return None
    found = folder / json.loads(path.read_text(encoding="utf-8"))["checkpoint"]
    return found if (found / STATE).is_file() else None


def checkpoints(folder: Path) -> list[Path]:
    """Return the finished checkpoints below `folder`, oldest first."""
    return sorted(path for path in folder.glob("iteration_*") if (path / STATE).is_file())


def prune(folder: Path, keep_last_n: int) -> None:
    """Delete all but the last `keep_last_n` checkpoints and the best one."""
    best = best_checkpoint(folder)
    for path in checkpoints(folder)[:-keep_last_n]:
        if path != best:
            remove_checkpoint(path)


def forget_after(folder: Path, iteration: int) -> list[Path]:
    """Delete the checkpoints of later iterations, which will be done again; return them."""
    later = [path for path in checkpoints(folder) if path.name > checkpoint_name(iteration)]
    for path in later:
        remove_checkpoint(path)
    return later


def find_checkpoint(where: Path) -> tuple[Path, Path]:
    """Return (run folder, checkpoint) for a run's folder (its latest checkpoint) or a checkpoint.

    Raises:
        CheckpointError: There is no finished checkpoint.
    """
    if (where / STATE).is_file():
        return Path(os.path.abspath(where)).parent.parent, where
    if not where.is_dir():
        raise CheckpointError(f"{str(where)!r} is no folder; give a run's folder or one of its checkpoints")
    found = checkpoints(where / "checkpoints")
    if not found:
        raise CheckpointError(
            f"{str(where)!r} holds no finished checkpoint (checkpoints/iteration_*/{STATE})"
        )
    return where, found[-1]


def policy_folders(checkpoint: Path, policies: Collection[str]) -> dict[str, Path]:
    """Return where `checkpoint` keeps the weights of each policy.

    Raises:
        CheckpointError: It lacks one.
    """
    for policy in policies:
        if not (checkpoint / policy / "config.json").is_file():
            raise CheckpointError(f"the checkpoint {str(checkpoint)!r} holds no policy {policy!r}")
    return {policy: checkpoint / policy for policy in policies}


def load_progress(checkpoint: Path) -> Progress:
    """Read how far the run of `checkpoint` had come.

    Raises:
        CheckpointError: The file is damaged.
    """
    try:
        return Progress(**json.loads((checkpoint / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{str(checkpoint / STATE)!r} cannot be read: {error}") from error
