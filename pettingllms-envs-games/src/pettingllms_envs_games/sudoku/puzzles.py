"""Reading puzzle files."""

from __future__ import annotations

import json
from pathlib import Path

import attrs

from pettingllms.api import ConfigError
from pettingllms_envs_games.sudoku.grid import Grid, is_solved, open_cells, parse_puzzle


@attrs.frozen
class FilePuzzle:
    """A puzzle of a file and the line (from 1) that it stands on."""

    line: int
    clues: Grid


def read_puzzles(path: str, size: int, band: tuple[int, int]) -> tuple[FilePuzzle, ...]:
    """Return the puzzles of `path` with `band` (fewest, most) empty cells.

    A line holds the cells of a puzzle (0, ``.`` or ``_`` is empty), or a JSON object with a text field
    ``puzzle`` and perhaps ``solution``, which is then checked. Empty lines and lines that start with ``#``
    are passed over.

    Raises:
        ConfigError: The file cannot be read, a line is no puzzle of this size, a given solution is wrong,
            or no puzzle has so many empty cells.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"sudoku puzzles {path!r} cannot be read: {reason}; give a text file") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            try:
                found.append(FilePuzzle(number, _read_line(line.strip(), size)))
            except ConfigError as error:
                raise ConfigError(f"{path}, line {number}: {error}") from error
    if not found:
        raise ConfigError(f"sudoku puzzles {path!r} holds no puzzle; give one a line")
    kept = tuple(puzzle for puzzle in found if band[0] <= len(open_cells(puzzle.clues)) <= band[1])
    if not kept:
        raise ConfigError(
            f"sudoku puzzles {path!r} holds no puzzle with {band[0]} to {band[1]} empty cells; "
            "widen min_empty and max_empty"
        )
    return kept


def _read_line(line: str, size: int) -> Grid:
    if not line.startswith("{"):
        return parse_puzzle(line, size)
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"not JSON ({error}); correct the line") from error
    if not isinstance(record.get("puzzle"), str):
        raise ConfigError("no text field 'puzzle'; add it")
    clues = parse_puzzle(record["puzzle"], size)
    solution = record.get("solution")
    if solution is not None:
        digits = (
            tuple(map(int, solution))
            if isinstance(solution, str) and solution.isascii() and solution.isdigit()
            else ()
        )
        if len(digits) != len(clues) or not is_solved(digits, clues, size):
            raise ConfigError("field 'solution' does not solve the puzzle; correct or remove it")
    return clues
