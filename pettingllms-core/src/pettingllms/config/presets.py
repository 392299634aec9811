"""A preset as a file to edit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tomli_w

from pettingllms.config.load import preset_layer
from pettingllms.config.render import to_toml
from pettingllms.config.schema import Config
from pettingllms.config.structure import structure


def preset_copy(name: str, text: str) -> str:
    """Return the preset `name`, whose TOML is `text`, as a commented config file.

    What the preset sets is set; every other key stands as a comment with its default, so that training
    with the copy is training with the preset until something in it is edited.

    Raises:
        ConfigError: The preset is wrong.
    """
    layer = preset_layer(text, name)
    config = structure(layer.settings, Config, "")
    paths = set(_paths(layer.settings))
    summary = " ".join(layer.summary.split())
    parts = [
        f"## {name}{f': {summary}' if summary else ''}\n"
        "## Take the '# ' from a key to set it; [tiny: ...] is its default with the tiny model.\n"
    ]
    parts.append(to_toml(config, comments=True, live=lambda path: path in paths))
    if layer.tiny:
        parts.append(
            "## Settings that count only with the tiny model, above those before.\n"
            + tomli_w.dumps({"tiny": layer.tiny})
        )
    return "\n".join(parts)


def _paths(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in table.items():
        path = f"{prefix}{key}"
        yield path
        if isinstance(value, Mapping):
            yield from _paths(value, f"{path}.")
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, Mapping):
                    yield from _paths(item, f"{path}.")
