"""The clipped surrogate over the tokens of the responses. Tensors in, loss and metrics out.

PPO: arXiv 1707.06347, eq. 7. Dual clip: arXiv 1912.09729, eq. 8. KL: the k3 estimator of
Schulman (2020), as in GRPO, arXiv 2402.03300, eq. 4. Shapes are (B, K, R) as in `GroupBatch`; any
leading shape works as long as the tensors agree.
"""

from __future__ import annotations

from typing import Literal

import attrs
import torch
from torch import Tensor


@attrs.frozen
class LossSettings:
    """Settings of the loss; names and defaults as in the config's ``training`` section."""

    clip_epsilon: float = 0.2
    clip_epsilon_high: float | None = None
    dual_clip: float | None = None
    aggregation: Literal["token-mean", "sequence-mean"] = "token-mean"
    kl_coefficient: float = 0.0
    entropy_coefficient: float = 0.0
    importance_cap: float | None = None


def clipped_surrogate(
    logprobs_BKR: Tensor, old_logprobs_BKR: Tensor, advantages_BK: Tensor, settings: LossSettings
) -> tuple[Tensor, Tensor]:
    """Return the loss of every token and whether the clip bound it, both (B, K, R).

    ``-min(ratio * A, clip(ratio, 1 - eps, 1 + eps_high) * A)``, bounded by ``-dual_clip * A`` where A < 0.
    """
    advantages = advantages_BK[..., None]
    ratio = torch.exp(logprobs_BKR - old_logprobs_BKR)
    high = settings.clip_epsilon if settings.clip_epsilon_high is None else settings.clip_epsilon_high
    clipped = ratio.clamp(1.0 - settings.clip_epsilon, 1.0 + high)
    loss = torch.maximum(-ratio * advantages, -clipped * advantages)
    bound = (-clipped * advantages) > (-ratio * advantages)
    if settings.dual_clip is not None:
        ceiling = -settings.dual_clip * advantages
        capped = (advantages < 0) & (loss > ceiling)
        loss, bound = torch.where(capped, ceiling, loss), bound | capped
    return loss, bound


def kl_k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return Schulman's k3 estimate of KL(policy, reference) for every token; never negative."""
    difference = reference - logprobs
    return torch.exp(difference) - difference - 1.0


def token_weights(mask_BKR: Tensor, aggregation: str, tokens: int, sequences: int) -> Tensor:
    """Return the weight of every token so that weighted sums over micro-batches add up to the batch mean.

    Args:
        mask_BKR: Tokens that count.
        aggregation: ``token-mean`` weighs tokens alike, ``sequence-mean`` responses.
        tokens: Tokens that count in the whole batch.
        sequences: Responses with such a token in the whole batch.
    """
    if aggregation == "token-mean":
        return mask_BKR / max(tokens, 1)
    lengths = mask_BKR.sum(-1, keepdim=True).clamp(min=1)
    return mask_BKR / lengths / max(sequences, 1)


def policy_loss(
    logprobs_BKR: Tensor,
    entropy_BKR: Tensor,
    old_logprobs_BKR: Tensor,
    generator_logprobs_BKR: Tensor,
    advantages_BK: Tensor,
    weights_BKR: Tensor,
    settings: LossSettings,
    reference_logprobs_BKR: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the scalar loss of a micro-batch and its detached addends to the batch's metrics.

    Args:
        logprobs_BKR: Under the current weights, with gradient.
        entropy_BKR: Of the distribution behind every token, with gradient.
        old_logprobs_BKR: The ratio's denominator.
        generator_logprobs_BKR: As recorded while sampling.
        advantages_BK: One a response.
        weights_BKR: From `token_weights`; zero for what does not count.
        settings: Clip ranges and coefficients.
        reference_logprobs_BKR: Needed when `kl_coefficient` is above zero.
    """
    surrogate, bound = clipped_surrogate(logprobs_BKR, old_logprobs_BKR, advantages_BK, settings)
    if settings.importance_cap is not None:
        # Truncated importance sampling (arXiv 2511.16108 and others): the samples came from the generator.
        weight = torch.exp(old_logprobs_BKR - generator_logprobs_BKR).clamp(max=settings.importance_cap)
        surrogate = surrogate * weight.detach()
    pg_loss = (surrogate * weights_BKR).sum()
    bonus = settings.entropy_coefficient
    entropy = ((entropy_BKR if bonus else entropy_BKR.detach()) * weights_BKR).sum()
    loss = pg_loss - bonus * entropy
    metrics = {
        "policy_loss": pg_loss.detach(),
        "entropy": entropy.detach(),
        "clip_fraction": (bound * weights_BKR).sum().detach(),
        "ratio_kl": (kl_k3(old_logprobs_BKR, logprobs_BKR) * weights_BKR).sum().detach(),
        "generator_drift": ((logprobs_BKR - generator_logprobs_BKR).abs() * weights_BKR).sum().detach(),
    }
    if reference_logprobs_BKR is not None:
        kl = (kl_k3(logprobs_BKR, reference_logprobs_BKR) * weights_BKR).sum()
        loss = loss + settings.kl_coefficient * kl
        metrics["reference_kl"] = kl.detach()
    return loss, metrics
