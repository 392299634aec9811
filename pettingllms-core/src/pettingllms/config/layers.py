"""The layers of a configuration: each is read, split and checked on its own, so that errors name it."""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from pettingllms.config.guide import BESIDE, load_python
from pettingllms.config.schema import Config
from pettingllms.config.structure import structure
from pettingllms.errors import ConfigError

SECTIONS: Mapping[str, tuple[str, ...]] = {
    section: tuple(field.name for field in attrs.fields(type(value)))
    for section, value in attrs.asdict(Config(), recurse=False).items()
}
"""Every section with its keys."""

NO_WANDB = (
    "wandb: Weights & Biases tracking is not available in this version; take this table out of the settings"
)

_TOML_PLACE = re.compile(r"(.*) \(at (line \d+, column \d+|end of document)\)", re.DOTALL)


@attrs.frozen(kw_only=True)
class Layer:
    """Settings from one place.

    Attributes:
        source: Where they come from, as errors name it; empty for flags, whose errors need no place.
        settings: Section to keys.
        tiny: Settings that count only when the model is `tiny`, above `settings`.
        preset: The preset that they build on.
        summary: One line on what they are for.
        aliases: Other names of a preset.
    """

    source: str
    settings: Mapping[str, Any]
    tiny: Mapping[str, Any] = attrs.field(factory=dict)
    preset: str | None = None
    summary: str = ""
    aliases: tuple[str, ...] = ()


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of `layers` merged key by key; a later layer wins, a list replaces a list."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping):
                below = merged.get(key)
                merged[key] = merge(below if isinstance(below, Mapping) else {}, value)
            else:
                merged[key] = value
    return merged


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Return the table that the TOML `text` holds.

    Raises:
        ConfigError: It is not TOML; with line and column.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _TOML_PLACE.fullmatch(str(error))
        what, place = found.groups() if found else (str(error), "somewhere")
        raise ConfigError(f"{source}, {place}: not valid TOML: {what[:1].lower()}{what[1:]}") from None


def read_text(path: Path) -> str:
    """Return the text of the config file `path`.

    Raises:
        ConfigError: It does not exist, cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"the config file {path} does not exist") from None
    except IsADirectoryError:
        raise ConfigError(f"the config file {path} is a folder") from None
    except OSError as error:
        raise ConfigError(f"the config file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"the config file {path} is not UTF-8 text (byte {error.start})") from None


def toml_layer(text: str, source: str) -> Layer:
    """Return the layer that the TOML `text` holds."""
    return make_layer(parse_toml(text, source), source)


def file_layer(path: Path) -> Layer:
    """Return the layer of a config file: TOML, or Python with the training guide's dicts."""
    if path.suffix not in (".toml", ".py"):
        raise ConfigError(f"the config file {path} must be a .toml or a .py file")
    text = read_text(path)
    if path.suffix == ".py":
        return make_layer(load_python(path), str(path))
    return toml_layer(text, str(path))


def override_layer(overrides: Sequence[str]) -> Layer:
    """Return the layer of ``--set section.key=value`` texts; a later one wins."""
    tables = []
    for text in overrides:
        table = _override(text)
        make_layer(table, f"--set {text}")
        tables.append(table)
    return Layer(source="--set", settings=merge(*tables))


def flag_layer(flags: Mapping[str, Any]) -> Layer:
    """Return the layer of flags by dotted name, such as ``{"env.seed": 3}``; None is a flag not given."""
    tables = [_nest(tuple(path.split(".")), value) for path, value in flags.items() if value is not None]
    return make_layer(merge(*tables), "")


