"""The engine protocol: where responses come from and where weights are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pettingllms.algorithm.estimators import PromptGroup
from pettingllms.rollout.types import ChatCodec, Generator


class Engine(Protocol):
    """Generators and learners of every policy of a run."""

    @property
    def generator(self) -> Generator:
        """Where rollouts sample from."""
        ...

    def codec(self, policy: str) -> ChatCodec:
        """Return the tokenisation of `policy`."""
        ...

    def update(
        self, groups: Mapping[str, Sequence[PromptGroup]], iteration: int, seed: int
    ) -> dict[str, dict[str, float]]:
        """Train every policy on its own groups; return metrics by policy."""
        ...

    def sync(self) -> None:
        """Make the generator sample from the weights that were just trained."""
        ...

    def save(self, folder: Path) -> None:
        """Write every policy's weights and optimiser under `folder`, one folder each."""
        ...

    def load(self, folder: Path) -> None:
        """Read back what `save` wrote.

        Raises:
            CheckpointError: `folder` lacks a policy.
        """
        ...

    def close(self) -> None:
        """Give back everything that is held."""
        ...
