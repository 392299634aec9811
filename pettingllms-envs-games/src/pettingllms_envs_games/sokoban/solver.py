"""Solving Sokoban.

Boards with few positions get the exact remaining moves of *every* position, by one breadth-first
search backwards from the solved ones. Larger boards are searched forwards by A* (Hart, Nilsson, Raphael
1968) whose steps are "walk to a box and push it", charged in moves, so that what it finds is optimal in
moves. Only when it meets its node limit is the heuristic weighted, and what is found then need not be
optimal.
"""

from __future__ import annotations

import heapq
from functools import lru_cache
from typing import Literal

import attrs

from pettingllms_envs_games.sokoban.grid import OPPOSITE, Grid, grid_of, members
from pettingllms_envs_games.sokoban.rules import MOVES, Cell, Rows

TABLE_STATES = 20_000
"""Positions of player and boxes up to which a board gets an exact table."""

_SMALL = 1_000
DEFAULT_NODES = 60_000


@attrs.frozen
class Solution:
    """What a search found.

    Attributes:
        status: ``solved``, ``unsolvable`` (proven) or ``limit`` (the node limit was met first).
        moves: The solution as letters of ``UDLR``; empty unless solved.
        optimal: Whether no solution has fewer moves.
        nodes: Positions expanded.
    """

    status: Literal["solved", "unsolvable", "limit"]
    moves: str = ""
    optimal: bool = False
    nodes: int = 0


@attrs.frozen
class Estimate:
    """How far a position is from a solution.

    Attributes:
        moves: Moves to a solution, or a lower bound of them; None when the position is known to be dead.
        exact: Whether `moves` is the exact number (and a position without it is proven dead).
    """

    moves: int | None
    exact: bool


def _make_table(rows: Rows) -> dict[int, int]:
    grid = grid_of(rows)
    count = len(grid.cells)
    near = grid.near
    goals = grid.goals
    table = {goals * count + cell: 0 for cell in range(count) if not goals >> cell & 1}
    frontier = [(cell, goals) for cell in range(count) if not goals >> cell & 1]
    distance = 0
    while frontier:
        distance += 1
        reached = []
        for player, boxes in frontier:
            around = near[player]
            for direction in range(4):
                # Undo a move in `direction` that ended on `player`: it began on `back`.
                back = around[OPPOSITE[direction]]
                if back < 0 or boxes >> back & 1:
                    continue
                key = boxes * count + back
                if key not in table:
                    table[key] = distance
                    reached.append((back, boxes))
                pushed = around[direction]
                if pushed >= 0 and boxes >> pushed & 1:
                    before = boxes ^ (1 << pushed) ^ (1 << player)
                    key = before * count + back
                    if key not in table:
                        table[key] = distance
                        reached.append((back, before))
        frontier = reached
    return table


_small_table = lru_cache(maxsize=1024)(_make_table)
_large_table = lru_cache(maxsize=16)(_make_table)


def distance_table(rows: Rows, boxes: int) -> dict[int, int] | None:
    """Return the moves to a solution of every solvable position, or None when the board has too many.

    Keys are ``bits of the boxes * number of cells + cell of the player`` in the numbering of `grid_of`.
    """
    states = grid_of(rows).states(boxes)
    if states > TABLE_STATES:
        return None
    return _small_table(rows) if states <= _SMALL else _large_table(rows)


def remaining(rows: Rows, player: Cell, boxes: tuple[Cell, ...]) -> Estimate:
    """Return how many moves a position is from a solution: exactly on small boards, else a lower bound."""
    grid = grid_of(rows)
    bits = grid.bits(boxes)
    table = distance_table(rows, len(boxes))
    if table is None:
        return Estimate(grid.move_bound(grid.index[player], bits), exact=False)
    return Estimate(table.get(bits * len(grid.cells) + grid.index[player]), exact=True)


@lru_cache(maxsize=4096)
def solve(rows: Rows, player: Cell, boxes: tuple[Cell, ...], node_limit: int = DEFAULT_NODES) -> Solution:
    """Return a solution from a position: optimal in moves unless `Solution.optimal` says otherwise.

    Args:
        rows: The static board.
        player: Where the player stands.
        boxes: Where the boxes stand, sorted.
        node_limit: Positions that one search may expand. When the optimal search meets it, a weighted
            one, with the same limit, looks for any solution.
    """
    grid = grid_of(rows)
    start = grid.index[player]
    bits = grid.bits(boxes)
    table = distance_table(rows, len(boxes))
    if table is not None:
        return _descend(grid, table, start, bits)
    best = _search(grid, start, bits, 1, node_limit)
    if best.status != "limit":
        return best
    return _search(grid, start, bits, 4, node_limit)


