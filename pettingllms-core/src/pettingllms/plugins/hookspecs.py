"""Every hook that a plugin may implement.

Four *collecting* hooks say what a plugin brings; five *observers* tell it how a run goes.
An implementation carries the `hookimpl` marker and may leave out arguments that it does
not need. All hooks are plain synchronous functions. None of them is ``firstresult``,
``historic`` or a wrapper, and none takes a wrapping implementation: every implementation
is called on its own, plugin by plugin in the order of their names, so that one that
raises harms no other (pluggy's ``tryfirst`` and ``trylast`` have no effect).
Hooks run at start and once or twice an iteration, never per turn or token.

A whole plugin, in a module that the distribution names under the entry-point group
``pettingllms`` (``mine = "my_package.plugin"``)::

    from pettingllms.api import EnvironmentSpec, RewardSpec, RoleSpec, hookimpl

    @hookimpl
    def pettingllms_register_environments():
        return [
            EnvironmentSpec(
                name="mine/counting",
                factory="my_package.counting:Counting",
                suite="my_package.counting:CountingSuite",
                state="my_package.counting:CountingState",
                roles={"counter": "mine/counter"},
                reward="mine/counting",
            )
        ]

    @hookimpl
    def pettingllms_register_reward_functions():
        return [
            RewardSpec(
                name="mine/counting",
                factory="my_package.counting:CountingReward",
                options="my_package.counting:CountingRewardOptions",
            )
        ]

    @hookimpl
    def pettingllms_register_agent_roles():
        return [RoleSpec(name="mine/counter", role="my_package.counting:COUNTER")]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pettingllms.plugins.events import IterationReport, RolloutSummary, RunInfo
from pettingllms.plugins.markers import hookspec
from pettingllms.plugins.specs import EnvironmentSpec, PolicyMappingSpec, RewardSpec, RoleSpec


@hookspec
def pettingllms_register_environments() -> Iterable[EnvironmentSpec]:
    """Declare the environments of this plugin.

    Called once in a process, when the registry is built: on the driver, and in any other
    process that looks up names. Must be cheap: name classes by string, import none of them.

    Example::

        @hookimpl
        def pettingllms_register_environments():
            yield EnvironmentSpec(
                name="mine/counting",
                factory="my_package.counting:Counting",
                suite="my_package.counting:CountingSuite",
                state="my_package.counting:CountingState",
                roles={"counter": "mine/counter"},
                reward="mine/counting",
            )

    Returns:
        Specs with different names, all in this plugin's namespace (its entry-point name).
    """
    return ()


@hookspec
def pettingllms_register_reward_functions() -> Iterable[RewardSpec]:
    """Declare the reward functions of this plugin.

    Called once in a process, when the registry is built: on the driver, and in any other
    process that looks up names. Must be cheap: name classes by string, import none of them.

    Example::

        @hookimpl
        def pettingllms_register_reward_functions():
            yield RewardSpec(
                name="mine/counting",
                factory="my_package.counting:CountingReward",
                options="my_package.counting:CountingRewardOptions",
            )

    Returns:
        Specs with different names, all in this plugin's namespace (its entry-point name).
    """
    return ()


@hookspec
def pettingllms_register_agent_roles() -> Iterable[RoleSpec]:
    """Declare the agent roles of this plugin.

    Called once in a process, when the registry is built: on the driver, and in any other
    process that looks up names. Must be cheap: name the `AgentRole` constants by string.

    Example::

        @hookimpl
        def pettingllms_register_agent_roles():
            yield RoleSpec(name="mine/counter", role="my_package.counting:COUNTER")

    Returns:
        Specs with different names, all in this plugin's namespace (its entry-point name).
    """
    return ()


@hookspec
def pettingllms_register_policy_mappings() -> Iterable[PolicyMappingSpec]:
    """Declare the policy mappings of this plugin.

    Called once in a process, when the registry is built: on the driver, and in any other
    process that looks up names. Must be cheap: name the `PolicyMapping` functions by string.

    Example::

        @hookimpl
        def pettingllms_register_policy_mappings():
            yield PolicyMappingSpec(name="mine/by_skill", mapping="my_package.mapping:by_skill")

    Returns:
        Specs with different names, all in this plugin's namespace (its entry-point name).
    """
    return ()


@hookspec
def pettingllms_configure(config: Mapping[str, Any]) -> None:
    """Look at the resolved configuration before anything is built from it.

    Called once a run, on the driver only. This is the one observer that can stop a run:
    a `ConfigError` that it raises ends the run with that line. Any other exception is
    logged and counted.

    Example::

        @hookimpl
        def pettingllms_configure(config):
            if config["training"]["batch_size"] > 128:
                raise ConfigError("training.batch_size: mine serves 128 tasks at most")

    Args:
        config: A copy of the configuration as plain data; changing it changes nothing.
    """


@hookspec
def pettingllms_run_started(run: RunInfo) -> None:
    """Take note that a run starts.

    Called once a run, on the driver only, when its folder exists and before the first
    iteration; a resumed run calls it again. What it raises is logged and counted.

    Example::

        @hookimpl
        def pettingllms_run_started(run):
            print("training", run.environment, "in", run.run_dir)

    Args:
        run: The run.
    """


@hookspec
def pettingllms_rollouts_finished(summary: RolloutSummary) -> None:
    """Take note that the episodes of an iteration are collected.

    Called once an iteration, on the driver only, before the policies are updated.
    What it raises is logged and counted.

    Example::

        @hookimpl
        def pettingllms_rollouts_finished(summary):
            print(summary.iteration, sorted(summary.metrics))

    Args:
        summary: The iteration and what was measured while sampling.
    """


@hookspec
def pettingllms_iteration_finished(report: IterationReport) -> None:
    """Take note that an iteration is done.

    Called once an iteration, on the driver only, after the updates, and after validation
    when one was due. What it raises is logged and counted.

    Example::

        @hookimpl
        def pettingllms_iteration_finished(report):
            print(report.iteration, sorted(report.metrics))

    Args:
        report: The iteration and all that was measured in it.
    """


@hookspec
def pettingllms_run_finished(run: RunInfo, error: BaseException | None) -> None:
    """Take note that a run has ended, well or not.

    Called once for every `pettingllms_run_started`, on the driver only, also when the run
    is interrupted or fails. What it raises is logged and counted.

    Example::

        @hookimpl
        def pettingllms_run_finished(run, error):
            print(run.run_dir, "failed" if error else "done")

    Args:
        run: The run.
        error: What ended it, or None when it came to its end.
    """


COLLECTING: Mapping[str, type[EnvironmentSpec | RewardSpec | RoleSpec | PolicyMappingSpec]] = {
    "pettingllms_register_environments": EnvironmentSpec,
    "pettingllms_register_reward_functions": RewardSpec,
    "pettingllms_register_agent_roles": RoleSpec,
    "pettingllms_register_policy_mappings": PolicyMappingSpec,
}
"""Collecting hook to the spec class that it returns."""

OBSERVERS: tuple[str, ...] = (
    "pettingllms_configure",
    "pettingllms_run_started",
    "pettingllms_rollouts_finished",
    "pettingllms_iteration_finished",
    "pettingllms_run_finished",
)
"""The observers, in the order in which a run calls them."""

HOOKS: tuple[str, ...] = (*COLLECTING, *OBSERVERS)
"""All hooks."""
