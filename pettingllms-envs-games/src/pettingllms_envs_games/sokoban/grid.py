"""A static board prepared for search: numbered cells, neighbours, push distances."""

from __future__ import annotations

from functools import cached_property, lru_cache
from itertools import permutations
from math import comb

import attrs

from pettingllms_envs_games.sokoban.rules import DELTAS, GOAL, MOVES, WALL, Cell, Rows

OPPOSITE = (1, 0, 3, 2)
"""Index in ``MOVES`` of the opposite of each direction."""

_EXACT_MATCHING = 4
"""Boxes up to which the lower bound tries every assignment of boxes to goals."""

_FAR = 10**6


@attrs.define(eq=False)
class Grid:
    """Search tables of one static board.

    A set of boxes is an int with bit `i` set for a box on cell `i`.

    Attributes:
        cells: Coordinates of every cell that is not wall.
        index: Number of each of `cells`.
        near: For every cell its neighbours in the order of ``MOVES``; -1 is a wall.
        goals: Bits of the goal cells.
    """

    cells: tuple[Cell, ...]
    index: dict[Cell, int]
    near: tuple[tuple[int, int, int, int], ...]
    goals: int
    _bounds: dict[int, int] = attrs.field(factory=dict)

    def states(self, boxes: int) -> int:
        """Return how many positions of the player and `boxes` boxes there are."""
        cells = len(self.cells)
        return comb(cells, boxes) * max(0, cells - boxes)

    def bits(self, boxes: tuple[Cell, ...]) -> int:
        """Return the set of boxes as an int."""
        bits = 0
        for box in boxes:
            bits |= 1 << self.index[box]
        return bits

    def positions(self, bits: int) -> tuple[Cell, ...]:
        """Return the sorted coordinates of the boxes in `bits`."""
        return tuple(self.cells[i] for i in members(bits))

    @cached_property
    def push_distances(self) -> tuple[tuple[int, ...], ...]:
        """Pushes that a lone box needs from each cell to each goal, if the player could be anywhere.

        Indexed by goal (ascending cell number), then by cell; a large number where there is no way.
        """
        tables = []
        for goal in members(self.goals):
            distance = [_FAR] * len(self.cells)
            distance[goal] = 0
            queue = [goal]
            for cell in queue:
                for direction in range(4):
                    # The box came from `source`, pushed by a player who stood one cell further back.
                    source = self.near[cell][OPPOSITE[direction]]
                    if source < 0 or distance[source] < _FAR:
                        continue
                    if self.near[source][OPPOSITE[direction]] >= 0:
                        distance[source] = distance[cell] + 1
                        queue.append(source)
            tables.append(tuple(distance))
        return tuple(tables)

    @cached_property
    def dead_cells(self) -> int:
        """Bits of the cells from which a box can reach no goal."""
        bits = 0
        for cell in range(len(self.cells)):
            if all(table[cell] >= _FAR for table in self.push_distances):
                bits |= 1 << cell
        return bits

    def push_bound(self, boxes: int) -> int | None:
        """Return a lower bound of the pushes that `boxes` still need; None when they can never all arrive.

        The cheapest assignment of boxes to goals for few boxes, each box's nearest goal for more.
        """
        bound = self._bounds.get(boxes)
        if bound is None:
            places = members(boxes)
            tables = self.push_distances
            if len(places) <= _EXACT_MATCHING:
                bound = min(
                    sum(tables[goal][place] for goal, place in zip(order, places, strict=True))
                    for order in permutations(range(len(tables)))
                )
            else:
                bound = sum(min(table[place] for table in tables) for place in places)
            if len(self._bounds) > 50_000:
                self._bounds.clear()
            self._bounds[boxes] = bound
        return bound if bound < _FAR else None

    @cached_property
    def walks(self) -> tuple[tuple[int, ...], ...]:
        """Steps between every two cells on the board without boxes; a large number where there is no way."""
        tables = []
        for start in range(len(self.cells)):
            distance = [_FAR] * len(self.cells)
            distance[start] = 0
            queue = [start]
            for cell in queue:
                for target in self.near[cell]:
                    if target >= 0 and distance[target] == _FAR:
                        distance[target] = distance[cell] + 1
                        queue.append(target)
            tables.append(tuple(distance))
        return tuple(tables)

    def move_bound(self, player: int, boxes: int) -> int | None:
        """Return a lower bound of the moves to a solution; None when some box can never arrive.

        The push bound plus the steps to the nearest box. One move lowers it by one at most.
        """
        pushes = self.push_bound(boxes)
        if pushes is None:
            return None
        if boxes & self.goals == boxes:
            return 0
        walks = self.walks[player]
        return pushes + max(0, min(walks[box] for box in members(boxes)) - 1)


def members(bits: int) -> list[int]:
    """Return the positions of the set bits, ascending."""
    found = []
    while bits:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return found


@lru_cache(maxsize=2048)
def grid_of(rows: Rows) -> Grid:
    """Return the (shared) search tables of a static board."""
    cells = tuple((r, c) for r, row in enumerate(rows) for c, mark in enumerate(row) if mark != WALL)
    index = {cell: i for i, cell in enumerate(cells)}
    steps = [DELTAS[letter] for letter in MOVES]
    near = tuple(tuple(index.get((r + dr, c + dc), -1) for dr, dc in steps) for r, c in cells)
    goals = 0
    for i, (r, c) in enumerate(cells):
        if rows[r][c] == GOAL:
            goals |= 1 << i
    return Grid(cells, index, near, goals)  # type: ignore[arg-type]  # four steps, four neighbours
