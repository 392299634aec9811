"""What an episode of Sudoku is at one moment."""

from __future__ import annotations

import attrs

from pettingllms_envs_games.sudoku.grid import Grid


@attrs.frozen
class Entry:
    """A digit for a cell. Row and column count from 1; digit 0 clears the cell."""

    row: int
    column: int
    digit: int


@attrs.frozen
class SudokuState:
    """All of an episode.

    Attributes:
        size: Rows and columns of the board.
        clues: The puzzle; 0 is a cell that the players fill.
        grid: The board now; it always keeps the clues.
        turn: Turns that are over.
        proposal: The planner's legal entries while the executor is to act; None before the planner has acted.
        proposal_parsed: Whether the planner's response could be read.
        last: The entries that the last turn committed.
        last_parsed: Whether the last turn's committing response could be read.
        last_refused: How many entries of the last turn were not committed.
    """

    size: int
    clues: Grid
    grid: Grid
    turn: int = 0
    proposal: tuple[Entry, ...] | None = None
    proposal_parsed: bool = True
    last: tuple[Entry, ...] = ()
    last_parsed: bool = True
    last_refused: int = 0
