"""What a plugin registers: frozen specs that name their classes as ``"package.module:Name"``.

A spec imports nothing until it is selected, and travels to a worker as plain data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from pettingllms.errors import PluginError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*/[a-z0-9][a-z0-9_-]*")
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def _name(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise PluginError(
            f"{type(instance).__name__} name {value!r} must look like 'namespace/name' "
            "(lower case, digits, '-', '_')"
        )


def _reference(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        raise PluginError(
            f"{type(instance).__name__} {getattr(instance, 'name', '?')!r}: {attribute.name} "
            f"{value!r} must look like 'package.module:Name'"
        )


@attrs.frozen(kw_only=True)
class EnvironmentSpec:
    """An environment and its tasks.

    Attributes:
        name: ``namespace/name``; the namespace is the plugin's entry-point name.
        factory: The `Environment` class, made as ``Class(options)``.
        suite: The `TaskSuite` class, made as ``Class(options, num_tasks=..., seed=...)``.
        state: The attrs class of its states, for records and replay.
        options: The attrs class of its options (extends `EnvironmentOptions`).
        roles: Default `RoleSpec` name of every seat the environment may name.
        reward: Default `RewardSpec` name.
        preset: Preset of the same plugin that ``--env`` alone starts from; empty for none.
        summary: One line for listings.
    """

    name: str = attrs.field(validator=_name)
    factory: str = attrs.field(validator=_reference)
    suite: str = attrs.field(validator=_reference)
    state: str = attrs.field(validator=_reference)
    options: str = attrs.field(default="pettingllms.env.base:EnvironmentOptions", validator=_reference)
    roles: Mapping[str, str]
    reward: str
    preset: str = ""
    summary: str = ""


@attrs.frozen(kw_only=True)
class RewardSpec:
    """A reward function, made as ``Class(options)`` with its attrs class of options."""

    name: str = attrs.field(validator=_name)
    factory: str = attrs.field(validator=_reference)
    options: str = attrs.field(validator=_reference)
    summary: str = ""


@attrs.frozen(kw_only=True)
class RoleSpec:
    """An `AgentRole` constant."""

    name: str = attrs.field(validator=_name)
    role: str = attrs.field(validator=_reference)
    summary: str = ""


@attrs.frozen(kw_only=True)
class PolicyMappingSpec:
    """A `PolicyMapping` function."""

    name: str = attrs.field(validator=_name)
    mapping: str = attrs.field(validator=_reference)
    summary: str = ""
