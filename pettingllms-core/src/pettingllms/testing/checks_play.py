"""Play for the conformance kit: environments under watch, players, and recorded episodes."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from pettingllms.env.base import Environment
from pettingllms.env.suite import Split, TaskSuite
from pettingllms.env.types import Observation, Outcome, Task, Transition
from pettingllms.plugins.specs import EnvironmentSpec
from pettingllms.team.reward import RewardFunction
from pettingllms.testing.checks import short, text_of

SLOW_CALL = 10.0
"""Seconds after which one call of an environment counts as hanging."""

GARBAGE: tuple[str, ...] = (
    "",
    " \n\t ",
    "I do not know.",
    "lorem ipsum " * 3000,
    "(" * 20_000,
    "[" * 20_000,
    " " * 50_000 + "x",
    "9" * 5_000,
    "-1",
    "1e999",
    "NaN",
    "\x00\x01\x07\x1b[2J\r\n\u0085\u2028",
    "\u0661\u00b2\u2168 \U0001f3b2 \u202e\u0645\u0631\u062d\u0628\u0627 e\u0301 \ufffd",
    "```",
    "```python\n\n```",
    "<answer></answer>",
    "<answer><answer>",
    "\\boxed{}",
    "\\boxed{" * 200,
    "{}",
    '{"action": null, "moves": {}, "answer": [null]}',
    "[[], [[]], null]",
    "%s %d {0} ${x} $(true) ; DROP TABLE tasks; --",
)
"""Texts that no environment may stumble over."""


@attrs.frozen
class Parts:
    """What is checked.

    Attributes:
        name: The environment's name, for the report.
        make_environment: Makes a new environment under the options being checked.
        make_suite: Makes the suite from (num_tasks, seed).
        state: The attrs class of states.
        declared_roles: Every role that the plugin declares.
        make_reward: Makes the reward function; None skips the reward checks.
        spec: The spec, when there is one: a second process can then be asked for the same results.
        options: The options as plain values.
    """

    name: str
    make_environment: Callable[[], Environment[Any]]
    make_suite: Callable[[int | None, int], TaskSuite]
    state: type[Any]
    declared_roles: tuple[str, ...]
    make_reward: Callable[[], RewardFunction] | None = None
    spec: EnvironmentSpec | None = None
    options: dict[str, Any] = attrs.field(factory=dict)


_NULLABLE = {"acting_role": "a role", "expert": "a text"}


class CallFaultError(Exception):
    """An environment raised, hung or returned something of the wrong type."""

    def __init__(self, method: str, text: str) -> None:
        super().__init__(f"{method} {text}")
        self.method = method


class Probe:
    """An environment whose every call is watched: exceptions, types, time, global random state."""

    def __init__(self, environment: Environment[Any]) -> None:
        self.inner: Any = environment
        self.touched_random: str | None = None
        self.slowest = (0.0, "")

    @property
    def roles(self) -> tuple[str, ...]:
        """The seats."""
        return tuple(self.inner.roles)

    @property
    def max_turns(self) -> int:
        """Turns of a role at most."""
        return int(self.inner.max_turns)

    def can(self, ability: str) -> bool:
        """Return whether the environment has the optional method `ability`."""
        return callable(getattr(self.inner, ability, None))

    def start(self, task: Task, seed: int) -> Any:
        """Watch `Environment.start`."""
        return self._call("start", None, task, seed)

    def acting_role(self, state: Any) -> str | None:
        """Watch `Environment.acting_role`."""
        role: str | None = self._call("acting_role", (str, type(None)), state)
        return role

    def observe(self, state: Any, role: str) -> Observation:
        """Watch `Environment.observe`."""
        seen: Observation = self._call("observe", Observation, state, role)
        return seen

    def outcome(self, state: Any) -> Outcome:
        """Watch `Environment.outcome`."""
        outcome: Outcome = self._call("outcome", Outcome, state)
        return outcome

    def expert(self, state: Any, role: str) -> str | None:
        """Watch `Playable.expert`."""
        response: str | None = self._call("expert", (str, type(None)), state, role)
        return response

    def random_response(self, state: Any, role: str, rng: random.Random) -> str:
        """Watch `Playable.random_response`."""
        return str(self._call("random_response", str, state, role, rng))

    def render(self, state: Any) -> str:
        """Watch `Playable.render`."""
        return str(self._call("render", str, state))

    async def step(self, state: Any, role: str, response: str) -> Transition[Any]:
        """Watch `Environment.step`; a step that hangs is a fault."""
        before, began = random.getstate(), time.perf_counter()
        try:
            awaited = self.inner.step(state, role, response)
            if not inspect.isawaitable(awaited):
                raise CallFaultError("step", "is not async: it must be declared with 'async def'")
            transition = await asyncio.wait_for(awaited, SLOW_CALL)
        except CallFaultError:
            raise
        except TimeoutError as error:
            raise CallFaultError("step", f"did not return within {SLOW_CALL:.0f} s") from error
        except Exception as error:
            raise CallFaultError("step", f"raised {_said(error)}") from error
        self._after("step", before, began)
        if not isinstance(transition, Transition):
            raise CallFaultError("step", f"returned {type(transition).__name__}, not a Transition")
        return transition

    def _call(self, method: str, kind: Any, *args: Any) -> Any:
        before, began = random.getstate(), time.perf_counter()
        try:
            result = getattr(self.inner, method)(*args)
        except Exception as error:
            raise CallFaultError(method, f"raised {_said(error)}") from error
        self._after(method, before, began)
        if kind is not None and not isinstance(result, kind):
            wanted = kind.__name__ if isinstance(kind, type) else f"{_NULLABLE[method]} or None"
            raise CallFaultError(method, f"returned {type(result).__name__}, not {wanted}")
        return result

    def _after(self, method: str, before: object, began: float) -> None:
        seconds = time.perf_counter() - began
        if seconds > self.slowest[0]:
            self.slowest = (seconds, method)
        if self.touched_random is None and random.getstate() != before:
            self.touched_random = method
        if seconds > SLOW_CALL:
            raise CallFaultError(method, f"took {seconds:.1f} s")


def _said(error: Exception) -> str:
    return short(f"{type(error).__name__}: {error}", 160)


Player = Callable[[Probe, Any, str, random.Random], str | None]
"""(environment, state, role, rng) -> response; None gives up."""


def expert(env: Probe, state: Any, role: str, rng: random.Random) -> str | None:
    """Play the environment's own expert."""
    return env.expert(state, role)


