"""Values that pass between an environment and the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Literal, TypeVar

import attrs

StateT = TypeVar("StateT")

Fact = bool | int | float | str
"""A named observation about a transition: JSON-ready, never a container."""


@attrs.frozen
class Message:
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


@attrs.frozen
class Observation:
    """What a role may see when it acts.

    The engine puts the role's system prompt in front; an environment gives the rest.
    """

    messages: tuple[Message, ...]

    @classmethod
    def of(cls, text: str) -> Observation:
        """An observation of a single user message."""
        return cls((Message("user", text),))


@attrs.frozen
class Task:
    """One problem instance.

    Attributes:
        id: Unique within its suite and stable between versions of Python.
        data: The problem itself, JSON-ready. `Environment.start` reads it.
        labels: Facts to group results by (band of difficulty, source, optimal length).
    """

    id: str
    data: Mapping[str, Any]
    labels: Mapping[str, Fact] = attrs.field(factory=dict)


@attrs.frozen
class Transition(Generic[StateT]):
    """The result of one response.

    Attributes:
        state: The next state.
        facts: Named facts about what the response did (``legal``, ``progress``, ``solved``, ...).
            Reward functions score these and nothing else.
    """

    state: StateT
    facts: Mapping[str, Fact] = attrs.field(factory=dict)


@attrs.frozen
class Outcome:
    """How an episode stands: whether the task is solved, and the task's own score.

    Attributes:
        success: True only when the task is solved; a timeout is a failure.
        score: The task's own measure, in [0, 1] unless the environment's docs say otherwise.
    """

    success: bool
    score: float
