"""Layers into the configuration of a run.

Later layers win: the schema's defaults, defaults of the model, preset, preset's ``[tiny]``, config file,
its ``[tiny]``, ``--set``, flags. The ``[tiny]`` tables and the `tiny` model's defaults count only when
the model is `tiny`, so the model's name is settled first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pettingllms.config.hardware import TINY, resolve_model_name
from pettingllms.config.layers import Layer, file_layer, flag_layer, merge, override_layer, toml_layer
from pettingllms.config.schema import Config
from pettingllms.config.structure import structure
from pettingllms.config.tiny_defaults import model_defaults
from pettingllms.config.validate import validate
from pettingllms.errors import ConfigError

__all__ = ["load_config", "parse_config", "validate"]


def load_config(
    *,
    preset_text: str | None = None,
    preset_name: str | None = None,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    find_preset: Callable[[str], str] | None = None,
) -> Config:
    """Return the configuration of a run, complete: `model.name` and the warm start are settled too.

    Args:
        preset_text: TOML of the preset to build on.
        preset_name: Its name, for errors.
        file: A TOML file, or a Python file with the training guide's dicts.
        overrides: ``section.key=value`` texts; a value that is not TOML is a string.
        flags: Values by dotted name, such as ``{"env.seed": 3}``; None means not given.
        find_preset: Returns the TOML of a preset by name, for a config file with ``preset = "name"``.

    Raises:
        ConfigError: One line that names the source, the setting and what it must be.
    """
    layers: list[Layer] = []
    settings_file = file_layer(file) if file is not None else None
    if settings_file is not None and settings_file.preset is not None:
        text = _base_text(settings_file, preset_text, preset_name, find_preset)
        preset_name, preset_text = preset_name or settings_file.preset, text
    if preset_text is not None:
        layers.append(preset_layer(preset_text, preset_name or "given"))
    if settings_file is not None:
        layers.append(settings_file)
    layers += [override_layer(overrides), flag_layer(flags or {})]

    chosen = merge(*(layer.settings for layer in layers))
    name = resolve_model_name(
        chosen.get("model", {}).get("name"), chosen.get("engine", {}).get("device", "auto")
    )
    tables: list[Mapping[str, Any]] = [model_defaults(name)]
    for layer in layers:
        tables.append(layer.settings)
        if name == TINY:
            tables.append(layer.tiny)
    values = merge(*tables, {"model": {"name": name}})
    for section, keys in model_defaults(name).items():
        for key, value in keys.items():
            if values[section][key] is None:  # a Python file may say None for "unset"
                values[section][key] = value
    config = structure(values, Config, "")
    validate(config)
    return config


def parse_config(text: str, source: str, overrides: Sequence[str] = ()) -> Config:
    """Return the resolved configuration that `to_toml` wrote as `text`, with no layer under it.

    Args:
        text: TOML of every setting.
        source: Where it stands, for errors.
        overrides: ``section.key=value`` texts on top.

    Raises:
        ConfigError: It is not TOML or not a configuration; with `source` and dotted path.
    """
    layer = toml_layer(text, source)
    if layer.tiny or layer.preset is not None:
        raise ConfigError(f"{source} is not a resolved configuration: it builds on other settings")
    config = structure(merge(layer.settings, override_layer(overrides).settings), Config, "")
    try:
        validate(config)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    return config


def preset_layer(text: str, name: str) -> Layer:
    """Return the layer of the preset `name`.

    Raises:
        ConfigError: Its text is wrong, or it builds on another preset.
    """
    layer = toml_layer(text, f"preset {name!r}")
    if layer.preset is not None:
        raise ConfigError(f"preset {name!r}: only a config file can build on a preset")
    return layer


def _base_text(
    layer: Layer,
    preset_text: str | None,
    preset_name: str | None,
    find_preset: Callable[[str], str] | None,
) -> str:
    assert layer.preset is not None
    if find_preset is None:
        raise ConfigError(f"{layer.source}: preset = {layer.preset!r} cannot be looked up here")
    text = find_preset(layer.preset)
    if preset_text is not None and preset_text != text:
        raise ConfigError(
            f"{layer.source} builds on the preset {layer.preset!r}, not on {preset_name!r}; name only one"
        )
    return text
