"""Seeded rooms that are proven solvable, with an optimal solution of a wanted length.

A room is a random patch of floor. On small rooms the distance table of all positions is at hand, so
the start is drawn among the positions of exactly the wanted length, and every length of the band comes
about equally often where rooms allow it. On large rooms the boxes are pulled backwards from the goals
and the solver measures the length.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import attrs

from pettingllms.api import ConfigError
from pettingllms_envs_games.sokoban.grid import Grid, grid_of
from pettingllms_envs_games.sokoban.rules import FLOOR, GOAL, WALL, Cell, Level, Rows, canonical
from pettingllms_envs_games.sokoban.solver import distance_table, solve

WALLS = (0.1, 0.45)
"""Least and largest chance of an inner cell to become wall."""

_TRIES = 20_000
_ROOMS_PER_LENGTH = 12
_NODES = 3_000


@attrs.frozen
class Generated:
    """A generated level and the moves of its optimal solution."""

    level: Level
    solution_moves: int


def room_key(rows: Rows) -> int:
    """Return a number (SHA-256) that a room shares with its rotations and reflections, and no other room.

    The room is its walls and goals: where player and boxes start does not matter.
    """
    digest = hashlib.sha256(canonical(rows).encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _below(rng: random.Random, number: int) -> int:
    # `random()` is the one method whose sequence Python promises to keep for a seed.
    return int(rng.random() * number)


def _draw(rng: random.Random, items: list[int], number: int) -> list[int]:
    items = list(items)
    return [items.pop(_below(rng, len(items))) for _ in range(number)]


def generate(
    seed: str,
    size: int,
    boxes: int,
    band: tuple[int, int],
    accept: Callable[[int], bool] = lambda key: True,
) -> Generated:
    """Return the level of a seed, the same on every Python version.

    Args:
        seed: Any text.
        size: Rows and columns, outer walls included.
        boxes: Number of boxes.
        band: Shortest and longest optimal solution, in moves.
        accept: Which rooms may be used, by `room_key`.

    Raises:
        ConfigError: No such level was found in a generous number of tries.
    """
    rng = random.Random(seed)
    low, high = band
    wanted = rooms = 0
    for _ in range(_TRIES):
        rows = _room(rng, size, boxes)
        if rows is None or not accept(room_key(rows)):
            continue
        if rooms % _ROOMS_PER_LENGTH == 0:
            wanted = low + _below(rng, high - low + 1)
        rooms += 1
        found = _start(rng, rows, boxes, wanted, band)
        if found is not None:
            return found
    raise ConfigError(
        f"found no Sokoban room of size {size} with {boxes} box(es) and a solution of {low} to {high} "
        f"moves in {_TRIES} tries; change size, boxes, min_solution or max_solution"
    )


def _room(rng: random.Random, size: int, boxes: int) -> Rows | None:
    """Return a connected random room with its goals, or None when too little floor is left."""
    inner = [(r, c) for r in range(1, size - 1) for c in range(1, size - 1)]
    least, most = WALLS
    share = least + (most - least) * rng.random()
    floor = {cell for cell in inner if rng.random() >= share}
    part = _largest_part(floor)
    if len(part) < 2 * boxes + 3:
        return None
    goals = {part[i] for i in _draw(rng, list(range(len(part))), boxes)}
    room = set(part)
    return tuple(
        "".join(GOAL if (r, c) in goals else FLOOR if (r, c) in room else WALL for c in range(size))
        for r in range(size)
    )


def _largest_part(floor: set[Cell]) -> list[Cell]:
    """Return the sorted cells of the largest connected part (the first of equals)."""
    left = set(floor)
    best: list[Cell] = []
    for cell in sorted(floor):
        if cell not in left:
            continue
        left.discard(cell)
        part = [cell]
        for r, c in part:
            for step in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
                if step in left:
                    left.discard(step)
                    part.append(step)
        if len(part) > len(best):
            best = sorted(part)
    return best


def _start(
    rng: random.Random, rows: Rows, boxes: int, wanted: int, band: tuple[int, int]
) -> Generated | None:
    grid = grid_of(rows)
    table = distance_table(rows, boxes)
    if table is None:
        return _pulled(rng, grid, rows, boxes, wanted, band)
    # Keys are sorted so that the choice does not hang on the order in which the search found them.
    keys = sorted(key for key, distance in table.items() if distance == wanted)
    if not keys:
        return None
    bits, player = divmod(keys[_below(rng, len(keys))], len(grid.cells))
    return Generated(Level(rows, grid.cells[player], grid.positions(bits)), wanted)


def _pulled(
    rng: random.Random, grid: Grid, rows: Rows, boxes: int, wanted: int, band: tuple[int, int]
) -> Generated | None:
    """Walk backwards from the solved room, pulling boxes more often than not, about `wanted` moves."""
    bits = grid.goals
    free = [cell for cell in range(len(grid.cells)) if not bits >> cell & 1]
    player = free[_below(rng, len(free))]
    for _ in range(4 * wanted):
        options = [
            (back, ahead)
            for back, ahead in zip(grid.near[player], _opposites(grid, player), strict=True)
            if back >= 0 and not bits >> back & 1
        ]
        if not options:
            break
        pulls = [(back, ahead) for back, ahead in options if ahead >= 0 and bits >> ahead & 1]
        pull = bool(pulls) and rng.random() < 0.7
        chosen = pulls if pull else options
        back, ahead = chosen[_below(rng, len(chosen))]
        if pull:
            bits = bits ^ (1 << ahead) ^ (1 << player)
        player = back
        bound = grid.move_bound(player, bits)
        if bits != grid.goals and bound is not None and bound >= wanted:
            break
    if bits == grid.goals:
        return None
    positions = grid.positions(bits)
    solution = solve(rows, grid.cells[player], positions, _NODES)
    low, high = band
    if solution.status != "solved" or not solution.optimal or not low <= len(solution.moves) <= high:
        return None
    return Generated(Level(rows, grid.cells[player], positions), len(solution.moves))


def _opposites(grid: Grid, cell: int) -> tuple[int, int, int, int]:
    up, down, left, right = grid.near[cell]
    return down, up, right, left
