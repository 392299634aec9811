"""Looking up what plugins registered, by full or bare name."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping
from types import MappingProxyType, ModuleType

from pettingllms.errors import PettingLLMsError, PluginError, UnknownNameError, did_you_mean
from pettingllms.plugins import builtin, firstparty, hookspecs
from pettingllms.plugins.discovery import UNKNOWN_VERSION, Candidate
from pettingllms.plugins.loader import (
    disabled_by_environment,
    load_plugins,
    raise_if_strict,
    strict_by_environment,
)
from pettingllms.plugins.presetfiles import PresetFile, Presets, read_presets
from pettingllms.plugins.records import (
    Implementation,
    LoadedPlugin,
    LoadedPlugins,
    PluginFailure,
    SpecT,
)
from pettingllms.plugins.specs import EnvironmentSpec, PolicyMappingSpec, RewardSpec, RoleSpec


def _to_install(suite: str) -> str:
    distribution = firstparty.distribution_of(suite)
    return f"{distribution}, which is not installed; run: pip install {distribution}"


class Registry:
    """Everything that the loaded plugins registered, sorted by full name.

    A name is written in full (``games/sokoban``) or bare (``sokoban``) while only one plugin has
    it; a name of the core (``shared``) always means the core's, so that no plugin that is
    installed later can change or break what it stands for. An environment is also found by its
    namespace alone when that holds just one (``code`` for ``code/code``).

    Attributes:
        plugins: The plugins that work.
        disabled: The plugins that were switched off.
        environments: Full name to spec.
        rewards: Full name to spec.
        roles: Full name to spec.
        policy_mappings: Full name to spec.
        observers: Hook name to its implementations, in the order of the plugins' names.
    """

    def __init__(self, loaded: LoadedPlugins) -> None:
        self._loaded = loaded
        self.plugins: tuple[LoadedPlugin, ...] = loaded.plugins
        self.disabled: tuple[LoadedPlugin, ...] = loaded.disabled
        self.environments: Mapping[str, EnvironmentSpec] = self._table(EnvironmentSpec)
        self.rewards: Mapping[str, RewardSpec] = self._table(RewardSpec)
        self.roles: Mapping[str, RoleSpec] = self._table(RoleSpec)
        self.policy_mappings: Mapping[str, PolicyMappingSpec] = self._table(PolicyMappingSpec)
        self.observers: Mapping[str, tuple[Implementation, ...]] = MappingProxyType(
            {
                hook: tuple(
                    found for plugin in self.plugins for found in plugin.implementations if found.hook == hook
                )
                for hook in hookspecs.OBSERVERS
            }
        )

    def _table(self, kind: type[SpecT]) -> Mapping[str, SpecT]:
        specs = [spec for plugin in self.plugins for spec in plugin.of_kind(kind)]
        return MappingProxyType({spec.name: spec for spec in sorted(specs, key=lambda spec: spec.name)})

    @functools.cached_property
    def _presets(self) -> Presets:
        return read_presets(self.plugins)

    @property
    def presets(self) -> Mapping[str, PresetFile]:
        """The usable presets of all plugins by name, sorted; read when first asked for."""
        return self._presets.by_name

    @property
    def failures(self) -> tuple[PluginFailure, ...]:
        """What was left out and why: first whole plugins, then single presets."""
        return (*self._loaded.failures, *self._presets.failures)

    @property
    def versions(self) -> dict[str, str]:
        """Plugin name to the version of its distribution, for the record of a run."""
        return {plugin.name: plugin.version for plugin in self.plugins}

    def owner(self, spec_name: str) -> LoadedPlugin:
        """Return the plugin that registered the full name `spec_name`.

        Raises:
            UnknownNameError: No plugin did.
        """
        for plugin in self.plugins:
            if spec_name in plugin.spec_names:
                return plugin
        known = [name for plugin in self.plugins for name in plugin.spec_names]
        raise UnknownNameError(f"no plugin registered {spec_name!r}{did_you_mean(spec_name, known)}")

    def environment(self, name: str) -> EnvironmentSpec:
        """Return the environment `name`.

        Raises:
            UnknownNameError: There is none, or several plugins have one of this bare name.
            PluginError: It belongs to a plugin that failed or is disabled.
        """
        return self._find("environment", name, self.environments)

    def reward(self, name: str) -> RewardSpec:
        """Return the reward function `name`; raises like `environment`."""
        return self._find("reward function", name, self.rewards)

    def role(self, name: str) -> RoleSpec:
        """Return the agent role `name`; raises like `environment`."""
        return self._find("agent role", name, self.roles)

    def policy_mapping(self, name: str) -> PolicyMappingSpec:
        """Return the policy mapping `name`; raises like `environment`."""
        return self._find("policy mapping", name, self.policy_mappings)

    def preset(self, name: str) -> PresetFile:
        """Return the preset that has `name` as its name or alias.

        Raises:
            UnknownNameError: There is none.
            PluginError: It belongs to a plugin that failed or is disabled, or was itself left out.
        """
        by_any_name = {each: preset for preset in self.presets.values() for each in preset.names}
        if name in by_any_name:
            return by_any_name[name]
        if reasons := self._presets.left_out.get(name):
            raise PluginError(f"preset {name!r} cannot be used: {'; '.join(map(str, reasons))}")
        raise self._unknown("preset", name, by_any_name, firstparty.suite_of_preset(name))

    def _find(self, kind: str, name: str, table: Mapping[str, SpecT]) -> SpecT:
        if name in table:
            return table[name]
        if f"{builtin.NAMESPACE}/{name}" in table:
            return table[f"{builtin.NAMESPACE}/{name}"]
        candidates = {full for full in table if full.partition("/")[2] == name}
        members = [full for full in table if full.partition("/")[0] == name]
        if kind == "environment" and len(members) == 1:
            candidates.update(members)
        if len(candidates) == 1:
            return table[candidates.pop()]
        if candidates:
            raise UnknownNameError(
                f"{kind} {name!r} could be any of {', '.join(sorted(candidates))}; write one of them in full"
            )
        if members:
            raise UnknownNameError(f"{name!r} is a plugin; its {kind}s are {', '.join(members)}")
        known = [*table, *(full.partition("/")[2] for full in table)]
        suite = firstparty.suite_of(name) if kind == "environment" else firstparty.suite_of_namespace(name)
        raise self._unknown(kind, name, known, suite)

    def _unknown(self, kind: str, name: str, known: Iterable[str], suite: str | None) -> PettingLLMsError:
        """Say why there is no `name`: its plugin failed, is disabled or not installed; or it is misspelt."""
        asked = {name.partition("/")[0], suite}
        for failure in self._loaded.failures:
            offered = {*failure.names, *(full.partition("/")[2] for full in failure.names)}
            if failure.name in asked or name in offered:
                return PluginError(f"{kind} {name!r} is not available: {failure}")
        for plugin in self.disabled:
            if plugin.name in asked:
                return PluginError(
                    f"{kind} {name!r} is not available: the plugin {plugin.name!r} is disabled"
                )
        installed = {plugin.name for plugin in self.plugins}
        if suite is not None and suite not in installed:
            return UnknownNameError(f"{kind} {name!r} comes with {_to_install(suite)}")

        elsewhere = firstparty.names_outside(installed) if kind == "environment" else {}
        known = [*known, *elsewhere]
        matches = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        if matches:
            (match,) = matches
            where = f" it comes with {_to_install(elsewhere[match])}" if match in elsewhere else ""
            hint = f"; did you mean {match!r}?{where}"
        else:
            hint = "" if known else f"; no installed plugin provides any {kind}"
        left_out = sorted(
            {failure.name for failure in self._loaded.failures} | {p.name for p in self.disabled}
        )
        if left_out:
            hint += f" (not loaded: {', '.join(left_out)}; see: pettingllms plugins list)"
        return UnknownNameError(f"unknown {kind} {name!r}{hint}")


def registry_of_modules(modules: Mapping[str, ModuleType | object]) -> Registry:
    """Return a registry of the built-ins and of the given plugins (namespace to module) alone.

    Nothing that is installed is looked at; for tests of plugins that are not installed.

    Raises:
        PluginError: One of the plugins fails to load.
    """

    def candidate(name: str, module: object) -> Candidate:
        return Candidate(
            name=name,
            distribution="(given)",
            version=UNKNOWN_VERSION,
            module=getattr(module, "__name__", type(module).__name__),
            load=lambda: module,
        )

    found = [candidate(name, module) for name, module in modules.items()]
    return Registry(load_plugins(strict=True, candidates=found))


@functools.lru_cache(maxsize=8)
def _build(disabled: frozenset[str], strict: bool) -> Registry:
    registry = Registry(load_plugins(disabled, strict))
    if strict:
        raise_if_strict(registry.failures, strict)
    return registry


def get_registry(disabled: Iterable[str] = ()) -> Registry:
    """Return the registry of all installed plugins, built once a process for the same `disabled`.

    Raises:
        ConfigError: `disabled` names the built-ins, or an environment variable is malformed.
        PluginError: A plugin failed and ``PETTINGLLMS_STRICT_PLUGINS`` is set.
    """
    return _build(frozenset((*disabled, *disabled_by_environment())), strict_by_environment())


def forget_registry() -> None:
    """Make the next `get_registry` look at what is installed again."""
    _build.cache_clear()