def at_random(env: Probe, state: Any, role: str, rng: random.Random) -> str:
    """Play the environment's own random response."""
    return env.random_response(state, role, rng)


def garbage(env: Probe, state: Any, role: str, rng: random.Random) -> str:
    """Say something useless."""
    return rng.choice(GARBAGE)


def silent(env: Probe, state: Any, role: str, rng: random.Random) -> str:
    """Say nothing."""
    return ""


def mixed(env: Probe, state: Any, role: str, rng: random.Random) -> str:
    """Play mostly well and sometimes not, which reaches states that no single player does."""
    choices: list[Player] = [garbage]
    choices += [expert, expert] if env.can("expert") else []
    choices += [at_random] if env.can("random_response") else []
    response = rng.choice(choices)(env, state, role, rng)
    # The expert may see no way on from where the others have led.
    return garbage(env, state, role, rng) if response is None else response


@attrs.frozen
class Move:
    """One response of a recorded episode; the texts are JSON taken right after the call."""

    state: Any
    state_text: str
    role: str
    turn: int
    observation: Observation
    response: str
    transition: Transition[Any]
    transition_text: str


@attrs.define
class Trace:
    """A recorded episode.

    `over`: the environment ended it; `gave_up`: the player did; `fault`: a call that went wrong.
    """

    player: str
    split: Split
    task: Task
    seed: int
    start: Any = None
    start_text: str = ""
    moves: list[Move] = attrs.field(factory=list)
    final: Any = None
    over: bool = False
    gave_up: bool = False
    outcome: Outcome | None = None
    fault: CallFaultError | None = None
    at: dict[str, Any] = attrs.field(factory=dict)

    def where(self, move: Move | None = None) -> dict[str, Any]:
        """Return the evidence that names this episode, and the move in it."""
        found: dict[str, Any] = {"player": self.player, "split": self.split, "task": self.task.id}
        if move is not None:
            found |= {"role": move.role, "turn": move.turn, "response": short(move.response)}
        return found


