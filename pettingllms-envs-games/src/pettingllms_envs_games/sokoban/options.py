"""Options of the Sokoban environment."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from pettingllms.api import ConfigError, EnvironmentOptions
from pettingllms_envs_games.checks import within

DEFAULT_MIN_SOLUTION = 2


def _players(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value not in ("team", "single"):
        raise ConfigError(f"sokoban option players must be 'team' or 'single', not {value!r}")


def _path(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigError(f"sokoban option levels must be the path of a level file, not {value!r}")


@attrs.frozen
class SokobanOptions(EnvironmentOptions):
    """Options of `games/sokoban`.

    Raises:
        ConfigError: A value is out of range, or values do not fit together.
    """

    size: int = attrs.field(
        default=6,
        validator=within("sokoban", 5, 20),
        metadata={"help": "rows and columns of a generated room, outer walls included"},
    )
    boxes: int = attrs.field(
        default=1,
        validator=within("sokoban", 1, 6),
        metadata={"help": "boxes (and goals) of a generated room"},
    )
    moves_per_turn: int = attrs.field(
        default=4,
        validator=within("sokoban", 1, 200),
        metadata={"help": "moves that one turn may make; further ones are cut"},
    )
    players: Literal["team", "single"] = attrs.field(
        default="team",
        validator=_players,
        metadata={"help": "'team' (planner and executor) or 'single' (player)"},
    )
    min_solution: int | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(within("sokoban", 1, 1000)),
        metadata={"help": "shortest optimal solution of a generated room, in moves (unset: 2)"},
    )
    max_solution: int | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(within("sokoban", 1, 1000)),
        metadata={
            "help": "longest optimal solution of a generated room, in moves "
            "(unset: max_turns * moves_per_turn, but no more than min_solution + 8)"
        },
    )
    levels: str | None = attrs.field(
        default=None,
        validator=_path,
        metadata={
            "help": "Boxoban or XSB file to read levels from instead of generating them; "
            "set max_turns and moves_per_turn to what its levels need"
        },
    )

    def __attrs_post_init__(self) -> None:
        if self.levels is not None:
            if self.min_solution is not None or self.max_solution is not None:
                raise ConfigError(
                    "sokoban options min_solution and max_solution are for generated rooms; "
                    "leave them out when levels is set"
                )
            return
        low, high = self.band
        if low > self.budget:
            raise ConfigError(
                f"sokoban rooms of at least {low} moves cannot be solved in max_turns * moves_per_turn = "
                f"{self.budget} moves; raise max_turns or moves_per_turn, or lower min_solution"
            )
        if low > high:
            raise ConfigError(
                f"sokoban option min_solution {low} is above max_solution {high}; swap or widen them"
            )
        if high > self.budget:
            raise ConfigError(
                f"sokoban option max_solution {high} is more than max_turns * moves_per_turn = {self.budget} "
                "moves; raise max_turns or moves_per_turn, or lower max_solution"
            )

    @property
    def budget(self) -> int:
        """Moves that an episode may make at most."""
        return self.max_turns * self.moves_per_turn

    @property
    def band(self) -> tuple[int, int]:
        """Shortest and longest optimal solution of generated rooms, in moves."""
        low = self.min_solution
        if low is None:
            low = min(DEFAULT_MIN_SOLUTION, self.max_solution or DEFAULT_MIN_SOLUTION, self.budget)
        high = self.max_solution
        if high is None:
            # Small rooms have no very long solutions: an open upper end must not make the search hopeless.
            high = max(low, min(self.budget, low + 8))
        return low, high
