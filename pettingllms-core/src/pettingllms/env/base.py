"""The environment protocol."""

from __future__ import annotations

import random
from typing import Protocol, TypeVar, runtime_checkable

import attrs

from pettingllms.env.types import Observation, Outcome, Task, Transition

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)


@attrs.frozen
class EnvironmentOptions:
    """Options that every environment has; an environment's own options class extends it.

    Each field carries its meaning in ``metadata={"help": ...}``.
    """

    max_turns: int = attrs.field(
        default=4,
        validator=attrs.validators.ge(1),
        metadata={"help": "passes over the team before the episode ends as a failure"},
    )


@runtime_checkable
class Environment(Protocol[S]):
    """A task that a team of roles works on.

    Stateless: all of an episode is in ``S``, a frozen attrs value that the codec
    (`pettingllms.env.codec`) turns into JSON and back. The same arguments always give the same result,
    so K branches of one state cannot touch each other and a recorded episode replays
    by folding its responses. An instance is made once per run as ``Class(options)``.
    """

    @property
    def roles(self) -> tuple[str, ...]:
        """The seats of the team, in acting order, under the current options."""
        ...

    @property
    def max_turns(self) -> int:
        """How often a role acts at most. The state must be over by then."""
        ...

    def start(self, task: Task, seed: int) -> S:
        """Return the first state of `task`; `seed` feeds whatever chance the task has."""
        ...

    def acting_role(self, state: S) -> str | None:
        """Return who acts now, or None when the episode is over."""
        ...

    def observe(self, state: S, role: str) -> Observation:
        """Return what `role` may see of `state`."""
        ...

    async def step(self, state: S, role: str, response: str) -> Transition[S]:
        """Return what `response` leads to. Any text is legal input; bad text is a fact."""
        ...

    def outcome(self, state: S) -> Outcome:
        """Return how the episode stands in `state`."""
        ...


@runtime_checkable
class Playable(Protocol[S_contra]):
    """Optional abilities, each found by its name: an environment may have some of them.

    ``expert`` proves that tasks are solvable, bounds evaluation from above and gives the
    demonstrations of a warm start. ``random_response`` bounds it from below. ``render``
    draws a state in a terminal.
    """

    def expert(self, state: S_contra, role: str) -> str | None:
        """Return a response by which the team solves the task, or None when none is left from `state`."""
        ...

    def random_response(self, state: S_contra, role: str, rng: random.Random) -> str:
        """Return a well-formed response chosen without thought."""
        ...

    def render(self, state: S_contra) -> str:
        """Return the state drawn for a terminal."""
        ...
