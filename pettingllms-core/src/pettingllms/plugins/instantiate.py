"""Specs and plain option values into environments, suites and reward functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from pettingllms.config.structure import structure
from pettingllms.env.base import Environment
from pettingllms.env.suite import TaskSuite
from pettingllms.errors import PettingLLMsError, PluginError
from pettingllms.plugins.lazy import load_object
from pettingllms.plugins.specs import EnvironmentSpec, RewardSpec, RoleSpec
from pettingllms.team.reward import RewardFunction
from pettingllms.team.roles import AgentRole

T = TypeVar("T")


def build_options(cls: type[T], values: Mapping[str, Any] | T, path: str = "env.options") -> T:
    """Return `values` as the options class `cls`, without any coercion.

    Args:
        cls: An attrs class.
        values: Plain values by field name, or an instance of `cls`.
        path: Where the values stand in the configuration; used in errors.

    Raises:
        ConfigError: An unknown key, a wrong type or a refused value, with its dotted path.
        PluginError: `cls` is not an attrs class.
    """
    if not (isinstance(cls, type) and attrs.has(cls)):
        raise PluginError(f"{path}: {cls!r} must be an attrs class")
    kind: Any = cls  # attrs.has narrows the class to an attrs type that T does not know
    made: T = structure(values, kind, path)
    return made


def load_class(reference: str, owner: str) -> type[Any]:
    """Return the attrs or plain class that `reference` names for `owner`.

    Raises:
        PluginError: The reference cannot be imported or is not a class.
    """
    found = load_object(reference)
    if not isinstance(found, type):
        raise PluginError(f"{owner}: {reference} is a {type(found).__name__}, not a class")
    return found


def environment_options(spec: EnvironmentSpec, values: Mapping[str, Any] | object) -> Any:
    """Return the options of `spec` from plain values (or an instance of its options class)."""
    return build_options(load_class(spec.options, spec.name), values)


def build_environment(spec: EnvironmentSpec, options: Mapping[str, Any] | object) -> Environment[Any]:
    """Return the environment of `spec` under `options` (plain values or an options instance).

    Raises:
        ConfigError: The options are wrong.
        PluginError: The class cannot be imported or made, or is no `Environment`.
    """
    made = environment_options(spec, options)
    factory = load_class(spec.factory, spec.name)
    environment: Environment[Any] = _make(spec.name, "environment", Environment, factory, made)
    return environment


def build_suite(
    spec: EnvironmentSpec,
    options: Mapping[str, Any] | object,
    num_tasks: int | None = None,
    seed: int = 0,
) -> TaskSuite:
    """Return the task suite of `spec`.

    Args:
        spec: The environment.
        options: Its options, plain values or an options instance.
        num_tasks: Bound of the train split; None leaves the suite's own size.
        seed: Selects the train split; validation and test do not depend on it.

    Raises:
        ConfigError: The options are wrong.
        PluginError: The class cannot be imported or made, or is no `TaskSuite`.
    """
    made = environment_options(spec, options)
    factory = load_class(spec.suite, spec.name)
    suite: TaskSuite = _make(
        spec.name, "task suite", TaskSuite, factory, made, num_tasks=num_tasks, seed=seed
    )
    return suite


def build_reward(spec: RewardSpec, options: Mapping[str, Any] | object) -> RewardFunction:
    """Return the reward function of `spec` under `options` (plain values or an options instance).

    Raises:
        ConfigError: The options are wrong.
        PluginError: The class cannot be imported or made, or is no `RewardFunction`.
    """
    made = build_options(load_class(spec.options, spec.name), options, "env.reward_options")
    factory = load_class(spec.factory, spec.name)
    reward: RewardFunction = _make(spec.name, "reward function", RewardFunction, factory, made)
    return reward


def build_role(spec: RoleSpec) -> AgentRole:
    """Return the role constant that `spec` names.

    Raises:
        PluginError: It cannot be imported or is not an `AgentRole`.
    """
    role = load_object(spec.role)
    if not isinstance(role, AgentRole):
        raise PluginError(f"role {spec.name!r}: {spec.role} is a {type(role).__name__}, not an AgentRole")
    return role


def _make(name: str, what: str, protocol: Any, factory: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        made = factory(*args, **kwargs)
    except PettingLLMsError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise PluginError(f"{what} {name!r} cannot be made: {type(error).__name__}: {text}") from error
    if not isinstance(made, protocol):
        wanted = sorted(getattr(protocol, "__protocol_attrs__", ()) or _members(protocol))
        missing = [member for member in wanted if not hasattr(made, member)]
        raise PluginError(f"{what} {name!r}: {type(made).__name__} lacks {', '.join(missing)}")
    return made


def _members(protocol: Any) -> list[str]:
    names = [*vars(protocol), *getattr(protocol, "__annotations__", {})]
    return [name for name in names if name == "__call__" or not name.startswith("_")]
