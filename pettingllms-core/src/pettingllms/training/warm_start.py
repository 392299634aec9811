"""Warm start: clone the environment's expert, so that reinforcement learning has something to prefer."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

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
    """What was answered to one prompt."""

    role: str
    messages: tuple[Message, ...]
    response: str


def has_expert(environment: Environment[Any]) -> bool:
    """Tell whether `environment` has an expert to clone."""
    return getattr(environment, "expert", None) is not None


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

    With probability `noise` the episode follows a random response instead of the expert's (the demonstration
    is the expert's all the same), so that the clone also sees states that it will get itself into. An episode
    ends early where such a response has lost the task: the expert has nothing to show from there on.

    Args:
        environment: The rules.
        suite: The tasks.
        system_prompts: What every role is told.
        num_tasks: How many tasks are played.
        noise: See above.
        seed: Of the choices.

    Raises:
        ConfigError: The environment has no expert.
        EnvironmentFault: The environment or its expert raised, the expert gave up on every task at once, or
            an episode does not end.
    """
    expert = getattr(environment, "expert", None)
    if expert is None:
        raise ConfigError("this environment has no expert to clone; set warm_start.steps = 0")
    stray = getattr(environment, "random_response", None)
    rng = random.Random(derive_seed(seed, "demonstrate"))

    def respond(state: S, role: str) -> tuple[str | None, str | None]:
        shown = followed = expert(state, role)
        if shown is not None and stray is not None and rng.random() < noise:
            followed = stray(state, role, rng)
        return shown, followed

    return asyncio.run(
        _play(environment, suite, system_prompts, respond, num_tasks, seed, "the expert's play")
    )


def wander(
    environment: Environment[S],
    suite: TaskSuite,
    system_prompts: Mapping[str, str],
    *,
    num_tasks: int,
    seed: int,
) -> list[Demonstration]:
    """Play the first `num_tasks` tasks of the train split at random, or in silence without a random player.

    What is seen on the way is what a tokenizer is trained on where no expert shows better.

    Args:
        environment: The rules.
        suite: The tasks.
        system_prompts: What every role is told.
        num_tasks: How many tasks are played.
        seed: Of the choices.

    Raises:
        EnvironmentFault: The environment raised, or an episode does not end.
    """
    stray = getattr(environment, "random_response", None)
    rng = random.Random(derive_seed(seed, "wander"))

    def respond(state: S, role: str) -> tuple[str, str]:
        response = "" if stray is None else str(stray(state, role, rng))
        return response, response

    what = "play in silence" if stray is None else "random play"
    return asyncio.run(_play(environment, suite, system_prompts, respond, num_tasks, seed, what))


async def _play(
    environment: Environment[S],
    suite: TaskSuite,
    system_prompts: Mapping[str, str],
    respond: Callable[[S, str], tuple[str | None, str | None]],
    num_tasks: int,
    seed: int,
    what: str,
) -> list[Demonstration]:
    """Play tasks with `respond`, which returns what to show and what to follow; None ends the episode."""

    async def episode(index: int) -> list[Demonstration]:
        state = environment.start(suite.task("train", index), derive_seed(seed, "demonstrate", index))
        found: list[Demonstration] = []
        while (role := environment.acting_role(state)) is not None:
            if len(found) >= environment.max_turns * len(environment.roles):
                raise ValueError(f"the episode goes on after max_turns = {environment.max_turns}")
            shown, followed = respond(state, role)
            if shown is None or followed is None:
                break
            system = (Message("system", system_prompts[role]),) if system_prompts[role] else ()
            found.append(Demonstration(role, (*system, *environment.observe(state, role).messages), shown))
            state = (await environment.step(state, role, followed)).state
        return found

    found: list[Demonstration] = []
    for index in range(min(num_tasks, suite.size("train"))):
        try:
            found += await episode(index)
        except PettingLLMsError:
            raise
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise EnvironmentFault(f"{what} of train task {index} failed with {text}") from error
    if not found:
        raise EnvironmentFault(
            f"{what} of the train split shows nothing: no role acts, or it gives up at once"
        )
    return found


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
