"""The learner: weights, optimiser, and the update from groups."""

from __future__ import annotations

import itertools
import logging
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pettingllms.algorithm.batching import GroupBatch, collate, micro_batches
from pettingllms.algorithm.estimators import PromptGroup
from pettingllms.algorithm.loss import LossSettings, policy_loss, token_weights
from pettingllms.config.schema import TrainingConfig
from pettingllms.policy.loading import LoadedModel
from pettingllms.policy.optimizer import make_optimizer
from pettingllms.policy.saving import save_model
from pettingllms.policy.scoring import score

logger = logging.getLogger(__name__)


class Learner:
    """One policy's weights and their optimiser."""

    def __init__(self, loaded: LoadedModel, settings: TrainingConfig, reference: Any = None) -> None:
        self.loaded = loaded
        self.model = loaded.model
        self.version = 0
        self._settings = settings
        self._reference = reference
        self._loss = LossSettings(
            clip_epsilon=settings.clip_epsilon,
            clip_epsilon_high=settings.clip_epsilon_high,
            dual_clip=settings.dual_clip,
            aggregation=settings.loss_aggregation,
            kl_coefficient=settings.kl_coefficient,
            entropy_coefficient=settings.entropy_coefficient,
            importance_cap=settings.importance_cap,
        )
        self.optimizer = make_optimizer(
            self.model,
            kind=settings.optimizer,
            learning_rate=settings.learning_rate,
            betas=settings.adam_betas,
            weight_decay=settings.weight_decay,
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def learning_rate(self, iteration: int) -> float:
        """Return the learning rate of `iteration` (0-based): warm-up, then the schedule to zero."""
        s = self._settings
        if iteration < s.warmup_iterations:
            return s.learning_rate * (iteration + 1) / s.warmup_iterations
        span = max(1, s.num_iterations - s.warmup_iterations)
        done = min(1.0, (iteration - s.warmup_iterations) / span)
        factor = {
            "constant": 1.0,
            "linear": 1.0 - done,
            "cosine": 0.5 * (1.0 + math.cos(math.pi * done)),
        }[s.lr_schedule]
        return s.learning_rate * factor

    def update(self, groups: Sequence[PromptGroup], iteration: int, seed: int) -> dict[str, float]:
        """Train on `groups`: `ppo_epochs` passes of `num_minibatches` optimiser steps each.

        Returns:
            Means of token-weighted metrics and of `grad_norm` over the steps that were taken (absent when
            there was none), `learning_rate`, and the counts `groups`, `optimizer_steps` and, of these,
            `skipped_steps` (nothing to train on, or a gradient that is not finite).
        """
        s = self._settings
        lr = self.learning_rate(iteration)
        self.optimizer.set_learning_rate(lr)
        totals: dict[str, float] = {}
        steps = 0
        if groups:
            old = self._old_logprobs(groups)
            rng = random.Random(seed)
            for _ in range(s.ppo_epochs):
                order = list(range(len(groups)))
                rng.shuffle(order)
                for part_indices in _split(order, s.num_minibatches):
                    for name, value in self._step(groups, old, part_indices).items():
                        totals[name] = totals.get(name, 0.0) + value
                    steps += 1
            self.version += 1
        skipped = totals.pop("skipped_steps", 0.0)
        metrics = {name: value / max(1.0, steps - skipped) for name, value in totals.items()}
        metrics["skipped_steps"] = skipped
        return metrics | {"learning_rate": lr, "optimizer_steps": float(steps), "groups": float(len(groups))}

    def _step(
        self, groups: Sequence[PromptGroup], old: list[Tensor] | None, indices: list[int]
    ) -> dict[str, float]:
        """One optimiser step on `groups[indices]`; its gradient does not depend on the micro-batches."""
        s = self._settings
        part = [groups[i] for i in indices]
        counted = [
            len(item.sample.token_ids)
            for group in part
            for item in group.samples
            if not (s.mask_truncated and item.sample.finish_reason == "length")
        ]
        totals: dict[str, float] = {}
        if not counted:  # a step without gradient would still move the weights by momentum and decay
            return {"skipped_steps": 1.0}
        self.optimizer.zero_grad()
        for micro in micro_batches(part, s.microbatch_tokens):
            batch = self._collate([part[i] for i in micro])
            weights = token_weights(batch.trained_BKR, s.loss_aggregation, sum(counted), len(counted))
            with self.loaded.arithmetic():
                scores = score(self.model, batch, shared_prefix=s.shared_prefix)
            old_logprobs = batch.logprobs_BKR
            if old is not None:
                old_logprobs = _pad_like([old[indices[i]] for i in micro], batch.logprobs_BKR)
            loss, metrics = policy_loss(
                scores.logprobs_BKR,
                scores.entropy_BKR,
                old_logprobs,
                batch.logprobs_BKR,
                batch.advantages_BK,
                weights,
                self._loss,
                self._reference_logprobs(batch),
            )
            loss.backward()  # type: ignore[no-untyped-call]
            for name, value in metrics.items():
                totals[name] = totals.get(name, 0.0) + float(value)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), s.max_grad_norm)
        if not torch.isfinite(norm):
            logger.warning("an optimiser step was skipped: the gradient norm is %s", float(norm))
            return {"skipped_steps": 1.0}
        self.optimizer.step()
        return totals | {"grad_norm": float(norm)}

    def _collate(self, groups: Sequence[PromptGroup]) -> GroupBatch:
        return collate(groups, mask_truncated=self._settings.mask_truncated).to(self.device)

    def _old_logprobs(self, groups: Sequence[PromptGroup]) -> list[Tensor] | None:
        """Return the learner's own log-probabilities of every group, or None to use the generator's."""
        return self.logprobs(groups) if self._settings.old_logprobs == "recompute" else None

    def _reference_logprobs(self, batch: GroupBatch) -> Tensor | None:
        if self._reference is None:
            return None
        with torch.no_grad(), self.loaded.arithmetic():
            return score(self._reference, batch, shared_prefix=self._settings.shared_prefix).logprobs_BKR

    @torch.no_grad()
    def logprobs(self, groups: Sequence[PromptGroup]) -> list[Tensor]:
        """Return, for every group, the log-probabilities of its responses, (K, R) each."""
        result: list[Tensor | None] = [None] * len(groups)
        for micro in micro_batches(groups, self._settings.microbatch_tokens):
            batch = self._collate([groups[i] for i in micro])
            with self.loaded.arithmetic():
                scores = score(self.model, batch, shared_prefix=self._settings.shared_prefix)
            for i, logprobs in zip(micro, scores.logprobs_BKR, strict=True):
                result[i] = logprobs
        return [value for value in result if value is not None]

    def save(self, folder: Path) -> None:
        """Write weights and tokenizer as a Hugging Face folder, the optimiser beside them."""
        save_model(self.model, self.loaded.tokenizer, folder)
        torch.save({"optimizer": self.optimizer.state_dict(), "version": self.version}, folder / "learner.pt")

    def load(self, folder: Path) -> None:
        """Read back what `save` wrote."""
        from safetensors.torch import load_model

        load_model(self.model, folder / "model.safetensors", device=str(self.device))
        state = torch.load(folder / "learner.pt", map_location=self.device, weights_only=True)
        self.optimizer.load_state_dict(state["optimizer"])
        self.version = state["version"]


def _split(order: list[int], parts: int) -> list[list[int]]:
    """Cut `order` into up to `parts` runs of nearly equal length."""
    parts = min(parts, len(order))
    cuts = [round(i * len(order) / parts) for i in range(parts + 1)]
    return [order[a:b] for a, b in itertools.pairwise(cuts)]


def _pad_like(values: list[Tensor], like_BKR: Tensor) -> Tensor:
    """Stack (K, R_i) tensors to the shape of `like_BKR`."""
    out = torch.zeros_like(like_BKR)
    for b, value in enumerate(values):
        width = min(value.shape[-1], like_BKR.shape[-1])
        out[b, :, :width] = value[:, :width]
    return out
