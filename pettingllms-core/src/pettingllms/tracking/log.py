"""What a run says while it works: lines for the log files, and a display for a person."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

ROOT = "pettingllms"


def open_log(path: Path) -> logging.Handler:
    """Send all of the project's log records to `path` (``train.log``)."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger(ROOT)
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    return handler


def iteration_line(iteration: int, metrics: Mapping[str, float]) -> str:
    """Return one iteration in the words of a person who watches."""
    parts = [
        f"iteration {iteration:4d}",
        f"reward {metrics['reward']:+.3f}",
        f"success {metrics['success_rate']:.2f}",
        f"length {metrics['episode_length']:.2f}",
        *_learned(metrics),
        f"zero-variance {metrics['zero_variance']:.2f}",
        f"{metrics['time/tokens_per_second']:.0f} tokens/s",
    ]
    if "validation/success_rate" in metrics:
        parts.append(f"validation {metrics['validation/success_rate']:.3f}")
    return "  ".join(parts)


def _learned(metrics: Mapping[str, float]) -> list[str]:
    if "policy_loss" not in metrics:
        return ["no step taken"]
    return [f"loss {metrics['policy_loss']:+.4f}", f"entropy {metrics['entropy']:.3f}"]


class Display:
    """Console and ``summary.log``: every line goes to both, the progress bar to a terminal only."""

    def __init__(self, summary: Path | None, total: int, done: int = 0) -> None:
        self._file = None if summary is None else summary.open("a", encoding="utf-8", buffering=1)
        self.console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("iteration"),
            MofNCompleteColumn(),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.description}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task("", total=total, completed=done)

    def start(self) -> None:
        """Show the progress bar."""
        self._progress.start()

    def say(self, text: str) -> None:
        """Print a line above the progress bar, and keep it in the summary."""
        self.console.print(text, markup=False, emoji=False)
        if self._file is not None:
            self._file.write(text + "\n")
        logging.getLogger(ROOT).info(text)

    def iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """Show a finished iteration."""
        self.say(iteration_line(iteration, metrics))
        self._progress.update(
            self._task,
            completed=iteration,
            description=f"reward {metrics['reward']:+.3f}  success {metrics['success_rate']:.2f}",
        )

    def close(self) -> None:
        """Take the progress bar away and close the summary."""
        self._progress.stop()
        if self._file is not None:
            self._file.close()
            self._file = None
