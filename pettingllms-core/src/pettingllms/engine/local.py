"""The local engine: one process, torch and transformers, CPU or one GPU.

Generator and learner share weights, so `sync` has nothing to move.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pettingllms.algorithm.estimators import PromptGroup
from pettingllms.config.schema import Config
from pettingllms.engine.local_generator import LocalGenerator
from pettingllms.errors import CheckpointError
from pettingllms.policy.learner import Learner
from pettingllms.policy.loading import load_model, pick_device
from pettingllms.rollout.types import ChatCodec


def set_threads(threads: int | None) -> int:
    """Set torch's CPU threads (None: one a core this process may use); return the number."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = threads or available
    torch.set_num_threads(count)
    return count


class LocalEngine:
    """See `pettingllms.engine.base.Engine`."""

    def __init__(self, config: Config, sources: Mapping[str, str | Path], *, train: bool) -> None:
        """Load the weights of every policy.

        Args:
            config: Settings of the run.
            sources: For every policy, the folder or hub name of the weights it starts from.
            train: Whether weights will be updated; evaluation needs no reference.
        """
        set_threads(config.engine.threads)
        device = pick_device(config.engine.device)
        needs_reference = train and config.training.kl_coefficient > 0.0
        references: dict[str | Path, Any] = {}  # policies that start alike share one
        self._learners: dict[str, Learner] = {}
        for policy, source in sources.items():
            if needs_reference and source not in references:
                references[source] = self._frozen(source, config, device)
            loaded = load_model(source, config.model, device)
            self._learners[policy] = Learner(loaded, config.training, references.get(source))
        self._generator = LocalGenerator(self._learners)

    @staticmethod
    def _frozen(source: str | Path, config: Config, device: torch.device) -> Any:
        """Return the policy at the start of the run, for the KL to it."""
        return load_model(source, config.model, device).model.requires_grad_(False)

    @property
    def generator(self) -> LocalGenerator:
        """See `Engine.generator`."""
        return self._generator

    def codec(self, policy: str) -> ChatCodec:
        """See `Engine.codec`."""
        return self._learners[policy].loaded.codec

    def update(
        self, groups: Mapping[str, Sequence[PromptGroup]], iteration: int, seed: int
    ) -> dict[str, dict[str, float]]:
        """See `Engine.update`. One device, so policies are trained one after the other."""
        return {
            policy: learner.update(groups.get(policy, ()), iteration, seed)
            for policy, learner in self._learners.items()
        }

    def sync(self) -> None:
        """See `Engine.sync`: the weights are the same tensors."""

    def save(self, folder: Path) -> None:
        """See `Engine.save`."""
        for policy, learner in self._learners.items():
            learner.save(folder / policy)

    def load(self, folder: Path) -> None:
        """See `Engine.load`."""
        for policy, learner in self._learners.items():
            if not (folder / policy / "learner.pt").is_file():
                raise CheckpointError(f"the checkpoint {str(folder)!r} holds no policy {policy!r}")
            try:
                learner.load(folder / policy)
            except Exception as error:  # torch and safetensors raise many kinds for a damaged file
                text = f"{type(error).__name__}: {error}".splitlines()[0]
                raise CheckpointError(
                    f"the checkpoint {str(folder / policy)!r} is damaged: {text}"
                ) from error

    def close(self) -> None:
        """See `Engine.close`."""
        self._generator.close()
        self._learners.clear()
