"""Puzzles with exactly one completion, drawn from a seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

from pettingllms.api import ConfigError
from pettingllms_envs_games.sudoku.grid import Grid
from pettingllms_envs_games.sudoku.solver import forced, random_solution

_ATTEMPTS = 500


def generator_of(*key: object) -> random.Random:
    """Return a generator that depends on `key` alone: not on the process, the machine or Python's version."""
    digest = hashlib.sha256("|".join(map(str, key)).encode()).digest()
    return random.Random(int.from_bytes(digest[:16], "big"))


def generate(
    size: int, band: tuple[int, int], rng: random.Random, wanted: Callable[[Grid], bool] = lambda clues: True
) -> Grid:
    """Return the clues of a puzzle with one completion that `wanted` accepts.

    A random full grid loses clues in random order, each only when its digit stays forced, until the number of
    empty cells drawn from `band` (fewest, most) is reached. The last clue to go is one whose loss `wanted`
    accepts, so that a picky `wanted` costs a few checks rather than whole puzzles.

    Raises:
        ConfigError: No such puzzle was found.
    """
    low, high = band
    for _ in range(_ATTEMPTS):
        target = rng.randint(low, high)
        solution = random_solution(size, rng)
        cells = list(range(size * size))
        rng.shuffle(cells)
        clues, empty = solution, 0
        for cell in cells:
            trial = (*clues[:cell], 0, *clues[cell + 1 :])
            if not forced(trial, size, cell, solution[cell]):
                continue
            if empty + 1 == target:
                if wanted(trial):
                    return trial
            else:
                clues, empty = trial, empty + 1
    raise ConfigError(
        f"no sudoku puzzle of size {size} with {low} to {high} empty cells was found for a split; "
        "widen min_empty and max_empty"
    )
