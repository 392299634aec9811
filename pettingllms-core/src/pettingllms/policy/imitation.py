"""Behaviour cloning: fitting a model to demonstrations, before any reinforcement learning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from pettingllms.policy.optimizer import OptimizerKind, PolicyOptimizer, make_optimizer
from pettingllms.policy.scoring import token_statistics


@attrs.frozen
class Demonstrated:
    """One prompt and the expert's response, as tokens; the response ends with the end token."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)


def imitate(
    model: Any,
    batches: Sequence[Sequence[Demonstrated]],
    *,
    optimizer: OptimizerKind,
    learning_rate: float,
    betas: tuple[float, float],
    prompt_weight: float,
    microbatch_tokens: int,
) -> list[float]:
    """Take one optimiser step on every batch; return the loss on the responses, step by step (nats a token).

    The learning rate warms up over a tenth of the steps and falls to zero along a cosine.

    Args:
        model: A transformers causal language model.
        batches: What each step fits.
        optimizer: ``adamw`` or ``muon``.
        learning_rate: The peak.
        betas: AdamW's.
        prompt_weight: Weight of predicting the prompt's own tokens. A model that starts from nothing learns
            from them how the board, the positions and the results of moves belong together.
        microbatch_tokens: Most tokens, padding included, in one forward and backward.
    """
    stepper = make_optimizer(
        model, kind=optimizer, learning_rate=learning_rate, betas=betas, weight_decay=0.0
    )
    attention = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    losses = []
    try:
        for step, batch in enumerate(batches):
            warm = min(1.0, (step + 1) / max(1, len(batches) // 10))
            rate = learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / len(batches)))
            stepper.set_learning_rate(rate)
            losses.append(_step(model, stepper, batch, prompt_weight, microbatch_tokens))
    finally:
        model.set_attn_implementation(attention)
    return losses


def _step(
    model: Any,
    optimizer: PolicyOptimizer,
    batch: Sequence[Demonstrated],
    prompt_weight: float,
    microbatch_tokens: int,
) -> float:
    tokens = sum(len(item.response_ids) for item in batch)
    optimizer.zero_grad()
    total = 0.0
    ordered = sorted(batch, key=len)
    while ordered:
        rows = max(1, microbatch_tokens // len(ordered[-1]))
        micro, ordered = ordered[-rows:], ordered[:-rows]
        on_responses, on_prompts = _losses(model, micro, with_prompts=prompt_weight > 0.0)
        ((on_responses + prompt_weight * on_prompts) / tokens).backward()  # type: ignore[no-untyped-call]
        total += float(on_responses.detach())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return total / tokens


def _losses(model: Any, batch: Sequence[Demonstrated], *, with_prompts: bool) -> tuple[Tensor, Tensor]:
    """Return the summed loss of the response tokens and of the prompt tokens."""
    device = next(model.parameters()).device
    width = max(len(item) for item in batch)
    ids_BT = torch.zeros(len(batch), width, dtype=torch.long)
    part_BT = torch.zeros(len(batch), width, dtype=torch.long)  # 0 padding, 1 prompt, 2 response
    for b, item in enumerate(batch):
        ids_BT[b, : len(item)] = torch.tensor(item.prompt_ids + item.response_ids)
        part_BT[b, : len(item.prompt_ids)] = 1
        part_BT[b, len(item.prompt_ids) : len(item)] = 2
    ids_BT, part_BT = ids_BT.to(device), part_BT.to(device)
    states_BTC = model.base_model(input_ids=ids_BT[:, :-1], use_cache=False).last_hidden_state
    target_BT = part_BT[:, 1:]
    counted = target_BT >= (1 if with_prompts else 2)
    ones_N = torch.ones(int(counted.sum()), device=device)
    logprobs_N, _ = token_statistics(model, states_BTC[counted], ids_BT[:, 1:][counted], ones_N, None)
    on_response = target_BT[counted] == 2
    return -logprobs_N[on_response].sum(), -logprobs_N[~on_response].sum()
