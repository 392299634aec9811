"""Sudoku as exact cover.

A *candidate* is a digit in a cell. Every candidate meets four constraints (its cell is filled; its row, its
column and its box hold its digit), and a solution is a set of candidates that meets each constraint once.
The search is Knuth's Algorithm X (arXiv cs/0011047): branch on the constraint with the fewest candidates
left. Sets are Python integers used as bit sets, so going back needs no undoing, unlike with linked lists.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator

import attrs

from pettingllms.api import ConfigError
from pettingllms_envs_games.sudoku.grid import Grid, to_text, units

MAX_COMPLETIONS = 512
"""A puzzle with more completions than this is refused; an empty 4x4 board has 288."""


@attrs.frozen
class _Cover:
    """The constraint matrix of a size. Bit ``cell * size + digit - 1`` of a set stands for a candidate."""

    constraints: tuple[int, ...]
    """Per constraint, the set of candidates that meet it."""
    clashes: tuple[int, ...]
    """Per candidate, the set of candidates that share a constraint with it, itself among them."""


@functools.cache
def _cover(size: int) -> _Cover:
    cells = size * size
    constraints = [((1 << size) - 1) << (cell * size) for cell in range(cells)]
    for unit in units(size):
        constraints += [sum(1 << (cell * size + d) for cell in unit) for d in range(size)]
    clashes = [0] * (cells * size)
    for members in constraints:
        for candidate in range(cells * size):
            if members >> candidate & 1:
                clashes[candidate] |= members
    return _Cover(tuple(constraints), tuple(clashes))


def _given(grid: Grid, size: int) -> tuple[int, int] | None:
    """Return (candidates left, candidates taken) for the digits of `grid`; None when two of them clash."""
    clashes = _cover(size).clashes
    alive = (1 << (size**3)) - 1
    taken = 0
    for cell, digit in enumerate(grid):
        if digit:
            candidate = cell * size + digit - 1
            if not alive >> candidate & 1:
                return None
            alive &= ~clashes[candidate]
            taken |= 1 << candidate
    return alive, taken


def _search(alive: int, taken: int, size: int, rng: random.Random | None = None) -> Iterator[int]:
    """Yield the candidate set of every exact cover that extends `taken` by candidates of `alive`.

    With `rng` the candidates of a constraint are tried in random order, else in the order of digits and
    cells.
    """
    cover = _cover(size)
    clashes = cover.clashes
    stack = [(alive, taken, [c for c in cover.constraints if not c & taken])]
    while stack:
        alive, taken, unmet = stack.pop()
        while unmet:
            fewest = size + 1
            best = 0
            for constraint in unmet:
                options = constraint & alive
                count = options.bit_count()
                if count < fewest:
                    fewest, best = count, options
                    if count < 2:
                        break
            if not fewest:
                break
            if fewest == 1:
                bit = best
            else:
                bits = []
                while best:
                    bits.append(best & -best)
                    best &= best - 1
                if rng is not None:
                    rng.shuffle(bits)
                bit = bits[0]
                for other in reversed(bits[1:]):
                    left = alive & ~clashes[other.bit_length() - 1]
                    stack.append((left, taken | other, [c for c in unmet if not c & other]))
            alive &= ~clashes[bit.bit_length() - 1]
            taken |= bit
            unmet = [c for c in unmet if not c & bit]
        else:
            yield taken


def _grid(taken: int, size: int) -> Grid:
    row = (1 << size) - 1
    return tuple((taken >> (cell * size) & row).bit_length() for cell in range(size * size))


def solutions(grid: Grid, size: int) -> Iterator[Grid]:
    """Yield every completion of `grid`, none when its digits clash."""
    start = _given(grid, size)
    if start is not None:
        for taken in _search(*start, size):
            yield _grid(taken, size)


def solve(grid: Grid, size: int) -> Grid | None:
    """Return a completion of `grid`, or None when there is none."""
    return next(solutions(grid, size), None)


def count_solutions(grid: Grid, size: int, limit: int = 2) -> int:
    """Return the number of completions of `grid`, counted up to `limit`."""
    return sum(1 for _, _ in zip(range(limit), solutions(grid, size), strict=False))


def forced(grid: Grid, size: int, cell: int, digit: int) -> bool:
    """Return whether no completion of `grid`, where `cell` is empty, has another digit than `digit` there."""
    start = _given(grid, size)
    if start is None:
        return True
    alive, taken = start
    return next(_search(alive & ~(1 << (cell * size + digit - 1)), taken, size), None) is None


def random_solution(size: int, rng: random.Random) -> Grid:
    """Return a full grid drawn by `rng`."""
    return _grid(next(_search((1 << (size**3)) - 1, 0, size, rng)), size)


@functools.lru_cache(maxsize=4096)
def completions(clues: Grid, size: int) -> tuple[Grid, ...]:
    """Return every completion of `clues`, at most `MAX_COMPLETIONS`.

    Raises:
        ConfigError: There is none, or there are more.
    """
    found = []
    for solution in solutions(clues, size):
        found.append(solution)
        if len(found) > MAX_COMPLETIONS:
            raise ConfigError(
                f"Sudoku puzzle {to_text(clues)!r} has more than {MAX_COMPLETIONS} completions; "
                "give it more clues"
            )
    if not found:
        raise ConfigError(f"Sudoku puzzle {to_text(clues)!r} has no completion; correct its clues")
    return tuple(found)


def nearest(grid: Grid, clues: Grid, size: int) -> tuple[Grid, int]:
    """Return the completion of `clues` that `grid` agrees with most, and in how many non-clue cells it does.

    The count is the potential behind the ``progress`` reward: a function of the board alone, whole numbers
    from 0 to the number of non-clue cells, and full exactly when the board is solved. With one completion it
    is the number of right entries; with several, every one of them is worked towards on equal terms.
    """
    known = sum(map(bool, clues))
    best = max(completions(clues, size), key=lambda whole: _agreement(grid, whole))
    return best, _agreement(grid, best) - known


def _agreement(grid: Grid, whole: Grid) -> int:
    return sum(a == b for a, b in zip(grid, whole, strict=True))
