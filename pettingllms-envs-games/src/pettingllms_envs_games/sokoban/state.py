"""The state of a Sokoban episode."""

from __future__ import annotations

import attrs

from pettingllms_envs_games.sokoban.rules import Cell, is_solved


@attrs.frozen
class SokobanState:
    """All of an episode.

    Attributes:
        rows: The static board: ``#`` wall, ``.`` goal, space floor.
        player: Where the player stands, counted from 0.
        boxes: Where the boxes stand, sorted.
        scale: Moves that potential and effort are measured by: the budget, or the start's solution if longer.
        turn: Turns that are over.
        pending: Whether a proposal waits for the executor.
        proposal: The letters of the waiting proposal; None when it could not be read.
        last_moves: The letters that the last turn carried out.
        last_illegal: The illegal moves of the last turn.
        last_parsed: Whether the last turn's moves could be read.
        dead: Whether the position is known to be unsolvable.
    """

    rows: tuple[str, ...]
    player: Cell
    boxes: tuple[Cell, ...]
    scale: int
    turn: int = 0
    pending: bool = False
    proposal: str | None = None
    last_moves: str = ""
    last_illegal: int = 0
    last_parsed: bool = True
    dead: bool = False

    @property
    def solved(self) -> bool:
        """Whether all boxes are on goals."""
        return is_solved(self.rows, self.boxes)
