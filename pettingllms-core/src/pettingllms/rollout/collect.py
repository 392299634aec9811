"""Playing episodes: the one step that all kinds of rollout share, and what they need to know."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from pettingllms.env.base import Environment
from pettingllms.env.codec import to_plain
from pettingllms.env.types import Message, Outcome, Task
from pettingllms.errors import GenerationFault
from pettingllms.rollout.types import Branch, Episode, Generator, Group, GroupKey, Sample, Seat, derive_seed
from pettingllms.team.reward import MixForm, RewardFunction, mix

S = TypeVar("S")


@attrs.frozen
class Rollouts(Generic[S]):
    """What every episode of a phase has in common.

    Attributes:
        environment: The task's rules.
        seats: One per role of the team.
        generator: Where responses come from.
        reward: Scores transitions.
        alpha: Weight of the team reward.
        form: How team and local reward are mixed.
        timeout: Seconds that one environment step may take.
    """

    environment: Environment[S]
    seats: Mapping[str, Seat]
    generator: Generator
    reward: RewardFunction
    alpha: float
    form: MixForm
    timeout: float


@attrs.frozen
class _Stepped(Generic[S]):
    branch: Branch
    state: S | None


Commit = Callable[[list[int], list[float], random.Random], int]
"""Chooses among the branches without fault: (their indices, their scores, rng) -> index."""


async def play(
    rollouts: Rollouts[S], task: Task, instance: int, seed: int, *, branches: int, commit: Commit
) -> Episode:
    """Play one episode, sampling `branches` responses at every act and following one.

    For every act: all responses come from one identical prompt in one request, are stepped
    as independent transitions of one immutable state, and the next role observes the state
    that the committed branch led to (AT-GRPO, Stronger-MAS, arXiv 2510.11062).

    Args:
        rollouts: What the episodes of this phase share.
        task: The problem.
        instance: Tells apart episodes of one task.
        seed: Feeds the environment, the sampling and the commits.
        branches: Responses sampled at every act.
        commit: Picks the branch that the episode follows.

    Returns:
        The episode. Faults of the generator, the environment or the reward function are on it as data.
    """
    env = rollouts.environment
    groups: list[Group] = []
    acts: Counter[str] = Counter()
    rng = random.Random(derive_seed(seed, "commit"))
    fault: str | None = None
    state: S | None = None
    outcome: Outcome | None = None
    final_state = None
    try:
        state = env.start(task, derive_seed(seed, "start"))
        while (role := env.acting_role(state)) is not None:
            if role not in rollouts.seats:
                raise ValueError(f"the environment names the role {role!r}, which is not in its team")
            if acts[role] >= env.max_turns:
                raise ValueError(f"{role!r} is asked to act more often than max_turns = {env.max_turns}")
            key = GroupKey(task.id, instance, role, acts[role])
            acts[role] += 1
            group, states = await _act(rollouts, state, key, seed, branches, commit, rng)
            groups.append(group)
            if (following := states[group.committed]) is None:
                fault = group.branches[group.committed].fault
                break
            state = following
        if fault is None:
            outcome = env.outcome(state)
        final_state = to_plain(state)
    except GenerationFault as error:
        fault = f"generation: {error}"
    except Exception as error:
        fault = f"environment: {type(error).__name__}: {error}"
    return Episode(
        task=task,
        instance=instance,
        seed=seed,
        groups=tuple(groups),
        outcome=outcome,
        turns=max(acts.values(), default=0),
        fault=fault,
        final_state=final_state,
    )


async def _act(
    rollouts: Rollouts[S],
    state: S,
    key: GroupKey,
    seed: int,
    branches: int,
    commit: Commit,
    rng: random.Random,
) -> tuple[Group, list[S | None]]:
    seat = rollouts.seats[key.role]
    observation = rollouts.environment.observe(state, key.role)
    system = (Message("system", seat.system_prompt),) if seat.system_prompt else ()
    messages = (*system, *observation.messages)
    prompt_ids = seat.codec.encode(messages)
    room = seat.max_length - len(prompt_ids)
    if room < 1:
        raise GenerationFault(
            f"the prompt of {key.role!r} has {len(prompt_ids)} tokens, model.max_length is {seat.max_length}"
        )
    params = attrs.evolve(seat.params, max_new_tokens=min(seat.params.max_new_tokens, room))
    try:
        samples = await rollouts.generator.sample(
            seat.policy, prompt_ids, branches, params, derive_seed(seed, key.role, key.turn)
        )
    except GenerationFault:
        raise
    except Exception as error:
        raise GenerationFault(f"{type(error).__name__}: {error}") from error
    stepped = await asyncio.gather(*(_step(rollouts, seat, state, key.role, sample) for sample in samples))
    alive = [i for i, result in enumerate(stepped) if result.state is not None]
    scores = [stepped[i].branch.score for i in alive]
    committed = commit(alive, scores, rng) if alive else 0  # type: ignore[arg-type]
    group = Group(
        key=key,
        policy=seat.policy,
        messages=messages,
        prompt_ids=prompt_ids,
        branches=tuple(result.branch for result in stepped),
        committed=committed,
        temperature=params.temperature,
    )
    return group, [result.state for result in stepped]


async def _step(rollouts: Rollouts[S], seat: Seat, state: S, role: str, sample: Sample) -> _Stepped[S]:
    response = seat.codec.decode(sample.token_ids)
    facts: Mapping[str, Any] = {}
    limit = asyncio.timeout(rollouts.timeout)
    try:
        async with limit:
            transition = await rollouts.environment.step(state, role, response)
        facts = transition.facts
        reward = rollouts.reward(transition, role)
        score = mix(reward, rollouts.alpha, rollouts.form)
        if score != score or score in (float("inf"), float("-inf")):
            raise ValueError(f"the reward is {score}")
    except Exception as error:
        # An environment may raise a TimeoutError of its own, which is not ours.
        expired = isinstance(error, TimeoutError) and limit.expired()
        what = f"step took over {rollouts.timeout:g} s" if expired else f"{type(error).__name__}: {error}"
        return _Stepped(_faulty(sample, response, facts, what), None)
    return _Stepped(Branch(sample, response, dict(facts), reward, score), transition.state)


def _faulty(sample: Sample, response: str, facts: Mapping[str, Any], what: str) -> Branch:
    return Branch(sample, response, dict(facts), None, None, fault=f"environment: {what}")
