"""Range checks of settings, worded for the person who wrote the setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Check = Callable[[Any, Any, Any], None]


def _check(holds: Callable[[Any], bool], wanted: str) -> Check:
    def check(instance: object, attribute: Any, value: Any) -> None:
        # NaN holds for none of the comparisons, so it is refused by all of them.
        if not holds(value):
            raise ValueError(f"'{attribute.name}' must be {wanted}, not {value!r}")

    return check


def at_least(bound: float) -> Check:
    """Return a validator for ``value >= bound``."""
    return _check(lambda value: value >= bound, f"at least {bound}")


def at_most(bound: float) -> Check:
    """Return a validator for ``value <= bound``."""
    return _check(lambda value: value <= bound, f"at most {bound}")


def above(bound: float) -> Check:
    """Return a validator for ``value > bound``."""
    return _check(lambda value: value > bound, f"above {bound}")


def below(bound: float) -> Check:
    """Return a validator for ``value < bound``."""
    return _check(lambda value: value < bound, f"below {bound}")
