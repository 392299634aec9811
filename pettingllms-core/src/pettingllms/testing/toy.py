"""A small team game that needs no download: the ``toy`` plugin of tests and tutorials.

A code of digits has to cross a channel. Each turn the *caller* sees the next digit and says it; the
*answerer* sees only what was said and must answer that digit plus `offset`, modulo `digits`. A right
answer moves on to the next digit, a wrong one repeats it. The task is solved when all digits are
across. Neither role can solve it alone, and a very small model can learn it.

Register this module under the namespace ``toy`` to use it (the fixture `toy_registry` does).
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterable
from typing import Any

import attrs

from pettingllms.api import (
    AgentRole,
    EnvironmentOptions,
    EnvironmentSpec,
    Observation,
    Outcome,
    Reward,
    RewardSpec,
    RoleSpec,
    Split,
    Task,
    Transition,
    hookimpl,
)

CALLER = AgentRole("caller", "You are the caller. Say the digit that you see, and nothing else.")
ANSWERER = AgentRole(
    "answerer", "You are the answerer. Reply with the digit that you are asked for, and nothing else."
)


@attrs.frozen
class ClueOptions(EnvironmentOptions):
    """Options of the toy game."""

    max_turns: int = attrs.field(
        default=4,
        validator=attrs.validators.ge(1),
        metadata={"help": "passes over the team before the episode ends as a failure"},
    )
    length: int = attrs.field(
        default=2,
        validator=[attrs.validators.ge(1), attrs.validators.le(4)],
        metadata={"help": "digits in a code"},
    )
    digits: int = attrs.field(
        default=10,
        validator=[attrs.validators.ge(3), attrs.validators.le(10)],
        metadata={"help": "how many different digits there are, counted from 0"},
    )
    offset: int = attrs.field(
        default=1,
        validator=attrs.validators.ge(0),
        metadata={"help": "what the answerer adds to the digit, modulo the number of digits"},
    )

    def __attrs_post_init__(self) -> None:
        if self.max_turns < self.length:
            raise ValueError(f"'max_turns' must be >= length ({self.length}): {self.max_turns}")


@attrs.frozen
class ClueState:
    """One moment of an episode.

    Attributes:
        code: The digits to bring across.
        done: How many of them are across.
        turn: Passes over the team that are complete.
        answering: Whether the answerer acts now.
        said: What the caller said in this pass, None when it named no digit.
    """

    code: tuple[int, ...]
    done: int = 0
    turn: int = 0
    answering: bool = False
    said: int | None = None


class ClueEnvironment:
    """The game's rules (see the module docstring)."""

    def __init__(self, options: ClueOptions) -> None:
        self.options = options

    @property
    def roles(self) -> tuple[str, ...]:
        """The caller, then the answerer."""
        return ("caller", "answerer")

    @property
    def max_turns(self) -> int:
        """Passes over the team."""
        return self.options.max_turns

    def start(self, task: Task, seed: int) -> ClueState:
        """Return the state before the first call; the game has no chance in it."""
        return ClueState(code=tuple(task.data["code"]))

    def acting_role(self, state: ClueState) -> str | None:
        """Return who acts now."""
        if state.done == len(state.code) or state.turn == self.max_turns:
            return None
        return "answerer" if state.answering else "caller"

    def observe(self, state: ClueState, role: str) -> Observation:
        """Return the digit to the caller, what was said to the answerer."""
        left = f"Turn {state.turn + 1}, {len(state.code) - state.done} to go."
        if role == "caller":
            return Observation.of(f"{left} Digit: {state.code[state.done]}")
        said = "nothing" if state.said is None else str(state.said)
        return Observation.of(f"{left} Heard: {said}. Answer it plus {self.options.offset}:")

    async def step(self, state: ClueState, role: str, response: str) -> Transition[ClueState]:
        """Take the first digit of `response` as what the role says."""
        digit = self._digit(response)
        target = state.code[state.done]
        if role == "caller":
            facts: dict[str, Any] = {"legal": digit is not None, "called": digit == target, "solved": False}
            return Transition(attrs.evolve(state, answering=True, said=digit), facts)
        right = digit == self._answer(target)
        done = state.done + right
        facts = {
            "legal": digit is not None,
            "followed": state.said is not None and digit == self._answer(state.said),
            "correct": right,
            "progress": done / len(state.code),
            "solved": done == len(state.code),
        }
        return Transition(ClueState(code=state.code, done=done, turn=state.turn + 1), facts)

    def outcome(self, state: ClueState) -> Outcome:
        """Return success when every digit is across; the score is the share that is."""
        return Outcome(success=state.done == len(state.code), score=state.done / len(state.code))

    def expert(self, state: ClueState, role: str) -> str:
        """Return the digit seen, or the answer to what was heard."""
        if role == "caller":
            return str(state.code[state.done])
        return str(self._answer(state.said or 0))

    def random_response(self, state: ClueState, role: str, rng: random.Random) -> str:
        """Return any digit."""
        return str(rng.randrange(self.options.digits))

    def render(self, state: ClueState) -> str:
        """Return the code with the digits that are across in brackets."""
        code = " ".join(f"[{d}]" if i < state.done else f" {d} " for i, d in enumerate(state.code))
        heard = f"  heard: {'nothing' if state.said is None else state.said}" if state.answering else ""
        return f"turn {state.turn + 1}/{self.max_turns}  code: {code}{heard}"

    def _answer(self, digit: int) -> int:
        return (digit + self.options.offset) % self.options.digits

    def _digit(self, text: str) -> int | None:
        found = re.search(r"[0-9]", text)
        digit = int(found[0]) if found else None
        return None if digit is None or digit >= self.options.digits else digit


