"""Warm start: clone the environment's expert, so that reinforcement learning has something to prefer."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

import attrs

from pettingllms.algorithm.estimators import PromptGroup, TrainSample
from pettingllms.env.base import Environment
from pettingllms.env.suite import TaskSuite
from pettingllms.env.types import Message
from pettingllms.errors import ConfigError
from pettingllms.policy.chat import TokenizerCodec
from pettingllms.policy.learner import Learner
from pettingllms.rollout.types import Sample, derive_seed

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


def clone(
    learner: Learner,
    demonstrations: Sequence[Demonstration],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> list[float]:
    """Fit `learner` to the demonstrations; return the loss of every step (nats a token)."""
    groups = [_as_group(learner.loaded.codec, demonstration) for demonstration in demonstrations]
    rng = random.Random(derive_seed(seed, "clone"))
    order: list[PromptGroup] = []
    for _ in range(math.ceil(steps * batch_size / len(groups))):
        order.extend(rng.sample(groups, len(groups)))
    batches = [order[i * batch_size : (i + 1) * batch_size] for i in range(steps)]
    return learner.clone_behaviour(batches, learning_rate)


def _as_group(codec: TokenizerCodec, demonstration: Demonstration) -> PromptGroup:
    ids = codec.response_ids(demonstration.response)
    sample = Sample(token_ids=ids, logprobs=(0.0,) * len(ids), finish_reason="stop", policy_version=0)
    return PromptGroup(
        policy="",
        role=demonstration.role,
        prompt_ids=codec.encode(demonstration.messages),
        samples=(TrainSample(sample, 0.0),),
        temperature=1.0,
    )


def texts_of(demonstrations: Sequence[Demonstration]) -> list[str]:
    """Return all text of the demonstrations, for a tokenizer to be trained on."""
    return [
        text
        for demonstration in demonstrations
        for text in (*(message.content for message in demonstration.messages), demonstration.response)
    ]
