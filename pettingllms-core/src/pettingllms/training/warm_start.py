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
from pettingllms.errors import ConfigError
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
) -> list[Demonstration]:
    """Let the expert play the first `num_tasks` tasks of the train split in every seat.

    With probability `noise` the episode follows a random response instead of the expert's (the demonstration is
    the expert's all the same), so that the clone also sees states that it will get itself into.

    Raises:
        ConfigError: The environment has no expert.
    """
    expert = getattr(environment, "expert", None)
    if expert is None:
        raise ConfigError("this environment has no expert to clone; set warm_start.steps = 0")
    stray = getattr(environment, "random_response", None)
    rng = random.Random(derive_seed(seed, "demonstrate"))

    async def play(index: int) -> list[Demonstration]:
        task = suite.task("train", index)
        state = environment.start(task, derive_seed(seed, "demonstrate", index))
        found = []
        while (role := environment.acting_role(state)) is not None:
            response = expert(state, role)
            system = (Message("system", system_prompts[role]),) if system_prompts[role] else ()
            found.append(
                Demonstration(role, (*system, *environment.observe(state, role).messages), response)
            )
            if stray is not None and rng.random() < noise:
                response = stray(state, role, rng)
            state = (await environment.step(state, role, response)).state
        return found

    async def play_all() -> list[Demonstration]:
        count = min(num_tasks, suite.size("train"))
        return [demonstration for index in range(count) for demonstration in await play(index)]

    return asyncio.run(play_all())


def batches_of(
    demonstrations: Sequence[Demonstration], codec: TokenizerCodec, *, steps: int, batch_size: int, seed: int
) -> list[list[Demonstrated]]:
    """Return what each of `steps` optimiser steps fits: all demonstrations in a new seeded order every pass."""
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