class ClueSuite:
    """All codes, shuffled once: a fifth for test, a fifth for validation, the rest for train."""

    version = "1"

    def __init__(self, options: ClueOptions, num_tasks: int | None = None, seed: int = 0) -> None:
        codes = list(itertools.product(range(options.digits), repeat=options.length))
        random.Random("toy/clue 1").shuffle(codes)
        held_out = min(100, max(1, len(codes) // 5))
        train = codes[2 * held_out :]
        random.Random(seed).shuffle(train)
        self._codes: dict[Split, list[tuple[int, ...]]] = {
            "train": train[:num_tasks],
            "validation": codes[held_out : 2 * held_out],
            "test": codes[:held_out],
        }

    def size(self, split: Split) -> int:
        """Return how many codes `split` holds."""
        return len(self._codes[split])

    def task(self, split: Split, index: int) -> Task:
        """Return the code at `index` of `split`."""
        if not 0 <= index < self.size(split):
            raise IndexError(f"{split} holds {self.size(split)} tasks, there is no task {index}")
        code = self._codes[split][index]
        name = "".join(map(str, code))
        return Task(f"clue-{name}", {"code": list(code)}, {"length": len(code)})


@attrs.frozen
class ClueRewardOptions:
    """Weights of the toy reward."""

    solve_bonus: float = attrs.field(default=1.0, metadata={"help": "team reward for the last digit"})
    illegal_penalty: float = attrs.field(
        default=0.5,
        validator=attrs.validators.ge(0),
        metadata={"help": "taken from the local reward of a response without a digit"},
    )


class ClueReward:
    """Team: a digit came one step closer. Local: the role did its own part."""

    def __init__(self, options: ClueRewardOptions) -> None:
        self.options = options

    def __call__(self, transition: Transition[Any], role: str) -> Reward:
        """Return the reward of `role` from the facts alone."""
        facts = transition.facts
        step = float(facts["called"] if role == "caller" else facts["correct"])
        own = float(facts["called"] if role == "caller" else facts["followed"])
        parts = {
            "step": step,
            "solved": self.options.solve_bonus * bool(facts["solved"]),
            "own": own,
            "illegal": 0.0 if facts["legal"] else -self.options.illegal_penalty,
        }
        return Reward(team=step + parts["solved"], local=own + parts["illegal"], parts=parts)


CLUE = EnvironmentSpec(
    name="toy/clue",
    factory="pettingllms.testing.toy:ClueEnvironment",
    suite="pettingllms.testing.toy:ClueSuite",
    state="pettingllms.testing.toy:ClueState",
    options="pettingllms.testing.toy:ClueOptions",
    roles={"caller": "toy/caller", "answerer": "toy/answerer"},
    reward="toy/clue",
    summary="bring a code across a channel, digit by digit (two roles)",
)
CLUE_REWARD = RewardSpec(
    name="toy/clue",
    factory="pettingllms.testing.toy:ClueReward",
    options="pettingllms.testing.toy:ClueRewardOptions",
    summary="right call or answer, plus a bonus for the whole code",
)
CLUE_ROLES = (
    RoleSpec(name="toy/caller", role="pettingllms.testing.toy:CALLER", summary="sees the digit"),
    RoleSpec(name="toy/answerer", role="pettingllms.testing.toy:ANSWERER", summary="hears the caller"),
)


@hookimpl
def pettingllms_register_environments() -> Iterable[EnvironmentSpec]:
    """The game."""
    return (CLUE,)


@hookimpl
def pettingllms_register_reward_functions() -> Iterable[RewardSpec]:
    """Its reward."""
    return (CLUE_REWARD,)


@hookimpl
def pettingllms_register_agent_roles() -> Iterable[RoleSpec]:
    """Its seats."""
    return CLUE_ROLES
