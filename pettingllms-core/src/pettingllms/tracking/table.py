"""The closing table of held-out success."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def table(
    rows: Mapping[str, Mapping[str, Any]], split: str, spread: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Return the lines of a table of evaluations.

    Args:
        rows: Row name to `Evaluation.to_plain`.
        split: The split that was played.
        spread: Label to least, median and largest value over the tasks, printed below.
    """
    tasks = next(iter(rows.values()))["tasks"]
    width = max(len(name) for name in rows)
    lines = [
        "",
        f"success on {tasks} tasks of the train split"
        if split == "train"
        else f"held-out success, {tasks} tasks of the {split} split that training never saw",
        f"{'':{width}}  success  95% interval    turns  faults",
    ]
    for name, row in rows.items():
        low, high = row["interval_95"]
        lines.append(
            f"{name:{width}}  {row['success_rate']:7.3f}  [{low:.3f}, {high:.3f}]  "
            f"{row['episode_length']:5.2f}  {row['faults']:6d}"
        )
    for label, values in spread.items():
        lines.append(
            f"{label} of these tasks: {values['min']:g} to {values['max']:g}, median {values['median']:g}"
        )
    for name, row in rows.items():
        if row["first_fault"]:
            lines.append(f"{name}: first fault: {row['first_fault']}")
    return lines
