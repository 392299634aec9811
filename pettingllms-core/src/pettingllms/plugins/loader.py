"""Loading plugins, each in isolation: a broken one is left out and reported, never fatal.

`pluggy.PluginManager.load_setuptools_entrypoints` is not used: there one plugin that fails
to import aborts all later ones, and of two that share a name one vanishes without a word.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import re
import sys
from collections.abc import Iterable

import pluggy

from pettingllms.errors import ConfigError, PluginError, did_you_mean
from pettingllms.plugins import builtin, hookspecs
from pettingllms.plugins.discovery import Candidate, distribution_version, installed_candidates
from pettingllms.plugins.hookspecs import HOOKS
from pettingllms.plugins.lazy import describe_failure, one_line
from pettingllms.plugins.markers import PROJECT
from pettingllms.plugins.presetfiles import preset_files
from pettingllms.plugins.records import (
    Implementation,
    LoadedPlugin,
    LoadedPlugins,
    PluginFailure,
    Spec,
)

logger = logging.getLogger(__name__)

DISABLE_VARIABLE = "PETTINGLLMS_DISABLE_PLUGINS"
STRICT_VARIABLE = "PETTINGLLMS_STRICT_PLUGINS"

_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9_-]*")


def disabled_by_environment() -> tuple[str, ...]:
    """Return the plugin names in ``PETTINGLLMS_DISABLE_PLUGINS`` (separated by commas)."""
    names = os.environ.get(DISABLE_VARIABLE, "").split(",")
    return tuple(name.strip() for name in names if name.strip())


def strict_by_environment() -> bool:
    """Return what ``PETTINGLLMS_STRICT_PLUGINS`` says (``1`` or ``0``; unset is ``0``).

    Raises:
        ConfigError: It holds anything else.
    """
    value = os.environ.get(STRICT_VARIABLE, "").strip()
    if value not in ("", "0", "1"):
        raise ConfigError(f"{STRICT_VARIABLE} must be 1 or 0, not {value!r}")
    return value == "1"


def raise_if_strict(failures: Iterable[PluginFailure], strict: bool) -> None:
    """Raise a `PluginError` that names every failure when `strict` is set and there is one."""
    if strict and (texts := [str(failure) for failure in failures]):
        cause = f" ({STRICT_VARIABLE} is set)" if strict_by_environment() else ""
        raise PluginError("; ".join(texts) + cause)


def _misnamed_hook(plugin: object) -> str | None:
    """Say what is wrong with a function that looks like a hook and is not one, or None."""
    for name in dir(plugin):
        function = inspect.getattr_static(plugin, name)
        function = getattr(function, "__func__", function)
        if not inspect.isfunction(function):
            continue
        options = getattr(function, f"{PROJECT}_impl", None)
        if options is None:
            if not name.startswith(f"{PROJECT}_"):
                continue
            if name in HOOKS:
                return f"{name} lacks the @hookimpl marker"
            return f"{name} is not a hook and lacks the @hookimpl marker{did_you_mean(name, HOOKS)}"
        hook = options.get("specname") or name
        if hook not in HOOKS and not options.get("optionalhook"):
            return f"{hook} is not a hook{did_you_mean(hook, HOOKS)}"
        if options.get("wrapper") or options.get("hookwrapper"):
            return f"{hook}: wrapping implementations are not supported"
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            return f"{hook}: hooks are called synchronously; it must not be an async function"
        if hook in hookspecs.OBSERVERS and inspect.isgeneratorfunction(function):
            return f"{hook}: an observer must not be a generator function; its body would never run"
    return None


def _implementations(plugin: object, name: str) -> tuple[Implementation, ...]:
    if (problem := _misnamed_hook(plugin)) is not None:
        raise PluginError(problem)
    # A manager for every plugin: a failed registration leaves nothing behind in any other.
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin, name)
    except pluggy.PluginValidationError as error:
        raise PluginError(one_line(str(error))) from error
    return tuple(
        Implementation(name, caller.name, found.function, tuple(found.argnames))
        for caller in manager.get_hookcallers(plugin) or ()
        if caller.name in HOOKS
        for found in caller.get_hookimpls()
    )


def _collected(implementation: Implementation) -> Iterable[object]:
    expected = hookspecs.COLLECTING[implementation.hook].__name__
    values = implementation()
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise PluginError(f"must return an iterable of {expected}, not {type(values).__name__}")
    return values


def _register(implementation: Implementation, namespace: str, specs: list[Spec]) -> None:
    """Add what one collecting hook returns to `specs`, up to the first thing that is wrong."""
    kind = hookspecs.COLLECTING[implementation.hook]
    for value in _collected(implementation):
        if not isinstance(value, kind):
            raise PluginError(f"returned {_brief(value)} where {kind.__name__} is expected")
        twice = any(type(spec) is type(value) and spec.name == value.name for spec in specs)
        specs.append(value)
        if not value.name.startswith(f"{namespace}/"):
            raise PluginError(f"{value.name!r} is outside the plugin's namespace '{namespace}/'")
        if twice:
            raise PluginError(f"{value.name!r} is registered twice")


def _brief(value: object) -> str:
    text = one_line(repr(value))
    return text if len(text) <= 80 else f"{text[:77]}..."


def _load(candidate: Candidate, specs: list[Spec]) -> LoadedPlugin:
    """Load one plugin; `specs` takes what it registers, also when it fails half-way."""
    if candidate.defect:
        raise PluginError(candidate.defect)
    if not _NAMESPACE.fullmatch(candidate.name):
        raise PluginError("an entry-point name must be lower-case letters, digits, '-' and '_'")
    module_name = candidate.module.partition(":")[0].strip()
    # What a plugin prints while it loads must not end up in the middle of `--json` output.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            plugin = candidate.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit() included
            reason = describe_failure(error, module_name)
            raise PluginError(f"{candidate.module} cannot be imported: {reason}") from error
        implementations = _implementations(plugin, candidate.name)
        for implementation in implementations:
            if implementation.hook not in hookspecs.COLLECTING:
                continue
            try:
                _register(implementation, candidate.name, specs)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                reason = describe_failure(error, implementation.function.__module__)
                raise PluginError(f"{implementation.hook}: {reason}") from error
    loaded = LoadedPlugin(
        name=candidate.name,
        distribution=candidate.distribution,
        version=candidate.version,
        module=candidate.module,
        specs=tuple(specs),
        implementations=implementations,
        package=getattr(sys.modules.get(module_name), "__package__", None) or "",
    )
    if not implementations and not preset_files(loaded):
        raise PluginError(
            f"{candidate.module} implements no hook; does the entry point name the right module?"
        )
    return loaded


def _failure(candidate: Candidate, reason: str, specs: Iterable[Spec] = ()) -> PluginFailure:
    return PluginFailure(
        name=candidate.name,
        distribution=candidate.distribution,
        version=candidate.version,
        module=candidate.module,
        reason=reason,
        names=tuple(sorted({spec.name for spec in specs})),
    )


def _switched_off(candidate: Candidate) -> LoadedPlugin:
    return LoadedPlugin(
        name=candidate.name,
        distribution=candidate.distribution,
        version=candidate.version,
        module=candidate.module,
        status="disabled",
    )


def _builtin() -> LoadedPlugin:
    own = Candidate(
        name=builtin.NAMESPACE,
        distribution="pettingllms-core",
        version=distribution_version("pettingllms-core"),
        module=builtin.__name__,
        load=lambda: builtin,
    )
    return _load(own, [])


def _collision(rivals: list[Candidate]) -> str | None:
    """Say why none of several candidates with one name can be used, or None."""
    if rivals[0].name == builtin.NAMESPACE:
        return f"the name {builtin.NAMESPACE!r} belongs to pettingllms-core"
    if len(rivals) == 1:
        return None
    owners = " and ".join(f"{rival.source} ({rival.module})" for rival in rivals)
    return f"the name {rivals[0].name!r} is claimed by {owners}; none of them is used; uninstall all but one"


def load_plugins(
    disabled: Iterable[str] = (),
    strict: bool | None = None,
    candidates: Iterable[Candidate] | None = None,
) -> LoadedPlugins:
    """Load the core's built-ins and every installed plugin that is not disabled.

    Args:
        disabled: Names of plugins to leave out, besides those in ``PETTINGLLMS_DISABLE_PLUGINS``.
        strict: Whether any failure is an error. None: as ``PETTINGLLMS_STRICT_PLUGINS`` says.
        candidates: What to load in place of all that is installed.

    Raises:
        ConfigError: `disabled` names the built-ins, or an environment variable is malformed.
        PluginError: A plugin failed and `strict` holds.
    """
    strict = strict_by_environment() if strict is None else strict
    unwanted = {*disabled, *disabled_by_environment()}
    if builtin.NAMESPACE in unwanted:
        raise ConfigError(f"the built-in plugin {builtin.NAMESPACE!r} cannot be disabled")
    by_name: dict[str, list[Candidate]] = {}
    for candidate in installed_candidates() if candidates is None else candidates:
        by_name.setdefault(candidate.name, []).append(candidate)
    for name in sorted(unwanted - by_name.keys()):
        logger.warning(
            "cannot disable the plugin %r: it is not installed%s", name, did_you_mean(name, by_name)
        )

    active = [_builtin()]
    failures: list[PluginFailure] = []
    switched_off: list[LoadedPlugin] = []
    for name, rivals in sorted(by_name.items()):
        rivals.sort(key=lambda rival: (rival.distribution, rival.module))
        if name in unwanted:
            switched_off.extend(_switched_off(rival) for rival in rivals)
            continue
        if (collision := _collision(rivals)) is not None:
            failures.extend(_failure(rival, collision) for rival in rivals)
            continue
        (candidate,) = rivals
        specs: list[Spec] = []
        try:
            active.append(_load(candidate, specs))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may also be an object that raises when it is looked at
            logger.debug("plugin %s (%s) is left out", name, candidate.source, exc_info=error)
            failures.append(_failure(candidate, describe_failure(error, candidate.module), specs))
    raise_if_strict(failures, strict)
    return LoadedPlugins(
        plugins=tuple(sorted(active, key=lambda plugin: plugin.name)),
        failures=tuple(failures),
        disabled=tuple(switched_off),
    )
