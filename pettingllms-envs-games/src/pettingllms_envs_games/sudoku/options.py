"""Options of the Sudoku environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import attrs

from pettingllms.api import ConfigError, EnvironmentOptions
from pettingllms_envs_games.checks import within

BoardSize = Literal[4, 6, 9]
BOARD_SIZES: tuple[BoardSize, ...] = get_args(BoardSize)

DEFAULT_BAND: dict[int, tuple[int, int]] = {4: (6, 10), 6: (12, 20), 9: (30, 50)}
"""Board size -> fewest and most empty cells of a generated puzzle, where the options leave it open."""

MAX_EMPTY: dict[int, int] = {4: 11, 6: 24, 9: 54}
"""Board size -> empty cells that the generator can always reach with one completion left."""

MIN_MAX_EMPTY = 2
"""With a single empty cell there are too few different 4x4 puzzles for three splits."""


def _one_of(*allowed: object) -> Callable[[Any, Any, Any], None]:
    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if isinstance(value, bool) or value not in allowed:
            names = ", ".join(map(repr, allowed[:-1]))
            raise ConfigError(
                f"sudoku option {attribute.name} must be {names} or {allowed[-1]!r}, not {value!r}"
            )

    return check


def _path(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigError(f"sudoku option puzzles must be the path of a puzzle file, not {value!r}")


@attrs.frozen
class SudokuOptions(EnvironmentOptions):
    """Options of `games/sudoku`.

    Raises:
        ConfigError: A value is out of range, or values do not fit together.
    """

    size: BoardSize = attrs.field(
        default=4,
        validator=_one_of(4, 6, 9),
        metadata={"help": "rows and columns of the board: 4 (boxes 2x2), 6 (2x3) or 9 (3x3)"},
    )
    min_empty: int | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(within("sudoku", 1, 80)),
        metadata={
            "help": "fewest empty cells of a puzzle (unset: 6, 12, 30 for size 4, 6, 9, or less where "
            "max_empty or the turns allow less; a file is not filtered)"
        },
    )
    max_empty: int | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(within("sudoku", 1, 80)),
        metadata={
            "help": "most empty cells of a puzzle (unset: 10, 20, 50 for size 4, 6, 9, or less where "
            "max_turns * cells_per_turn allows less; a file is not filtered)"
        },
    )
    cells_per_turn: int | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(within("sudoku", 1, 81)),
        metadata={
            "help": "entries that one turn may commit; further ones are cut (unset: enough to fill the "
            "emptiest puzzle with one turn to spare, which is 4, 7, 17 for size 4, 6, 9)"
        },
    )
    players: Literal["team", "single"] = attrs.field(
        default="team",
        validator=_one_of("team", "single"),
        metadata={"help": "'team' (planner and executor) or 'single' (player)"},
    )
    puzzles: str | None = attrs.field(
        default=None,
        validator=_path,
        metadata={
            "help": "file to read puzzles from instead of generating them: a line of digits each "
            "(0, '.' or '_' is empty), or JSONL with a field 'puzzle'"
        },
    )

    def __attrs_post_init__(self) -> None:
        low, high = self.band
        if low > high:
            raise ConfigError(f"sudoku option min_empty {low} is above max_empty {high}; swap or widen them")
        if self.puzzles is not None:
            return
        if high < MIN_MAX_EMPTY:
            raise ConfigError(
                f"sudoku puzzles of {high} empty cell are too few for three splits; "
                "raise max_empty or cells_per_turn"
            )
        if high > MAX_EMPTY[self.size]:
            raise ConfigError(
                f"sudoku puzzles of size {self.size} with one completion can have "
                f"{MAX_EMPTY[self.size]} empty cells, not {high}; lower max_empty and min_empty"
            )
        if high > self.budget:
            raise ConfigError(
                f"sudoku puzzles with {high} empty cells cannot be filled in max_turns * cells_per_turn = "
                f"{self.budget} entries; raise max_turns or cells_per_turn, or lower max_empty and min_empty"
            )

    @property
    def entries_per_turn(self) -> int:
        """Entries that one turn may commit."""
        if self.cells_per_turn is not None:
            return self.cells_per_turn
        if self.puzzles is not None:
            return -(-self.size * self.size // self.max_turns)
        return -(-self.band[1] // max(1, self.max_turns - 1))

    @property
    def budget(self) -> int:
        """Entries that an episode may commit at most."""
        return self.max_turns * self.entries_per_turn

    @property
    def band(self) -> tuple[int, int]:
        """Fewest and most empty cells of a puzzle."""
        low, high = self.min_empty, self.max_empty
        if self.puzzles is not None:
            cells = self.size * self.size
            return (1 if low is None else low), (cells if high is None else high)
        if high is None:
            high = max(DEFAULT_BAND[self.size][1], low or 0)
            if self.cells_per_turn is not None:
                high = max(min(high, self.max_turns * self.cells_per_turn), low or 0)
        if low is None:
            low = min(DEFAULT_BAND[self.size][0], high)
        return low, high
