"""Warm start: clone the environment's expert, so that reinforcement learning has something to prefer."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

import attrs

from pettingllms.env.base import Environment
from pettingllms.env.suite import TaskSuite
from pettingllms.env.types import Message
from pettingllms.errors import ConfigError, EnvironmentFault, PettingLLMsError
from pettingllms.policy.chat import TokenizerCodec
from pettingllms.policy.imitation import Demonstrated
from pettingllms.rollout.types import derive_seed

S = TypeVar("S")


@attrs.frozen
class Demonstration:
    """What the expert answers to one prompt."""

    role: str
    messages: tuple[Message, ...]
    response: str


def demonstrate(
    environment: Environment[S],
    suite: TaskSuite,
    system_prompts: Mapping[str, str],
    *,
    num_tasks: int,
    noise: float,
    seed: int,
    to_clone: bool = True,
) -> list[Demonstration]:
    """Let the expert play the first `num_tasks` tasks of the train split in every seat.

    With probability `noise` the episode follows a random response instead of the expert's (the demonstration
    is the expert's all the same), so that the clone also sees states that it will get itself into.

    Args:
        environment: The rules.
        suite: The tasks.
        system_prompts: What every role is told.
        num_tasks: How many tasks are played.
        noise: See above.
        seed: Of the choices.
        to_clone: Whether the responses will be cloned; if not, random play or silence may stand in.

    Raises:
        ConfigError: The environment has no expert.
        EnvironmentFault: The environment or its expert raised, or an episode does not end.
    """
    stray = getattr(environment, "random_response", None)
    expert = getattr(environment, "expert", None)
    if expert is None:
        if to_clone:
            raise ConfigError("this environment has no expert to clone; set warm_start.steps = 0")

        def expert(state: S, role: str) -> str:
            return "" if stray is None else str(stray(state, role, rng))

    rng = random.Random(derive_seed(seed, "demonstrate"))

    async def play(index: int) -> list[Demonstration]:
        task = suite.task("train", index)
        state = environment.start(task, derive_seed(seed, "demonstrate", index))
        found: list[Demonstration] = []
        while (role := environment.acting_role(state)) is not None:
            if len(found) >= environment.max_turns * len(environment.roles):
                raise ValueError(f"the episode goes on after max_turns = {environment.max_turns}")
            response = expert(state, role)
            if response is None:  # a stray response has lost the task: nothing to learn from here on
                break
            system = (Message("system", system_prompts[role]),) if system_prompts[role] else ()
            found.append(Demonstration(role, (*system, *environment.observe(state, role).messages), response))
            if stray is not None and rng.random() < noise:
                response = stray(state, role, rng)
            state = (await environment.step(state, role, response)).state
        return found

    async def play_all() -> list[Demonstration]:
        found: list[Demonstration] = []
        for index in range(min(num_tasks, suite.size("train"))):
            try:
                found += await play(index)
            except PettingLLMsError:
                raise
            except Exception as error:
                text = " ".join(f"{type(error).__name__}: {error}".split())
                raise EnvironmentFault(
                    f"the expert's play of train task {index} failed with {text}"
                ) from error
        if not found:
            raise EnvironmentFault("the train split holds no task in which a role acts")
        return found

    return asyncio.run(play_all())


def batches_of(
    demonstrations: Sequence[Demonstration], codec: TokenizerCodec, *, steps: int, batch_size: int, seed: int
) -> list[list[Demonstrated]]:
    """Return what each of `steps` optimiser steps fits; every pass has a new seeded order."""
    items = [
        Demonstrated(codec.encode(demonstration.messages), codec.response_ids(demonstration.response))
        for demonstration in demonstrations
    ]
    rng = random.Random(derive_seed(seed, "clone"))
    order: list[Demonstrated] = []
    for _ in range(math.ceil(steps * batch_size / len(items))):
        order.extend(rng.sample(items, len(items)))
    return [order[i * batch_size : (i + 1) * batch_size] for i in range(steps)]


def texts_of(demonstrations: Sequence[Demonstration]) -> list[str]:
    """Return all text of the demonstrations, for a tokenizer to be trained on."""
    return [
        text
        for demonstration in demonstrations
        for text in (*(message.content for message in demonstration.messages), demonstration.response)
    ]