def _descend(grid: Grid, table: dict[int, int], player: int, boxes: int) -> Solution:
    """Follow falling distances; ties go to the first of ``UDLR``."""
    count = len(grid.cells)
    distance = table.get(boxes * count + player)
    if distance is None:
        return Solution("unsolvable")
    moves = []
    while distance:
        for direction, target in enumerate(grid.near[player]):
            if target < 0:
                continue
            after = boxes
            if boxes >> target & 1:
                beyond = grid.near[target][direction]
                if beyond < 0 or boxes >> beyond & 1:
                    continue
                after = boxes ^ (1 << target) ^ (1 << beyond)
            if table.get(after * count + target) == distance - 1:
                player, boxes, distance = target, after, distance - 1
                moves.append(MOVES[direction])
                break
    return Solution("solved", "".join(moves), optimal=True)


def _search(grid: Grid, player: int, boxes: int, weight: int, node_limit: int) -> Solution:
    """A* over pushes with the walks between them charged in moves."""
    bound = grid.move_bound(player, boxes)
    if bound is None:
        return Solution("unsolvable")
    near, goals, blocked = grid.near, grid.goals, grid.dead_cells
    start = (player, boxes)
    best = {start: 0}
    came: dict[tuple[int, int], tuple[tuple[int, int], int]] = {}
    heap = [(weight * bound, 0, 0, start)]
    order = nodes = 0
    done: set[tuple[int, int]] = set()
    while heap:
        _, _, cost, state = heapq.heappop(heap)
        if cost > best[state] or state in done:
            continue
        player, boxes = state
        if boxes & goals == boxes:
            return Solution("solved", _path(grid, came, start, state), optimal=weight == 1, nodes=nodes)
        if nodes >= node_limit:
            return Solution("limit", nodes=nodes)
        nodes += 1
        if weight != 1:
            done.add(state)  # A second visit by a shorter way cannot help to find any solution at all.
        steps = _walk(grid, player, boxes)
        for box in members(boxes):
            for direction in range(4):
                stand = near[box][OPPOSITE[direction]]
                target = near[box][direction]
                if stand < 0 or target < 0 or stand not in steps:
                    continue
                if (boxes | blocked) >> target & 1:
                    continue
                after = boxes ^ (1 << box) ^ (1 << target)
                if _frozen_square(grid, target, after):
                    continue
                reached = (box, after)
                total = cost + steps[stand] + 1
                if total < best.get(reached, 1 << 60):
                    bound = grid.move_bound(box, after)
                    if bound is None:
                        continue
                    best[reached] = total
                    came[reached] = (state, direction)
                    order += 1
                    heapq.heappush(heap, (total + weight * bound, -order, total, reached))
    return Solution("unsolvable", nodes=nodes)


def _walk(grid: Grid, player: int, boxes: int) -> dict[int, int]:
    """Return the steps to every cell that the player reaches without a push."""
    steps = {player: 0}
    queue = [player]
    for cell in queue:
        for target in grid.near[cell]:
            if target >= 0 and target not in steps and not boxes >> target & 1:
                steps[target] = steps[cell] + 1
                queue.append(target)
    return steps


def _frozen_square(grid: Grid, box: int, boxes: int) -> bool:
    """Tell whether `box` is in a 2 by 2 square of walls and boxes that are not all on goals: a deadlock."""
    near = grid.near
    for vertical in (0, 1):
        for sideways in (2, 3):
            above, beside = near[box][vertical], near[box][sideways]
            if above >= 0 and not boxes >> above & 1:
                continue
            if beside >= 0 and not boxes >> beside & 1:
                continue
            corner = near[above][sideways] if above >= 0 else near[beside][vertical] if beside >= 0 else -1
            if corner >= 0 and not boxes >> corner & 1:
                continue
            square = 1 << box
            for cell in (above, beside, corner):
                if cell >= 0:
                    square |= 1 << cell
            if square & ~grid.goals:
                return True
    return False


def _path(
    grid: Grid,
    came: dict[tuple[int, int], tuple[tuple[int, int], int]],
    start: tuple[int, int],
    state: tuple[int, int],
) -> str:
    """Return the moves from `start` to `state`, walks included."""
    parts: list[str] = []
    while state != start:
        before, direction = came[state]
        stand = grid.near[state[0]][OPPOSITE[direction]]
        steps = _walk(grid, before[0], before[1])
        letters = MOVES[direction]
        cell = stand
        while steps[cell]:
            for back in range(4):
                source = grid.near[cell][OPPOSITE[back]]
                if source >= 0 and steps.get(source, -1) == steps[cell] - 1:
                    letters = MOVES[back] + letters
                    cell = source
                    break
        parts.append(letters)
        state = before
    return "".join(reversed(parts))
