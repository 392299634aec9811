"""Splits of Sokoban tasks."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from pettingllms.api import ConfigError, Fact, Split, Task
from pettingllms_envs_games.sokoban.generate import generate
from pettingllms_envs_games.sokoban.grid import grid_of
from pettingllms_envs_games.sokoban.levels import read_levels
from pettingllms_envs_games.sokoban.options import SokobanOptions
from pettingllms_envs_games.sokoban.rules import Level, canonical, draw
from pettingllms_envs_games.sokoban.solver import TABLE_STATES, remaining

SIZES: dict[Split, int] = {"train": 100_000, "validation": 200, "test": 1000}

# Of 16 classes of rooms two are for validation and three for testing.
_CLASSES = 16
_CLASS_SPLIT: tuple[Split, ...] = ("validation",) * 2 + ("test",) * 3 + ("train",) * 11


def split_of(key: int) -> Split:
    """Return the only split that may hold the room of this `generate.room_key`."""
    return _CLASS_SPLIT[key % _CLASSES]


def band_of(moves: int) -> str:
    """Return the band of difficulty of an optimal solution of `moves` moves."""
    return "easy" if moves <= 5 else "medium" if moves <= 10 else "hard"


class SokobanSuite:
    """Generated rooms, or the levels of a file.

    A generated room (walls and goals, in any rotation or reflection) belongs to one split only, by its
    content, so no held-out room is trained on, not even from another start. The levels of a file are
    split by content as well: about a tenth each for validation and test, at least one.
    """

    def __init__(self, options: SokobanOptions, num_tasks: int | None = None, seed: int = 0) -> None:
        """Make the suite.

        Args:
            options: Which rooms, or which file.
            num_tasks: Bound of the train split.
            seed: Selects the train split.

        Raises:
            ConfigError: The level file is unreadable, odd, or too small to split; `num_tasks` is below 1.
        """
        if num_tasks is not None and num_tasks < 1:
            raise ConfigError(f"num_tasks must be at least 1, not {num_tasks}")
        self.options = options
        self.seed = seed
        self._levels: dict[Split, Sequence[tuple[int, Level]]] | None = None
        if options.levels is None:
            low, high = options.band
            self.version = f"1-{options.size}x{options.size}-{options.boxes}box-{low}to{high}"
            self._sizes = dict(SIZES)
        else:
            numbered = list(enumerate(read_levels(options.levels)))
            self._levels = _split_levels(numbered, options.levels, seed)
            text = "\n\n".join("\n".join(_rows(level)) for _, level in numbered)
            self.version = f"1-file-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
            self._sizes = {split: len(levels) for split, levels in self._levels.items()}
        if num_tasks is not None:
            available = self._sizes["train"] if self._levels else num_tasks
            self._sizes["train"] = min(num_tasks, available)

    def size(self, split: Split) -> int:
        """Return how many tasks `split` holds."""
        return self._sizes[split]

    def task(self, split: Split, index: int) -> Task:
        """Return task `index` of `split`.

        Raises:
            IndexError: `index` is not in ``range(size(split))``.
            ConfigError: Rooms as the options ask for were not found.
        """
        if not 0 <= index < self._sizes[split]:
            raise IndexError(f"{split} has {self._sizes[split]} Sokoban tasks, no index {index}")
        if self._levels is not None:
            number, level = self._levels[split][index]
            return Task(f"{self.version}/{number + 1}", {"rows": list(_rows(level))}, _labels(level))
        origin = f"{split}-{self.seed}" if split == "train" else split
        name = f"{self.version}/{origin}/{index}"
        made = generate(
            f"sokoban/{name}",
            self.options.size,
            self.options.boxes,
            self.options.band,
            lambda key: split_of(key) == split,
        )
        labels: dict[str, Fact] = {
            "source": "generated",
            "boxes": self.options.boxes,
            "solution_moves": made.solution_moves,
            "band": band_of(made.solution_moves),
        }
        return Task(name, {"rows": list(_rows(made.level))}, labels)


def _rows(level: Level) -> tuple[str, ...]:
    return draw(level.rows, level.player, level.boxes)


def _labels(level: Level) -> dict[str, Fact]:
    """Return the labels of a level of a file; only small boards are measured, which is immediate."""
    labels: dict[str, Fact] = {"source": "file", "boxes": len(level.boxes)}
    if grid_of(level.rows).states(len(level.boxes)) <= TABLE_STATES:
        moves = remaining(level.rows, level.player, level.boxes).moves
        if moves is not None:
            labels |= {"solution_moves": moves, "band": band_of(moves)}
    return labels


def _split_levels(
    numbered: list[tuple[int, Level]], path: str, seed: int
) -> dict[Split, Sequence[tuple[int, Level]]]:
    """Give equal levels (also turned or mirrored) to one split, by the hash of their content."""
    classes: dict[tuple[int, str], list[tuple[int, Level]]] = {}
    for number, level in numbered:
        text = canonical(_rows(level))
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        classes.setdefault((digest, text), []).append((number, level))
    if len(classes) < 3:
        raise ConfigError(
            f"{path}: {len(classes)} different level(s) cannot be split into train, validation and test; "
            "give a file of at least 3"
        )
    ordered = [classes[key] for key in sorted(classes)]
    share = max(1, len(ordered) // 10)
    parts: dict[Split, list[list[tuple[int, Level]]]] = {
        "validation": ordered[:share],
        "test": ordered[share : 2 * share],
        "train": ordered[2 * share :],
    }
    levels = {split: [item for group in groups for item in group] for split, groups in parts.items()}
    rng = random.Random(f"sokoban/levels/{seed}")
    levels["train"].sort(key=lambda item: item[0])
    order = sorted((rng.random(), position) for position in range(len(levels["train"])))
    levels["train"] = [levels["train"][position] for _, position in order]
    return dict(levels)