def make_layer(raw: Mapping[str, Any], source: str) -> Layer:
    """Return `raw` split into settings and what stands beside them, all of it checked by itself.

    Raises:
        ConfigError: An unknown key, a wrong type or a value out of range; with `source` and dotted path.
    """
    settings = dict(raw)
    beside = {key: settings.pop(key) for key in BESIDE if key in settings}
    tiny = beside.get("tiny", {})
    try:
        for key, kind, name in (("preset", str, "a string"), ("summary", str, "a string")):
            if not isinstance(beside.get(key, ""), kind):
                raise ConfigError(f"{key} must be {name}, not {beside[key]!r}")
        aliases = beside.get("aliases", ())
        if not isinstance(aliases, (list, tuple)) or not all(isinstance(alias, str) for alias in aliases):
            raise ConfigError(f"aliases must be a list of strings, not {aliases!r}")
        if not isinstance(tiny, Mapping):
            raise ConfigError(f"tiny must be a table of sections, not {tiny!r}")
        _check_places(settings)
        structure(settings, Config, "")
        _check_places(tiny, "tiny.")
        structure(tiny, Config, "tiny")
        if isinstance(tiny.get("model"), Mapping) and "name" in tiny["model"]:
            raise ConfigError("tiny.model.name cannot be set: [tiny] counts only when the model is 'tiny'")
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}" if source else str(error)) from None
    return Layer(
        source=source,
        settings=settings,
        tiny=tiny,
        preset=beside.get("preset"),
        summary=beside.get("summary", ""),
        aliases=tuple(aliases),
    )


def _check_places(settings: Mapping[str, Any], prefix: str = "") -> None:
    """Say where a key belongs that stands outside its section or in another one."""
    for key, value in settings.items():
        if key == "wandb":
            raise ConfigError(NO_WANDB)
        if key not in SECTIONS:
            if homes := list(_homes(key, prefix)):
                raise ConfigError(f"{prefix}{key} has no section; did you mean {' or '.join(homes)}?")
        elif isinstance(value, Mapping):
            for inner in value:
                if inner not in SECTIONS[key] and (homes := list(_homes(inner, prefix))):
                    raise ConfigError(
                        f"{prefix}{key}.{inner} is not a known key; did you mean {' or '.join(homes)}?"
                    )


def _homes(key: str, prefix: str) -> Iterator[str]:
    return (f"{prefix}{section}.{key}" for section, keys in SECTIONS.items() if key in keys)


def _nest(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def _override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    path = _key_path(key.strip())
    if not equals or path is None:
        raise ConfigError(f"--set {text!r} must look like section.key=value")
    if path[0] in BESIDE:
        raise ConfigError(f"--set {text!r}: only a config file can hold {path[0]!r}")
    if not value.strip():
        raise ConfigError(f"--set {text!r} gives no value; an empty text is written as '\"\"'")
    return _nest(path, _override_value(text, value.strip()))


def _key_path(key: str) -> tuple[str, ...] | None:
    if "\n" in key:
        return None
    try:
        found: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return None
    path: list[str] = []
    while isinstance(found, dict):
        if len(found) != 1:  # a comment or a table header, not a key
            return None
        [(name, found)] = found.items()
        path.append(name)
    return tuple(path)


def _toml_value(value: str) -> Any:
    table = tomllib.loads(f"v = {value}")
    if table.keys() != {"v"}:
        raise tomllib.TOMLDecodeError("more than one value")
    return table["v"]


def _override_value(text: str, value: str) -> Any:
    try:
        found = _toml_value(value)
    except tomllib.TOMLDecodeError as error:
        if value[0] in "[{\"'":
            raise ConfigError(f"--set {text!r}: {value!r} is not a TOML value: {_what(error)}") from None
        return value
    # A date is no setting, and a value that ends in a TOML comment would lose that part.
    if isinstance(found, (datetime.date, datetime.time)) or _has_comment(value):
        return value
    return found


def _what(error: tomllib.TOMLDecodeError) -> str:
    found = _TOML_PLACE.fullmatch(str(error))
    return (found[1] if found else str(error)).lower()


def _has_comment(value: str) -> bool:
    try:
        _toml_value(f"{value} x")
    except tomllib.TOMLDecodeError:
        return False
    return True
