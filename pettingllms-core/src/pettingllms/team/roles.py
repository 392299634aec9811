"""Agent roles."""

from __future__ import annotations

import attrs


@attrs.frozen
class SamplingOverrides:
    """Sampling settings that a role sets for itself; None leaves the run's setting."""

    temperature: float | None = None
    top_p: float | None = None
    max_new_tokens: int | None = None
    stop: tuple[str, ...] | None = None


@attrs.frozen
class AgentRole:
    """A seat in the team.

    Attributes:
        name: The seat's name, as the environment's `roles` spell it.
        system_prompt: What the role is told before every observation.
        train: Sampling overrides while training.
        evaluate: Sampling overrides in evaluation.
    """

    name: str
    system_prompt: str
    train: SamplingOverrides = SamplingOverrides()
    evaluate: SamplingOverrides = SamplingOverrides()
