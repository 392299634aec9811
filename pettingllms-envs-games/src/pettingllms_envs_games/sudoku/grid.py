"""The rules of Sudoku on an immutable grid."""

from __future__ import annotations

import functools
from collections import Counter

from pettingllms.api import ConfigError

Grid = tuple[int, ...]
"""``size * size`` digits row by row; 0 is an empty cell."""

BOXES: dict[int, tuple[int, int]] = {4: (2, 2), 6: (2, 3), 9: (3, 3)}
"""Board size -> (rows, columns) of a box."""

_BLANKS = str.maketrans("._", "00")


@functools.cache
def units(size: int) -> tuple[tuple[int, ...], ...]:
    """Return the cells of every row, then of every column, then of every box."""
    height, width = BOXES[size]
    line = range(size)
    rows = [tuple(r * size + c for c in line) for r in line]
    columns = [tuple(r * size + c for r in line) for c in line]
    boxes = [
        tuple((top + r) * size + left + c for r in range(height) for c in range(width))
        for top in range(0, size, height)
        for left in range(0, size, width)
    ]
    return tuple(rows + columns + boxes)


def conflicts(grid: Grid, size: int) -> frozenset[int]:
    """Return the filled cells whose digit stands again in their row, column or box."""
    found: set[int] = set()
    for unit in units(size):
        counts = Counter(grid[cell] for cell in unit)
        if any(n > 1 for digit, n in counts.items() if digit):
            found.update(cell for cell in unit if grid[cell] and counts[grid[cell]] > 1)
    return frozenset(found)


def is_solved(grid: Grid, clues: Grid, size: int) -> bool:
    """Return whether `grid` keeps every clue and holds each digit once in every unit."""
    if any(clue and clue != digit for clue, digit in zip(clues, grid, strict=True)):
        return False
    whole = set(range(1, size + 1))
    return all({grid[cell] for cell in unit} == whole for unit in units(size))


def open_cells(clues: Grid) -> tuple[int, ...]:
    """Return the cells that `clues` leave to the players."""
    return tuple(cell for cell, clue in enumerate(clues) if not clue)


def parse_puzzle(text: str, size: int) -> Grid:
    """Return the clues written in `text`: one character a cell; 0, ``.`` or ``_`` is empty.

    Raises:
        ConfigError: Wrong length, a character that is no digit of this size, a digit twice in a unit,
            or no empty cell.
    """
    plain = text.strip().translate(_BLANKS)
    if len(plain) != size * size:
        fits = next((n for n in BOXES if n * n == len(plain)), None)
        step = f"set size={fits}" if fits else f"a {size}x{size} puzzle has {size * size}"
        raise ConfigError(f"Sudoku puzzle {text.strip()[:90]!r} has {len(plain)} cells; {step}")
    if wrong := sorted(set(plain) - set("0123456789"[: size + 1])):
        raise ConfigError(
            f"Sudoku puzzle {plain!r} has {wrong[0]!r}; a {size}x{size} puzzle holds 0 to {size}"
        )
    grid = tuple(map(int, plain))
    if clash := conflicts(grid, size):
        row, column = divmod(min(clash), size)
        raise ConfigError(
            f"Sudoku puzzle {plain!r} repeats the {grid[min(clash)]} of row {row + 1}, column {column + 1}; "
            "correct its clues"
        )
    if 0 not in grid:
        raise ConfigError(f"Sudoku puzzle {plain!r} has no empty cell; leave it out")
    return grid


def to_text(grid: Grid) -> str:
    """Return `grid` as one line of digits, 0 for an empty cell."""
    return "".join(map(str, grid))


def picture(grid: Grid, size: int, boxed: bool = False) -> str:
    """Return `grid` drawn row by row, ``_`` for an empty cell; `boxed` adds the borders of the boxes."""
    height, width = BOXES[size]
    lines = []
    for r in range(size):
        row = ["_" if not d else str(d) for d in grid[r * size : (r + 1) * size]]
        if boxed:
            parts = [" ".join(row[c : c + width]) for c in range(0, size, width)]
            if r and r % height == 0:
                lines.append("-+-".join("-" * len(part) for part in parts))
            lines.append(" | ".join(parts))
        else:
            lines.append(" ".join(row))
    return "\n".join(lines)
