"""Is an environment what the engine takes it for, as ``pettingllms envs check NAME`` asks.

`check_environment` plays an environment with its expert, at random, in silence and with garbage, then
looks at what was recorded: purity, isolation of branches, JSON, turn order, rewards, splits.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pettingllms.config.structure import to_plain
from pettingllms.errors import ConfigError, PettingLLMsError
from pettingllms.plugins.instantiate import (
    build_environment,
    build_reward,
    build_suite,
    environment_options,
    load_class,
)
from pettingllms.plugins.specs import EnvironmentSpec, RewardSpec
from pettingllms.testing import checks_play as play_module
from pettingllms.testing.checks import (
    CheckFailedError,
    CheckResult,
    CheckSkippedError,
    ConformanceReport,
    Status,
)
from pettingllms.testing.checks_play import CallFaultError, Case, Parts, Player, Probe, pick_tasks, play
from pettingllms.testing.checks_purity import (
    branch_isolation,
    immutable_state,
    json_round_trip,
    process_purity,
    purity,
    replay,
)
from pettingllms.testing.checks_rules import (
    any_text_is_legal,
    declaration,
    facts,
    observations,
    outcomes,
    rendering,
    termination,
    turn_order,
)
from pettingllms.testing.checks_tasks import (
    expert_succeeds,
    random_mostly_fails,
    rewards,
    seed_purity,
    split_disjointness,
)

if TYPE_CHECKING:
    from pettingllms.plugins.registry import Registry

_RANDOM_EPISODES = 24

Check = Callable[[Case], Awaitable[str]]

CHECKS: dict[str, Check] = {
    "declaration": declaration,
    "any-text-is-legal": any_text_is_legal,
    "termination": termination,
    "turn-order": turn_order,
    "observations": observations,
    "facts": facts,
    "outcomes": outcomes,
    "immutable-state": immutable_state,
    "purity": purity,
    "branch-isolation": branch_isolation,
    "json": json_round_trip,
    "replay": replay,
    "process-purity": process_purity,
    "seed-purity": seed_purity,
    "split-disjointness": split_disjointness,
    "rewards": rewards,
    "expert": expert_succeeds,
    "random-play": random_mostly_fails,
    "render": rendering,
}
"""Every check by its name, in the order they run."""


def parts_of(
    spec: EnvironmentSpec,
    options: Mapping[str, Any] | object | None = None,
    *,
    reward: RewardSpec | None = None,
    reward_options: Mapping[str, Any] | object | None = None,
) -> Parts:
    """Return what the kit checks for `spec` under `options` (plain values or an options instance).

    Raises:
        ConfigError: The options are wrong.
        PluginError: A class cannot be imported or made.
    """
    made = environment_options(spec, {} if options is None else options)
    build_environment(spec, made)  # a class that cannot be made is said at once
    if reward is not None:
        build_reward(reward, reward_options or {})
    return Parts(
        name=spec.name,
        make_environment=lambda: build_environment(spec, made),
        make_suite=lambda num_tasks, seed: build_suite(spec, made, num_tasks, seed),
        state=load_class(spec.state, spec.name),
        declared_roles=tuple(spec.roles),
        make_reward=None if reward is None else lambda: build_reward(reward, reward_options or {}),
        spec=spec,
        options=to_plain(made),
    )


def check_environment(
    environment: str | EnvironmentSpec | Parts,
    *,
    options: Mapping[str, Any] | object | None = None,
    reward_options: Mapping[str, Any] | object | None = None,
    episodes: int = 9,
    seed: int = 0,
    max_tasks: int = 60,
    reward_bound: float = 100.0,
    registry: Registry | None = None,
) -> ConformanceReport:
    """Check an environment and return what was found; nothing that it does wrong raises.

    Args:
        environment: A registered name, a spec, or the parts themselves.
        options: Environment options, plain values or an instance; not used with `Parts`.
        reward_options: The same for the default reward.
        episodes: Tasks that each kind of player plays, spread over the splits;
            random play has 24 episodes or more.
        seed: Seed of the suite and of every choice of the kit.
        max_tasks: Tasks of each split that are compared with the other splits.
        reward_bound: Largest size of a reward and of its parts.
        registry: Where names and the default reward are looked up; None: the installed plugins.

    Raises:
        ConfigError: The options are wrong, or a file that they name.
        PluginError: The environment cannot be imported or made.
        UnknownNameError: No plugin has that name.
    """
    if not isinstance(environment, Parts):
        environment = _resolve(environment, options, reward_options, registry)
    checking = _check(environment, max(1, episodes), seed, max_tasks, reward_bound)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(checking)
    with ThreadPoolExecutor(1) as pool:  # called from an async test, whose loop cannot be entered twice
        return pool.submit(asyncio.run, checking).result()


def _resolve(
    environment: str | EnvironmentSpec,
    options: Mapping[str, Any] | object | None,
    reward_options: Mapping[str, Any] | object | None,
    registry: Registry | None,
) -> Parts:
    if registry is None:
        from pettingllms.plugins.registry import get_registry

        registry = get_registry()
    spec = registry.environment(environment) if isinstance(environment, str) else environment
    reward = registry.reward(spec.reward)
    return parts_of(spec, options, reward=reward, reward_options=reward_options)


async def _check(
    parts: Parts, episodes: int, seed: int, max_tasks: int, reward_bound: float
) -> ConformanceReport:
    before, began = random.getstate(), time.perf_counter()
    try:
        case = Case(
            parts=parts,
            episodes=episodes,
            seed=seed,
            max_tasks=max_tasks,
            reward_bound=reward_bound,
            env=Probe(parts.make_environment()),
            suite=parts.make_suite(max_tasks, seed),
        )
    except ConfigError:
        raise  # the options are wrong, or what they name: that is for whoever set them to mend
    except Exception as error:
        case = None
        results = [_result("declaration", "fail", _said(error), began)]
    if case is not None:
        case.suite_touched_random = random.getstate() != before
        results = [await _run("declaration", CHECKS["declaration"], case)]
    if case is None or results[0].status == "fail":
        results += [
            CheckResult(name, "skipped", "the environment could not be set up (see declaration)")
            for name in CHECKS
            if name != "declaration"
        ]
    else:
        fault = await _play_all(case)
        for name, check in CHECKS.items():
            if name == "declaration":
                continue
            if fault is not None and name == "split-disjointness":
                results.append(_result(name, "fail", fault, time.perf_counter()))
            else:
                results.append(await _run(name, check, case))
    return ConformanceReport(parts.name, tuple(results), episodes, seed, parts.options)


async def _play_all(case: Case) -> str | None:
    """Record the episodes that the checks look at; return what was wrong with the tasks, if anything."""
    players: list[Player] = [play_module.garbage, play_module.silent, play_module.mixed]
    if case.env.can("expert"):
        players.append(play_module.expert)
    try:
        tasks = pick_tasks(case.suite, case.episodes)
    except Exception as error:
        return f"a task cannot be made: {_said(error)}"
    for number, (split, task) in enumerate(tasks):
        for player in players:
            rng = case.rng(f"{player.__name__} {number}")
            case.traces.append(await play(case.env, split, task, case.seed + number, player, rng))
    if case.env.can("random_response"):
        # A success rate needs more episodes than there may be tasks: they are played again.
        for number in range(max(len(tasks), _RANDOM_EPISODES)):
            split, task = tasks[number % len(tasks)]
            rng = case.rng(f"random {number}")
            player = play_module.at_random
            case.traces.append(await play(case.env, split, task, case.seed + number, player, rng))
    return None


async def _run(name: str, check: Check, case: Case) -> CheckResult:
    began = time.perf_counter()
    try:
        return _result(name, "pass", await check(case), began)
    except CheckFailedError as failed:
        return _result(name, "fail", failed.detail, began, failed.evidence)
    except CheckSkippedError as skipped:
        return _result(name, "skipped", str(skipped), began)
    except (CallFaultError, PettingLLMsError) as error:
        return _result(name, "fail", str(error), began)
    except Exception as error:
        return _result(name, "fail", _said(error), began)


def _result(
    name: str, status: Status, detail: str, began: float, evidence: Mapping[str, Any] | None = None
) -> CheckResult:
    return CheckResult(name, status, detail, evidence or {}, time.perf_counter() - began)


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
