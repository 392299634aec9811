"""What the roles see: always drawn from the current state."""

from __future__ import annotations

from pettingllms_envs_games.sudoku.grid import BOXES, Grid, conflicts, is_solved, open_cells, picture
from pettingllms_envs_games.sudoku.moves import write
from pettingllms_envs_games.sudoku.state import Entry, SudokuState


def entry_of(cell: int, digit: int, size: int) -> Entry:
    """Return `digit` for cell number `cell` as an entry."""
    return Entry(cell // size + 1, cell % size + 1, digit)


def open_conflicts(grid: Grid, clues: Grid, size: int) -> tuple[int, ...]:
    """Return the cells in conflict that are no clues, from top left to bottom right."""
    clashing = conflicts(grid, size)
    return tuple(cell for cell in open_cells(clues) if cell in clashing)


def _places(cells: list[int] | tuple[int, ...], size: int) -> str:
    return ", ".join(f"{cell // size + 1} {cell % size + 1}" for cell in cells) or "none"


def describe(state: SudokuState, max_turns: int, entries_per_turn: int) -> str:
    """Return the board, the positions (row then column, from 1) and where the episode stands."""
    size = state.size
    cells = open_cells(state.clues)
    height, width = BOXES[size]
    words = [f"Boxes {height}x{width}. Empty: {_places([c for c in cells if not state.grid[c]], size)}."]
    if entered := [entry_of(cell, state.grid[cell], size) for cell in cells if state.grid[cell]]:
        words.append(f"Entered: {write(entered)}.")
    if clashing := open_conflicts(state.grid, state.clues, size):
        words.append(f"In conflict: {_places(clashing, size)}.")
    words.append(f"Turn {state.turn + 1} of {max_turns}, {entries_per_turn} entries.")
    lines = [picture(state.grid, size), " ".join(words)]
    if state.turn:
        refused = f" Refused: {state.last_refused}." if state.last_refused else ""
        lines.append(f"Last: {write(state.last)}.{refused}" if state.last_parsed else "Last: unreadable.")
    return "\n".join(lines)


def describe_proposal(state: SudokuState, would: Grid) -> str:
    """Return the waiting proposal and the board `would` that it leads to, in words."""
    if state.proposal is None or not state.proposal_parsed:
        return "Proposal: unreadable."
    cells = open_cells(state.clues)
    filled = sum(would[cell] > 0 for cell in cells)
    return (
        f"Proposal: {write(state.proposal)}. Result: filled {filled} of {len(cells)}, "
        f"conflicts {len(open_conflicts(would, state.clues, state.size))}, "
        f"solved {'yes' if is_solved(would, state.clues, state.size) else 'no'}."
    )
