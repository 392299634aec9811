"""What the roles see: always drawn from the current state."""

from __future__ import annotations

from pettingllms_envs_games.sokoban.rules import Cell, Rows, draw, play
from pettingllms_envs_games.sokoban.state import SokobanState


def picture(rows: Rows, player: Cell, boxes: tuple[Cell, ...]) -> str:
    """Return the board with spaces between the cells and ``_`` for floor."""
    return "\n".join(" ".join(row) for row in draw(rows, player, boxes, floor="_"))


def _place(cell: Cell) -> str:
    return f"{cell[0] + 1} {cell[1] + 1}"


def _places(name: str, cells: tuple[Cell, ...]) -> str:
    return f"{name} {', '.join(_place(cell) for cell in cells)}"


def goal_cells(rows: Rows) -> tuple[Cell, ...]:
    """Return the goal cells from top left to bottom right."""
    return tuple((r, c) for r, row in enumerate(rows) for c, mark in enumerate(row) if mark == ".")


def _offset(start: Cell, end: Cell) -> str:
    """Return how `end` lies from `start`, in the letters of the moves: ``1 U 2 R``."""
    down, right = end[0] - start[0], end[1] - start[1]
    return f"{abs(down)} {'D' if down > 0 else 'U'} {abs(right)} {'R' if right > 0 else 'L'}"


def _nearest(cell: Cell, others: tuple[Cell, ...]) -> Cell:
    return min(others, key=lambda other: abs(other[0] - cell[0]) + abs(other[1] - cell[1]))


def positions(state: SokobanState) -> str:
    """Return where everything is, in rows and columns from 1.

    Boxes are also told as moves from the player, goals as moves from the box nearest to them.
    """
    boxes = ", ".join(f"{_place(box)}: {_offset(state.player, box)} of player" for box in state.boxes)
    goals = ", ".join(
        f"{_place(goal)}: {_offset(_nearest(goal, state.boxes), goal)} of box"
        for goal in goal_cells(state.rows)
    )
    return f"{_places('Player', (state.player,))}. Box {boxes}. Goal {goals}."


def describe(state: SokobanState, max_turns: int, moves_per_turn: int, *, proposal: bool) -> str:
    """Return where the episode stands, the board, and the positions.

    What varies in length (the last turn, the proposal) comes first, so that the board and the positions
    always stand at the same distance from the answer.
    """
    lines = [f"Turn {state.turn + 1} of {max_turns}, up to {moves_per_turn} moves."]
    if state.turn:
        lines.append(_last_turn(state))
    if proposal:
        lines.append(_proposal(state))
    return "\n".join([*lines, picture(state.rows, state.player, state.boxes), positions(state)])


def _last_turn(state: SokobanState) -> str:
    if not state.last_parsed:
        return "Last: unreadable."
    blocked = f" Illegal {state.last_illegal}." if state.last_illegal else ""
    return f"Last: {spell(state.last_moves)}.{blocked}"


def spell(moves: str) -> str:
    """Return moves as a role would write them."""
    return " ".join(moves) or "none"


def _proposal(state: SokobanState) -> str:
    """Return the waiting proposal and what it would do."""
    if state.proposal is None:
        return "Proposal: unreadable."
    effect = play(state.rows, state.player, state.boxes, state.proposal)
    solved = "yes" if effect.solved else "no"
    return (
        f"Proposal: {spell(state.proposal)}. Result: player {_place(effect.player)}, "
        f"{_places('box', effect.boxes)}, solved {solved}, illegal {effect.illegal}."
    )
