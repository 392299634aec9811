"""How fast an environment steps and how fast its tasks are made, on one core."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any

import attrs

from pettingllms.errors import ConfigError
from pettingllms.plugins.instantiate import build_environment, build_suite
from pettingllms.plugins.registry import Registry


@attrs.frozen
class EnvironmentRow:
    """One environment: acts (observe and step) a second, and seconds to make 1000 tasks."""

    name: str
    acts_per_second: float
    seconds_per_1000_tasks: float


def measure(
    registry: Registry, name: str, options: Mapping[str, Any], *, tasks: int = 1000, acts: int = 5000
) -> EnvironmentRow:
    """Make `tasks` tasks, then let random play act `acts` times.

    Raises:
        ConfigError: The environment has no random player.
    """
    spec = registry.environment(name)
    environment = build_environment(spec, options)
    suite = build_suite(spec, options)
    stray = getattr(environment, "random_response", None)
    if stray is None:
        raise ConfigError(f"{spec.name} has no random player, so its steps cannot be measured")
    count = min(tasks, suite.size("train"))
    began = time.perf_counter()
    made = [suite.task("train", index) for index in range(count)]
    making = time.perf_counter() - began

    async def play() -> int:
        rng = random.Random(0)
        done = 0
        for seed in range(acts):
            state = environment.start(made[seed % count], seed)
            while (role := environment.acting_role(state)) is not None and done < acts:
                environment.observe(state, role)
                state = (await environment.step(state, role, stray(state, role, rng))).state
                done += 1
        return done

    began = time.perf_counter()
    done = asyncio.run(play())
    return EnvironmentRow(spec.name, done / (time.perf_counter() - began), making / count * 1000)
