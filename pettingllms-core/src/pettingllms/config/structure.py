"""Plain values (from TOML, JSON or ``--set``) into attrs classes, strictly.

The default cattrs converter turns ``"8"`` and ``6.9`` into ints and ``"abc"`` into ``("a", "b", "c")``.
This one converts nothing but an int where a float is asked for, refuses unknown keys, and reports every
mistake with its dotted path.
"""

from __future__ import annotations

import collections.abc
import enum
import pathlib
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import attrs
import cattrs

from pettingllms.errors import ConfigError, PettingLLMsError, did_you_mean

T = TypeVar("T")
_Hook = Callable[[Any, Any], Any]
_Path = tuple[str, ...]

_SEQUENCES = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Set)
_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "a string", type(None): "nothing"}


class _MismatchError(Exception):
    """What is wrong, as (path below the value, text) pairs."""

    def __init__(self, *problems: tuple[_Path, str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def below(self, key: str) -> list[tuple[_Path, str]]:
        return [((key, *path), text) for path, text in self.problems]


def structure(values: Any, cls: type[T], path: str) -> T:
    """Return `values` as an instance of `cls`.

    Args:
        values: Plain values: a mapping for an attrs class. An instance of `cls` is returned as it is.
        cls: An attrs class, or any type that its fields may have: bool, int, float, str, Path, Literal,
            Enum, unions, tuples, lists, sets, mappings with string keys, and attrs classes.
        path: Where the values stand in the configuration, such as ``env.options``; used in errors.

    Raises:
        ConfigError: One line with the dotted path of every mistake.
    """
    try:
        return _CONVERTER.structure(values, cls)
    except cattrs.errors.StructureHandlerNotFoundError as error:
        raise ConfigError(
            f"{path}: a field of {cls.__name__} has a type that options cannot have: {error}"
        ) from None
    except _MismatchError as mismatch:
        lines = [f"{_dotted(path, below)} {text}" for below, text in mismatch.problems]
        raise ConfigError("; ".join(lines)) from None


def to_plain(value: Any) -> Any:
    """Return an attrs instance as dicts, lists and scalars, which `structure` takes back."""
    return _CONVERTER.unstructure(value)


def type_text(kind: Any) -> str:
    """Return how a person would write the type `kind`: ``int``, ``'a' | 'b'``, ``list of str``."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " | ".join(repr(choice) for choice in args)
    if _is_union(kind):
        return " | ".join(type_text(arm) for arm in args)
    if kind is type(None):
        return "none"
    if origin is tuple and args and args[-1] is not Ellipsis:
        return f"({', '.join(type_text(arg) for arg in args)})"
    if origin in _SEQUENCES:
        return f"list of {type_text(args[0])}"
    if origin in _MAPPINGS:
        return f"table of {type_text(args[1])}"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return " | ".join(repr(member.value) for member in kind)
    return getattr(kind, "__name__", str(kind))


@attrs.frozen
class FieldDoc:
    """One field of an options class, for listings.

    Attributes:
        name: The field's name, dotted below a nested class.
        type: The type as a person writes it.
        default: The default as a plain value; None when `required`.
        required: Whether the field has no default.
        help: The meaning, from ``metadata={"help": ...}``.
    """

    name: str
    type: str
    default: Any
    required: bool
    help: str


def describe(cls: type[Any], prefix: str = "") -> tuple[FieldDoc, ...]:
    """Return a `FieldDoc` for each field of the attrs class `cls`, nested classes flattened."""
    docs: list[FieldDoc] = []
    for field in _fields(cls):
        if isinstance(field.type, type) and attrs.has(field.type):
            docs.extend(describe(field.type, f"{prefix}{field.name}."))
            continue
        default: Any = field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            default = None if default.takes_self else default.factory()
        docs.append(
            FieldDoc(
                name=prefix + field.name,
                type=type_text(field.type),
                default=None if field.default is attrs.NOTHING else _CONVERTER.unstructure(default),
                required=field.default is attrs.NOTHING,
                help=str(field.metadata.get("help", "")),
            )
        )
    return tuple(docs)


def _dotted(path: str, below: _Path) -> str:
    text = path
    for key in below:
        text += key if key.startswith("[") else f".{key}" if text else key
    return text or "the configuration"


def _fields(cls: type[Any]) -> list[Any]:
    hints = typing.get_type_hints(cls)
    return [field.evolve(type=hints.get(field.name, Any)) for field in attrs.fields(cls) if field.init]


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _wrong(value: Any, wanted: str) -> _MismatchError:
    return _MismatchError(((), f"must be {wanted}, not {_show(value)}"))


def _exact(kind: type[Any]) -> _Hook:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise _wrong(value, _NAMES[kind])

    return hook


def _path_value(value: Any, _: Any) -> pathlib.Path:
    if isinstance(value, (str, pathlib.Path)):
        return pathlib.Path(value)
    raise _wrong(value, "a path")


def _choice(value: Any, choices: Sequence[Any]) -> Any:
    for choice in choices:
        if choice == value and type(choice) is type(value):
            return choice
    hint = did_you_mean(value, [c for c in choices if isinstance(c, str)]) if isinstance(value, str) else ""
    wanted = ", ".join(map(repr, choices))
    raise _MismatchError(((), f"must be one of {wanted}, not {_show(value)}{hint}"))


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _literal_value(value: Any, kind: Any) -> Any:
    return _choice(value, get_args(kind))


def _enum_value(value: Any, kind: Any) -> Any:
    return value if isinstance(value, kind) else kind(_choice(value, [member.value for member in kind]))


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _union_hook(kind: Any, converter: cattrs.Converter) -> _Hook:
    arms = get_args(kind)
    hooks = [(arm, converter.get_structure_hook(arm)) for arm in arms]

    def hook(value: Any, _: Any) -> Any:
        # An arm of exactly the value's type goes first, so 3 stays an int in float | int.
        for arm, structure_arm in sorted(hooks, key=lambda pair: pair[0] is not type(value)):
            try:
                return structure_arm(value, arm)
            except _MismatchError as mismatch:
                # A table can only be meant for the arm that takes one: its report is the useful one.
                if isinstance(value, Mapping) and attrs.has(arm):
                    raise
                if [other for other in arms if other is not type(None)] == [arm]:
                    raise mismatch from None
        raise _wrong(value, type_text(kind))

    return hook


def _is_sequence(kind: Any) -> bool:
    return kind in _SEQUENCES or get_origin(kind) in _SEQUENCES


def _sequence_hook(kind: Any, converter: cattrs.Converter) -> _Hook:
    origin, args = get_origin(kind) or kind, get_args(kind)
    fixed = origin is tuple and bool(args) and args[-1] is not Ellipsis
    item_kind = args[0] if args else Any
    make: Callable[[Any], Any] = {list: list, set: set, collections.abc.Set: frozenset}.get(origin, tuple)
    make = frozenset if origin is frozenset else make

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise _wrong(value, "a list")
        kinds = args if fixed else (item_kind,) * len(value)
        if len(kinds) != len(value):
            raise _wrong(value, f"a list of {len(kinds)} values")
        items, problems = [], []
        for index, (item, wanted) in enumerate(zip(value, kinds, strict=True)):
            try:
                items.append(converter.structure(item, wanted))
            except _MismatchError as mismatch:
                problems.extend(mismatch.below(f"[{index}]"))
        if problems:
            raise _MismatchError(*problems)
        return make(items)

    return hook


def _is_mapping(kind: Any) -> bool:
    return kind in _MAPPINGS or get_origin(kind) in _MAPPINGS


def _mapping_hook(kind: Any, converter: cattrs.Converter) -> _Hook:
    key_kind, value_kind = get_args(kind) or (str, Any)

    def hook(value: Any, _: Any) -> dict[Any, Any]:
        if not isinstance(value, Mapping):
            raise _wrong(value, "a table")
        entries: dict[Any, Any] = {}
        problems: list[tuple[_Path, str]] = []
        for key, item in value.items():
            try:
                entries[converter.structure(key, key_kind)] = converter.structure(item, value_kind)
            except _MismatchError as mismatch:
                problems.extend(mismatch.below(str(key)))
        if problems:
            raise _MismatchError(*problems)
        return entries

    return hook


def _class_hook(cls: Any, converter: cattrs.Converter) -> _Hook:
    fields = {field.name: field for field in _fields(cls)}

    def hook(value: Any, _: Any) -> Any:
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise _wrong(value, "a table")
        problems: list[tuple[_Path, str]] = []
        arguments: dict[str, Any] = {}
        for key, item in value.items():
            if key not in fields:
                known = f" (known: {', '.join(sorted(fields))})" if fields else ""
                hint = did_you_mean(str(key), fields)
                problems.append(((str(key),), f"is not a known key{hint or known}"))
                continue
            try:
                arguments[fields[key].alias or key] = converter.structure(item, fields[key].type)
            except _MismatchError as mismatch:
                problems.extend(mismatch.below(key))
        problems.extend(
            ((name,), f"is required ({type_text(field.type)})")
            for name, field in fields.items()
            if name not in value and field.default is attrs.NOTHING
        )
        if problems:
            raise _MismatchError(*problems)
        try:
            return cls(**arguments)
        except (ValueError, TypeError, PettingLLMsError) as error:
            raise _MismatchError(_refusal(error, fields)) from error

    return hook


def _refusal(error: Exception, fields: Mapping[str, Any]) -> tuple[_Path, str]:
    """Return where and why a class refused its values; attrs' validators begin with ``'field' must``."""
    text = " ".join(str(error.args[0] if error.args else error).split())
    named = re.match(r"'(\w+)' (.+)", text)
    if named and named[1] in fields:
        return (named[1],), named[2]
    if re.match(r"(must|cannot|is|has|needs)\b", text):
        return (), text
    return (), f"is refused: {text}"


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False, unstruct_collection_overrides={tuple: list})
    converter.register_structure_hook_factory(_is_mapping, _mapping_hook)
    converter.register_structure_hook_factory(_is_sequence, _sequence_hook)
    converter.register_structure_hook_factory(attrs.has, _class_hook)
    converter.register_structure_hook_factory(_is_union, _union_hook)
    converter.register_structure_hook_func(_is_literal, _literal_value)
    converter.register_structure_hook_func(
        lambda kind: isinstance(kind, type) and issubclass(kind, enum.Enum), _enum_value
    )
    for kind in _NAMES:
        converter.register_structure_hook(kind, _exact(kind))
    converter.register_structure_hook(pathlib.Path, _path_value)
    return converter


_CONVERTER = _make_converter()