def place(evidence: dict[str, Any]) -> str:
    """Return evidence of `Trace.where` as words."""
    words = [f"task {evidence['task']!r} ({evidence['split']}, {evidence['player']} play)"]
    if "role" in evidence:
        words.append(f"role {evidence['role']!r}, turn {evidence['turn']}")
    if "response" in evidence:
        words.append(f"response {evidence['response']!r}")
    return ", ".join(words)


async def play(env: Probe, split: Split, task: Task, seed: int, player: Player, rng: random.Random) -> Trace:
    """Record one episode; a call that goes wrong ends it and is kept as its `fault`."""
    trace = Trace(player=player.__name__.replace("at_", ""), split=split, task=task, seed=seed)
    acted: dict[str, int] = {}
    # One move more than allowed, so that an episode that does not end shows.
    limit = env.max_turns * len(env.roles) + 1
    trace.at = trace.where()
    try:
        state = trace.start = trace.final = env.start(task, seed)
        trace.start_text = text_of(state)
        while len(trace.moves) < limit:
            role = env.acting_role(state)
            if role is None:
                trace.over = True
                break
            acted[role] = acted.get(role, 0) + 1
            trace.at = {**trace.where(), "role": role, "turn": acted[role]}
            before = text_of(state)
            observation = env.observe(state, role)
            response = player(env, state, role, rng)
            if response is None:
                trace.gave_up = True
                break
            trace.at["response"] = short(response)
            transition = await env.step(state, role, response)
            after = text_of(transition)
            trace.moves.append(
                Move(state, before, role, acted[role], observation, response, transition, after)
            )
            state = trace.final = transition.state
        trace.at = trace.where()
        trace.outcome = env.outcome(trace.final)
    except CallFaultError as fault:
        trace.fault = fault
    return trace


@attrs.define
class Case:
    """All that the checks look at."""

    parts: Parts
    episodes: int
    seed: int
    max_tasks: int
    reward_bound: float
    env: Probe
    suite: TaskSuite
    traces: list[Trace] = attrs.field(factory=list)
    suite_touched_random: bool = False

    def fresh(self) -> Probe:
        """Return a new environment that has seen nothing."""
        return Probe(self.parts.make_environment())

    def rng(self, purpose: str) -> random.Random:
        """Return the random numbers of one check."""
        return random.Random(f"{self.seed} {purpose}")

    def moves(self, purpose: str, limit: int) -> list[tuple[Trace, Move]]:
        """Return at most `limit` recorded moves, drawn over all players, roles and turns."""
        pairs = [(trace, move) for trace in self.traces for move in trace.moves]
        return pairs if len(pairs) <= limit else self.rng(purpose).sample(pairs, limit)

    def played(self, *players: str) -> list[Trace]:
        """Return the episodes of the named players."""
        return [trace for trace in self.traces if trace.player in players]


def pick_tasks(suite: TaskSuite, count: int) -> Sequence[tuple[Split, Task]]:
    """Return `count` tasks, test first, then validation and train, spread over each split."""
    splits: tuple[Split, ...] = ("test", "validation", "train")
    chosen: list[tuple[Split, Task]] = []
    for place_, split in enumerate(splits):
        size = suite.size(split)
        share = min(size, count // 3 + (count % 3 > place_))
        chosen.extend((split, suite.task(split, index * size // share)) for index in range(share))
    return chosen
