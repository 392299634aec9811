"""What loading plugins results in: plain frozen values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import attrs

from pettingllms.plugins.hookspecs import HOOKS
from pettingllms.plugins.specs import EnvironmentSpec, PolicyMappingSpec, RewardSpec, RoleSpec

Spec = EnvironmentSpec | RewardSpec | RoleSpec | PolicyMappingSpec
SpecT = TypeVar("SpecT", EnvironmentSpec, RewardSpec, RoleSpec, PolicyMappingSpec)


@attrs.frozen
class Implementation:
    """One plugin's implementation of one hook."""

    plugin: str
    hook: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]

    def __call__(self, **values: object) -> Any:
        """Call it with those of `values` that it takes."""
        return self.function(**{name: values[name] for name in self.arguments})


@attrs.frozen(kw_only=True)
class LoadedPlugin:
    """A plugin that works, or one that was switched off and not imported.

    Attributes:
        name: Its entry-point name, which is the namespace of all that it registers.
        distribution: Name of the distribution that brings it.
        version: Version of that distribution.
        module: What the entry point names.
        status: ``"active"`` or ``"disabled"``.
        specs: All that it registers, in the order of the hooks.
        implementations: The hooks that it implements.
        package: The importable package that its module lies in, or an empty string.
    """

    name: str
    distribution: str
    version: str
    module: str
    status: Literal["active", "disabled"] = "active"
    specs: tuple[Spec, ...] = ()
    implementations: tuple[Implementation, ...] = attrs.field(default=(), repr=False)
    package: str = ""

    @property
    def hooks(self) -> tuple[str, ...]:
        """Names of the hooks that it implements, in the order of `hookspecs.HOOKS`."""
        mine = {implementation.hook for implementation in self.implementations}
        return tuple(hook for hook in HOOKS if hook in mine)

    @property
    def spec_names(self) -> tuple[str, ...]:
        """Full names of all that it registers, each once, sorted."""
        return tuple(sorted({spec.name for spec in self.specs}))

    def of_kind(self, kind: type[SpecT]) -> tuple[SpecT, ...]:
        """Return its specs of one class, sorted by name."""
        found = [spec for spec in self.specs if isinstance(spec, kind)]
        return tuple(sorted(found, key=lambda spec: spec.name))


@attrs.frozen(kw_only=True)
class PluginFailure:
    """A plugin that was left out, or a preset of it that was.

    Attributes:
        name: The plugin's entry-point name.
        distribution: Name of the distribution that brings it.
        version: Version of that distribution.
        module: What the entry point names.
        reason: What is wrong, in one line.
        names: Full names that it tried to register before it failed.
    """

    name: str
    distribution: str
    version: str
    module: str
    reason: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution} {self.version}): {self.reason}"


@attrs.frozen(kw_only=True)
class LoadedPlugins:
    """All plugins that were found, each of the three tuples sorted by name."""

    plugins: tuple[LoadedPlugin, ...]
    failures: tuple[PluginFailure, ...]
    disabled: tuple[LoadedPlugin, ...]
