"""The presets that plugins ship: ``presets/*.toml`` beside the plugin's module.

A preset's name is the stem of its file. At its top level a preset may carry
``summary = "..."`` and ``aliases = ["other_name"]``; the rest is configuration.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any

import attrs

from pettingllms.errors import PluginError
from pettingllms.plugins.lazy import describe_failure, one_line
from pettingllms.plugins.records import LoadedPlugin, PluginFailure

SUFFIX = ".toml"


@attrs.frozen(kw_only=True)
class PresetFile:
    """A preset, as its plugin ships it.

    Attributes:
        name: Stem of its file.
        plugin: Name of the plugin that ships it.
        path: Where it lies, for messages.
        text: The whole file.
        summary: One line for listings.
        aliases: Other names that it answers to.
    """

    name: str
    plugin: str
    path: str
    text: str = attrs.field(repr=False)
    summary: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and its aliases."""
        return (self.name, *self.aliases)


@attrs.frozen(kw_only=True)
class Presets:
    """All usable presets by name, and what is wrong with the others.

    Attributes:
        by_name: Name of the preset to its file, sorted.
        left_out: A name that cannot be used to the reasons, one for every plugin concerned.
        failures: All reasons, those of unreadable folders included.
    """

    by_name: Mapping[str, PresetFile]
    left_out: Mapping[str, tuple[PluginFailure, ...]]
    failures: tuple[PluginFailure, ...]


def _parsed(text: str) -> tuple[str, tuple[str, ...]]:
    """Return summary and aliases of a preset's text."""
    table: dict[str, Any] = tomllib.loads(text)
    summary = table.get("summary", "")
    aliases = table.get("aliases", [])
    if not isinstance(summary, str):
        raise PluginError("summary must be a string")
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise PluginError("aliases must be a list of strings")
    return one_line(summary), tuple(aliases)


def _read(plugin: LoadedPlugin, file: Traversable) -> PresetFile:
    text = file.read_text(encoding="utf-8")
    summary, aliases = _parsed(text)
    return PresetFile(
        name=file.name.removesuffix(SUFFIX),
        plugin=plugin.name,
        path=str(file),
        text=text,
        summary=summary,
        aliases=aliases,
    )


def preset_files(plugin: LoadedPlugin) -> list[Traversable]:
    """Return the preset files of `plugin`, sorted by name."""
    # A plugin that is one top-level module has no folder of its own to look in.
    if not plugin.package:
        return []
    folder = resources.files(plugin.package) / "presets"
    if not folder.is_dir():
        return []
    return sorted(
        (file for file in folder.iterdir() if file.name.endswith(SUFFIX)), key=lambda file: file.name
    )


def _failure(plugin: LoadedPlugin, reason: str) -> PluginFailure:
    return PluginFailure(
        name=plugin.name,
        distribution=plugin.distribution,
        version=plugin.version,
        module=plugin.module,
        reason=reason,
    )


def read_presets(plugins: Iterable[LoadedPlugin]) -> Presets:
    """Read the presets of all `plugins`.

    A preset that is not valid TOML is left out. A name that two presets claim, as name or
    alias, makes both unusable, so that no plugin can take over a preset of another.
    Each such case is a failure of every plugin concerned; the plugins themselves stay.
    """
    found: list[tuple[LoadedPlugin, PresetFile]] = []
    failures: list[PluginFailure] = []
    left_out: dict[str, list[PluginFailure]] = {}
    for plugin in plugins:
        try:
            files = preset_files(plugin)
        except Exception as error:
            failures.append(_failure(plugin, f"presets: {describe_failure(error, plugin.package)}"))
            continue
        for file in files:
            try:
                found.append((plugin, _read(plugin, file)))
            except Exception as error:
                reason = f"preset {file.name} cannot be read: {describe_failure(error, plugin.package)}"
                failures.append(_failure(plugin, reason))
                left_out.setdefault(file.name.removesuffix(SUFFIX), []).append(failures[-1])

    claims: dict[str, list[PresetFile]] = {}
    for _, preset in found:
        for name in preset.names:
            claims.setdefault(name, []).append(preset)
    by_name: dict[str, PresetFile] = {}
    for plugin, preset in found:
        contested = [name for name in preset.names if len(claims[name]) > 1]
        if not contested:
            by_name[preset.name] = preset
            continue
        owners = " and ".join(f"{rival.plugin}:{rival.name}{SUFFIX}" for rival in claims[contested[0]])
        reason = f"preset {preset.name!r} is left out: {owners} claim the name {contested[0]!r}"
        failures.append(_failure(plugin, reason))
        for name in preset.names:
            left_out.setdefault(name, []).append(failures[-1])
    return Presets(
        by_name=MappingProxyType(dict(sorted(by_name.items()))),
        left_out=MappingProxyType({name: tuple(reasons) for name, reasons in left_out.items()}),
        failures=tuple(failures),
    )
