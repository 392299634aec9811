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


def describe(state: SokobanState, max_turns: int, moves_per_turn: int) -> str:
    """Return the board, the positions (row then column, from 1) and where the episode stands."""
    lines = [
        picture(state.rows, state.player, state.boxes),
        f"{_places('Player', (state.player,))}. {_places('Box', state.boxes)}. "
        f"{_places('Goal', goal_cells(state.rows))}. "
        f"Turn {state.turn + 1} of {max_turns}, {moves_per_turn} moves.",
    ]
    if state.turn:
        lines.append(_last_turn(state))
    return "\n".join(lines)


def _last_turn(state: SokobanState) -> str:
    if not state.last_parsed:
        return "Last: unreadable."
    blocked = f" Illegal {state.last_illegal}." if state.last_illegal else ""
    return f"Last: {spell(state.last_moves)}.{blocked}"


def spell(moves: str) -> str:
    """Return moves as a role would write them."""
    return " ".join(moves) or "none"


def describe_proposal(state: SokobanState) -> str:
    """Return the waiting proposal and what it would do."""
    if state.proposal is None:
        return "Proposal: unreadable."
    effect = play(state.rows, state.player, state.boxes, state.proposal)
    solved = "yes" if effect.solved else "no"
    return (
        f"Proposal: {spell(state.proposal)}. Result: player {_place(effect.player)}, "
        f"{_places('box', effect.boxes)}, solved {solved}, illegal {effect.illegal}."
    )
