"""States, transitions and tasks to JSON and back, by their attrs types."""

from __future__ import annotations

import json
from typing import Any, TypeVar, get_args

import cattrs

from pettingllms.errors import EnvironmentFault

T = TypeVar("T")


def _fact(value: Any, _: Any) -> Any:
    if isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"a fact must be bool, int, float or str, not {type(value).__name__}")


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, unstruct_collection_overrides={tuple: list})
    scalars = frozenset({bool, int, float, str})

    def is_fact(kind: Any) -> bool:
        return frozenset(get_args(kind)) == scalars

    converter.register_structure_hook_func(is_fact, _fact)
    return converter


_CONVERTER = _make_converter()


def to_json(value: Any) -> str:
    """Return `value` (a frozen attrs value) as compact JSON with sorted keys.

    Raises:
        EnvironmentFault: The value holds something JSON has no form for.
    """
    try:
        return json.dumps(_CONVERTER.unstructure(value), sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise EnvironmentFault(f"{type(value).__name__} cannot be written as JSON: {error}") from error


def from_json(text: str, kind: type[T]) -> T:
    """Return the value of type `kind` that `to_json` wrote as `text`."""
    return _CONVERTER.structure(json.loads(text), kind)


def to_plain(value: Any) -> Any:
    """Return `value` as dicts, lists and scalars."""
    return _CONVERTER.unstructure(value)
