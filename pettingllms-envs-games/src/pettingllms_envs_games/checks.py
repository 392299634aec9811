"""Checks that the options of both games share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from pettingllms.api import ConfigError


def within(game: str, low: int, high: int) -> Callable[[Any, Any, Any], None]:
    """Return a validator of a whole number from `low` to `high`; its error names the option of `game`."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(
                f"{game} option {attribute.name} must be a whole number from {low} to {high}, not {value!r}"
            )

    return check
