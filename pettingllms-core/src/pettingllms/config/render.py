"""A configuration as TOML, with every key."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import tomli_w

from pettingllms.config.schema import Config
from pettingllms.config.structure import type_text
from pettingllms.config.tiny_defaults import TINY_DEFAULTS


def to_toml(config: Config, *, comments: bool = False, live: Callable[[str], bool] | None = None) -> str:
    """Return `config` as TOML that `parse_config` reads back as an equal value.

    TOML has no null: a key without a value is a comment, ``# name = unset``.

    Args:
        config: What to write.
        comments: Write the meaning of each key above it, behind ``##``.
        live: Tells by dotted path which keys to write as settings; the others become comments that
            show their value. Unset: all are settings.
    """
    writer = _Writer(comments, live)
    for field in attrs.fields(Config):
        writer.table(getattr(config, field.name), field.name)
    return "\n".join(writer.lines).strip("\n") + "\n"


class _Writer:
    def __init__(self, comments: bool, live: Callable[[str], bool] | None) -> None:
        self.comments = comments
        self.live = live
        self.lines: list[str] = []

    def table(self, instance: Any, path: str, header: str | None = None, active: bool = True) -> None:
        """Write an attrs instance: its plain keys, then its tables."""
        if self.comments and header is None and path.count(".") == 0:
            self.note((type(instance).__doc__ or "").partition("\n")[0], gap=True)
            gap = False
        else:
            gap = True
        self.header(header or f"[{path}]", gap=gap, active=active)
        later: list[tuple[Any, Any]] = []
        for field in _fields(type(instance)):
            value = getattr(instance, field.name)
            if _is_table(field.type) or (_seat_type(field.type) and (value or self.live)):
                later.append((field, value))
            else:
                self.key(f"{path}.{field.name}", field, value, active)
        for field, value in later:
            self.below(f"{path}.{field.name}", field, value, active)

    def below(self, path: str, field: Any, value: Any, active: bool) -> None:
        """Write a table below another: attrs class, table of options, or list of seats."""
        seat = _seat_type(field.type)
        if attrs.has(field.type):
            self.table(value, path, active=active)
        elif seat is None:
            self.options(path, field, value)
        elif value:
            for item in value:
                self.table(item, path, header=f"[[{path}]]")
        else:
            self.header(f"[[{path}]]", active=False, note=field.metadata.get("help", ""))
            for inner in _fields(seat):
                if not attrs.has(inner.type):
                    self.note(inner.metadata.get("help", ""))
                    self.lines.append(f"# {inner.name} = ...")

    def options(self, path: str, field: Any, value: Mapping[str, Any]) -> None:
        """Write a table of options, whatever is in it."""
        active = bool(value) or self.live is None
        self.header(f"[{path}]", active=active, note=field.metadata.get("help", ""))
        if value:
            nested: dict[str, Any] = _plain(value)
            for key in reversed(path.split(".")):
                nested = {key: nested}
            text = tomli_w.dumps(nested)
            # The table's own header is written already; it is absent when it holds tables alone.
            self.lines += text.strip("\n").removeprefix(f"[{path}]\n").split("\n")

    def key(self, path: str, field: Any, value: Any, active: bool) -> None:
        """Write one key; a comment when it has no value or is not live."""
        name = field.name
        if self.comments:
            self.note(f"{field.metadata.get('help', '')}{_choices(field.type)}{_for_tiny(path)}")
        if value is None:
            self.lines.append(f"# {name} = unset")
        elif active and (self.live is None or self.live(path)):
            self.lines.append(f"{name} = {_inline(value)}")
        else:
            self.lines.append(f"# {name} = {_inline(value)}")

    def header(self, text: str, *, gap: bool = True, active: bool = True, note: str = "") -> None:
        if gap:
            self.lines.append("")
        if self.comments and note:
            self.note(note)
        self.lines.append(text if active else f"# {text}")

    def note(self, text: str, gap: bool = False) -> None:
        if gap:
            self.lines.append("")
        if text:
            self.lines.append(f"## {text}")


def _fields(cls: type[Any]) -> Iterator[Any]:
    hints = typing.get_type_hints(cls)
    return (field.evolve(type=hints[field.name]) for field in attrs.fields(cls))


def _is_table(kind: Any) -> bool:
    return attrs.has(kind) or typing.get_origin(kind) in (Mapping, dict)


def _seat_type(kind: Any) -> type[Any] | None:
    """Return the attrs class of the items of a tuple type, or None."""
    arguments = typing.get_args(kind)
    return arguments[0] if typing.get_origin(kind) is tuple and attrs.has(arguments[0]) else None


def _choices(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal or kind is bool:
        return f" ({'true | false' if kind is bool else type_text(kind)})"
    return ""


def _for_tiny(path: str) -> str:
    section, _, key = path.partition(".")
    value = TINY_DEFAULTS.get(section, {}).get(key)
    return "" if value is None else f" [tiny: {_inline(value)}]"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _inline(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_inline(item) for item in value)}]"
    return tomli_w.dumps({"v": value}).removeprefix("v = ").rstrip("\n")
