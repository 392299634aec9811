"""Splits of Sudoku tasks."""

from __future__ import annotations

import functools
import hashlib

from pettingllms.api import ConfigError, Fact, Split, Task
from pettingllms_envs_games.sudoku.generate import generate, generator_of
from pettingllms_envs_games.sudoku.grid import Grid, open_cells, to_text
from pettingllms_envs_games.sudoku.options import SudokuOptions
from pettingllms_envs_games.sudoku.puzzles import FilePuzzle, read_puzzles
from pettingllms_envs_games.sudoku.solver import completions
from pettingllms_envs_games.sudoku.symmetry import fingerprint, split_of

SIZES: dict[Split, int] = {"train": 100_000, "validation": 200, "test": 1000}
"""Tasks of the splits of generated puzzles."""


@functools.lru_cache(maxsize=4096)
def _generated(name: str, size: int, band: tuple[int, int], split: Split) -> Grid:
    return generate(
        size, band, generator_of("sudoku", name), lambda clues: split_of(fingerprint(clues, size)) == split
    )


def band_of(empty: int, size: int) -> str:
    """Return the band of difficulty by the share of open cells: to 40% easy, to 55% medium, else hard."""
    share = empty / (size * size)
    return "easy" if share <= 0.4 else "medium" if share <= 0.55 else "hard"


class SudokuSuite:
    """Generated puzzles with one completion, or the puzzles of a file.

    The content of a puzzle decides its split, and all its symmetric copies (digits renamed, rows, columns
    or boxes exchanged, transposed) share it: no held-out puzzle is trained on in another coat. The rule is
    the same for generated puzzles and files, so the test split of one is disjoint from the train split of
    the other.
    """

    def __init__(self, options: SudokuOptions, num_tasks: int | None = None, seed: int = 0) -> None:
        """Make the suite.

        Args:
            options: Which puzzles, or which file.
            num_tasks: Bound of the train split.
            seed: Selects the train split; of a file it orders it.

        Raises:
            ConfigError: The puzzle file cannot be used, or `num_tasks` is below 1.
        """
        if num_tasks is not None and num_tasks < 1:
            raise ConfigError(f"num_tasks must be at least 1, not {num_tasks}; raise it or leave it out")
        self.options = options
        self.seed = seed
        self._sizes: dict[Split, int] = dict(SIZES)
        self._puzzles: dict[Split, list[FilePuzzle]] | None = None
        low, high = options.band
        if options.puzzles is None:
            self.version = f"1-{options.size}x{options.size}-{low}to{high}"
            if num_tasks is not None:
                self._sizes["train"] = num_tasks
        else:
            puzzles = read_puzzles(options.puzzles, options.size, options.band)
            self._fit(puzzles)
            text = "\n".join(to_text(puzzle.clues) for puzzle in puzzles)
            self.version = f"1-file-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
            self._puzzles = {"train": [], "validation": [], "test": []}
            for puzzle in puzzles:
                self._puzzles[split_of(fingerprint(puzzle.clues, options.size))].append(puzzle)
            generator_of("sudoku", self.version, seed).shuffle(self._puzzles["train"])
            self._puzzles["train"] = self._puzzles["train"][:num_tasks]
            self._sizes = {split: len(found) for split, found in self._puzzles.items()}

    def _fit(self, puzzles: tuple[FilePuzzle, ...]) -> None:
        worst = max(puzzles, key=lambda puzzle: len(open_cells(puzzle.clues)))
        if (empty := len(open_cells(worst.clues))) > self.options.budget:
            raise ConfigError(
                f"{self.options.puzzles}, line {worst.line}: {empty} empty cells, but max_turns * "
                f"cells_per_turn = {self.options.budget} entries; "
                "raise max_turns or cells_per_turn, or set max_empty"
            )

    def size(self, split: Split) -> int:
        """Return how many tasks `split` holds.

        Raises:
            ConfigError: None of the file's puzzles belongs to `split`.
        """
        if not self._sizes[split]:
            raise ConfigError(
                f"{self.options.puzzles}: none of its puzzles belongs to the {split} split; "
                "give a file of more puzzles"
            )
        return self._sizes[split]

    def task(self, split: Split, index: int) -> Task:
        """Return task `index` of `split`.

        Raises:
            IndexError: `index` is not in ``range(size(split))``.
            ConfigError: A puzzle as the options ask for was not found, or the file's has no completion.
        """
        if not 0 <= index < self.size(split):
            raise IndexError(f"{split} has {self.size(split)} Sudoku tasks, no index {index}")
        size = self.options.size
        if self._puzzles is not None:
            puzzle = self._puzzles[split][index]
            completions(puzzle.clues, size)
            return _task(f"{self.version}/{puzzle.line}", puzzle.clues, size, "file")
        origin = f"{split}-{self.seed}" if split == "train" else split
        name = f"{self.version}/{origin}/{index}"
        return _task(name, _generated(name, size, self.options.band, split), size, "generated")


def _task(name: str, clues: Grid, size: int, source: str) -> Task:
    empty = len(open_cells(clues))
    labels: dict[str, Fact] = {"source": source, "size": size, "empty": empty, "band": band_of(empty, size)}
    return Task(name, {"size": size, "puzzle": to_text(clues)}, labels)
