"""Reading level files: XSB collections and Boxoban files.

Boxoban (github.com/google-deepmind/boxoban-levels) writes ``; n`` above every level; XSB collections
separate levels by blank lines, comments or titles. Floor is a space, ``-`` or ``_``.
"""

from __future__ import annotations

import re
from pathlib import Path

from pettingllms.api import ConfigError
from pettingllms_envs_games.sokoban.rules import FLOOR, GOAL, WALL, Cell, Level, Rows, is_solved

_MARKS = frozenset("#@+$*. -_")
_METADATA = re.compile(r"\s*[A-Za-z][\w ]*:")


def parse_level(rows: Rows | list[str]) -> Level:
    """Return the level that `rows` (XSB marks) draw.

    Rows may differ in length; what lies outside the walls becomes wall.

    Raises:
        ConfigError: The level is odd; the text says why, without naming a file.
    """
    width = max((len(row) for row in rows), default=0)
    if len(rows) < 3 or width < 3:
        raise ConfigError("the board is smaller than 3 by 3")
    players: list[Cell] = []
    boxes: list[Cell] = []
    grid = [[FLOOR] * width for _ in rows]
    for r, row in enumerate(rows):
        for c, mark in enumerate(row):
            if mark not in _MARKS:
                raise ConfigError(f"unreadable character {mark!r} in row {r + 1}, column {c + 1}")
            if mark in "@+":
                players.append((r, c))
            if mark in "$*":
                boxes.append((r, c))
            if mark in ".+*":
                grid[r][c] = GOAL
            elif mark == WALL:
                grid[r][c] = WALL
    goals = sum(row.count(GOAL) for row in grid)
    if len(players) != 1:
        raise ConfigError(f"{len(players) or 'no'} player{'s' if len(players) > 1 else ''}, expected one")
    if not boxes:
        raise ConfigError("no box")
    if len(boxes) != goals:
        raise ConfigError(f"{_count(len(boxes), 'box', 'boxes')} but {_count(goals, 'goal', 'goals')}")
    outside = _outside(grid)
    if any(cell in outside for cell in (players[0], *boxes)):
        raise ConfigError("the walls do not enclose the player and the boxes")
    for r, c in outside:
        if grid[r][c] == GOAL:
            raise ConfigError(f"the goal in row {r + 1}, column {c + 1} is outside the walls")
        grid[r][c] = WALL
    level = Level(tuple("".join(row) for row in grid), players[0], tuple(boxes))
    if is_solved(level.rows, level.boxes):
        raise ConfigError("every box is on a goal already")
    return level


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _outside(grid: list[list[str]]) -> set[Cell]:
    """Return the cells that are connected with the edge of the grid, not through walls."""
    height, width = len(grid), len(grid[0])
    edge = {(r, c) for r in range(height) for c in (0, width - 1)}
    edge |= {(r, c) for r in (0, height - 1) for c in range(width)}
    stack = [(r, c) for r, c in edge if grid[r][c] != WALL]
    seen = set(stack)
    while stack:
        r, c = stack.pop()
        for cell in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
            inside = 0 <= cell[0] < height and 0 <= cell[1] < width
            if inside and cell not in seen and grid[cell[0]][cell[1]] != WALL:
                seen.add(cell)
                stack.append(cell)
    return seen


def parse_levels(text: str, name: str) -> tuple[Level, ...]:
    """Return all levels of the text of a level file; `name` is the file's name in errors.

    Raises:
        ConfigError: There is no level, or one is odd: the text names file, level, line and reason.
    """
    levels: list[Level] = []
    block: list[str] = []
    first = 0

    def close() -> None:
        if block:
            try:
                levels.append(parse_level(block))
            except ConfigError as error:
                raise ConfigError(
                    f"{name}: level {len(levels) + 1} (line {first}): {error}; correct or remove the level"
                ) from None
            block.clear()

    for number, line in enumerate(text.splitlines(), start=1):
        if _is_row(line, inside=bool(block)):
            if not block:
                first = number
            block.append(line.rstrip())
        else:
            close()
    close()
    if not levels:
        raise ConfigError(f"{name}: no Sokoban level in this file; expected Boxoban or XSB boards")
    return tuple(levels)


def _is_row(line: str, *, inside: bool) -> bool:
    """Tell rows (odd ones too, so that they are refused and not skipped) from titles and comments."""
    stripped = line.strip()
    if not stripped or stripped.startswith(";"):
        return False
    if _MARKS.issuperset(line.rstrip()):
        return WALL in line or (inside and not stripped.startswith("--"))
    if stripped.startswith(WALL):
        return True
    return inside and WALL in line and not _METADATA.match(line)


def read_levels(path: str | Path) -> tuple[Level, ...]:
    """Return all levels of a level file.

    Raises:
        ConfigError: The file cannot be read or holds an odd level.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot read level file {path}: {error.strerror or error}; check the path"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"level file {path} is not UTF-8 text; expected Boxoban or XSB boards") from None
    return parse_levels(text, str(path))
