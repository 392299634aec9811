"""The rules of Sokoban: the static board, positions and moves.

Cells are ``(row, column)``, counted from 0 at the top left (prompts count from 1). A static board is a
tuple of equally long strings of ``#`` (wall), ``.`` (goal) and a space (floor); player and boxes
are kept apart from it.
"""

from __future__ import annotations

from functools import lru_cache

import attrs

Cell = tuple[int, int]
Rows = tuple[str, ...]

MOVES = "UDLR"
DELTAS: dict[str, Cell] = {"U": (-1, 0), "D": (1, 0), "L": (0, -1), "R": (0, 1)}
WALL, FLOOR, GOAL = "#", " ", "."


@attrs.frozen
class Level:
    """A level before the first move.

    Attributes:
        rows: The static board.
        player: Where the player stands.
        boxes: Where the boxes stand, sorted.
    """

    rows: Rows
    player: Cell
    boxes: tuple[Cell, ...]


@attrs.frozen
class Effect:
    """What a sequence of moves leads to.

    Attributes:
        player: Where the player ends.
        boxes: Where the boxes end, sorted.
        made: The moves that were carried out, as letters.
        illegal: Moves into a wall or a blocked box, which were skipped.
        solved: Whether all boxes are on goals.
    """

    player: Cell
    boxes: tuple[Cell, ...]
    made: str
    illegal: int
    solved: bool


@lru_cache(maxsize=4096)
def goals_of(rows: Rows) -> frozenset[Cell]:
    """Return the goal cells of a static board."""
    return frozenset((r, c) for r, row in enumerate(rows) for c, mark in enumerate(row) if mark == GOAL)


def is_solved(rows: Rows, boxes: tuple[Cell, ...]) -> bool:
    """Tell whether every box is on a goal."""
    return all(rows[r][c] == GOAL for r, c in boxes)


def boxes_on_goals(rows: Rows, boxes: tuple[Cell, ...]) -> int:
    """Return how many boxes are on goals."""
    return sum(rows[r][c] == GOAL for r, c in boxes)


def play(rows: Rows, player: Cell, boxes: tuple[Cell, ...], moves: str) -> Effect:
    """Return what `moves` (letters of ``UDLR``) lead to.

    A move into a wall, or into a box that cannot give way, is skipped and counted. Moves after the
    solving one are not carried out.
    """
    occupied = set(boxes)
    made: list[str] = []
    illegal = 0
    solved = is_solved(rows, boxes)
    r, c = player
    for letter in moves:
        if solved:
            break
        dr, dc = DELTAS[letter]
        ahead = (r + dr, c + dc)
        if rows[ahead[0]][ahead[1]] == WALL:
            illegal += 1
            continue
        if ahead in occupied:
            beyond = (r + 2 * dr, c + 2 * dc)
            if beyond in occupied or rows[beyond[0]][beyond[1]] == WALL:
                illegal += 1
                continue
            occupied.remove(ahead)
            occupied.add(beyond)
            solved = all(rows[br][bc] == GOAL for br, bc in occupied)
        r, c = ahead
        made.append(letter)
    return Effect((r, c), tuple(sorted(occupied)), "".join(made), illegal, solved)


def draw(rows: Rows, player: Cell, boxes: tuple[Cell, ...], floor: str = FLOOR) -> Rows:
    """Return the board as XSB rows with player and boxes on it; `floor` is the mark of empty floor."""
    grid = [[floor if mark == FLOOR else mark for mark in row] for row in rows]
    for r, c in boxes:
        grid[r][c] = "*" if rows[r][c] == GOAL else "$"
    r, c = player
    grid[r][c] = "+" if rows[r][c] == GOAL else "@"
    return tuple("".join(row) for row in grid)


def _turned(rows: Rows) -> Rows:
    return tuple("".join(column) for column in zip(*rows[::-1], strict=True))


def canonical(rows: Rows) -> str:
    """Return one text for a board and all its rotations and reflections: the least of the eight."""
    views = []
    view = rows
    for _ in range(4):
        views.append("\n".join(view))
        views.append("\n".join(row[::-1] for row in view))
        view = _turned(view)
    return min(views)
