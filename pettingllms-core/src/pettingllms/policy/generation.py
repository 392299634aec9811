"""Sampling K responses of one prompt: the prompt's keys and values are computed and kept once.

Shapes: B prompts, K responses a prompt, P prompt tokens (right-padded), T new tokens, V vocabulary,
H heads, G key-value heads, D head width, N = B * K.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from pettingllms.algorithm.shared_prefix import attend_prompt, prompt_mask, two_part_attention
from pettingllms.policy.scoring import logits_of
from pettingllms.rollout.types import Sample, SamplingParams


@attrs.define(eq=False)
class PromptCache:
    """Keys and values of B prompts and of their K responses so far, layer by layer."""

    K: int
    T: int
    lengths_B: Tensor
    padded: bool
    step: int = -1
    prompts: dict[int, tuple[Tensor, Tensor]] = attrs.field(factory=dict)
    own: dict[int, tuple[Tensor, Tensor]] = attrs.field(factory=dict)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None) -> Tensor:
        """Prompt pass while `step` is -1; then one token for each of the K responses of every prompt."""
        if self.step < 0:
            self.prompts[layer] = (k, v)
            return attend_prompt(q, k, v, scale, window)
        B, _, _, D = q.shape
        G = k.shape[1]
        own_k, own_v = self.own[layer] = self._room(layer, k, v, (B, G, self.K, D))
        own_k[:, :, :, self.step] = k
        own_v[:, :, :, self.step] = v
        first = 0 if window is None else max(0, self.step + 1 - window)
        keys = (own_k[:, :, :, first : self.step + 1], own_v[:, :, :, first : self.step + 1])
        offset = torch.tensor([self.step], device=q.device)
        P = self.prompts[layer][0].shape[2]
        mask_B1P = prompt_mask(self.lengths_B, P, offset, window, padded=self.padded)
        out = two_part_attention(q.unsqueeze(3), self.prompts[layer], keys, scale, mask_B1P, None)
        return out.squeeze(3)

    def _room(
        self, layer: int, k: Tensor, v: Tensor, shape: tuple[int, int, int, int]
    ) -> tuple[Tensor, Tensor]:
        """Return the layer's keys and values with room for this step, doubled when full."""
        B, G, K, D = shape
        held = self.own.get(layer)
        size = 0 if held is None else held[0].shape[3]
        if held is not None and self.step < size:
            return held
        grown = min(self.T, max(16, 2 * size))
        new = (k.new_empty(B, G, K, grown, D), v.new_empty(B, G, K, grown, D))
        if held is not None:
            for old, fresh in zip(held, new, strict=True):
                fresh[:, :, :, :size] = old
        return new

    def select(self, rows: Tensor) -> None:
        """Keep only the prompts `rows`, once all responses of the others have ended."""
        self.lengths_B = self.lengths_B[rows]
        self.prompts = {layer: (k[rows], v[rows]) for layer, (k, v) in self.prompts.items()}
        self.own = {layer: (k[rows], v[rows]) for layer, (k, v) in self.own.items()}


@torch.no_grad()
def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    K: int,
    params: SamplingParams,
    seeds: Sequence[Sequence[tuple[int, int]]],
    *,
    end_ids: frozenset[int],
    ends: Any,
    version: int,
) -> list[list[Sample]]:
    """Return K samples for every prompt.

    The random numbers of a response depend on its seed alone, not on what else is in the batch.

    Args:
        model: A transformers causal language model with the attention of `shared_prefix`.
        prompts: B sequences of token ids.
        K: Responses a prompt.
        params: Temperature, filters and length.
        seeds: For every prompt and response, (seed of the request, index within the request).
        end_ids: Tokens that end a response.
        ends: ``ends(token_ids) -> bool`` for stop texts, or None.
        version: Stamped on the samples.
    """
    device = next(model.parameters()).device
    B, T = len(prompts), params.max_new_tokens
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    P = int(lengths.max())
    ids_BP = torch.zeros(B, P, dtype=torch.long)
    for b, prompt in enumerate(prompts):
        ids_BP[b, : len(prompt)] = torch.tensor(prompt)
    cache = PromptCache(K, T, lengths, bool((lengths < P).any()))
    positions = torch.arange(P, device=device).expand(B, P)
    hidden = _forward(model, ids_BP.to(device), positions, cache)
    logits = logits_of(model, hidden[torch.arange(B, device=device), lengths - 1])[:, None].expand(B, K, -1)
    draws = [_Uniforms(seed, index) for row in seeds for seed, index in row]
    tokens: list[list[int]] = [[] for _ in range(B * K)]
    logprobs: list[list[float]] = [[] for _ in range(B * K)]
    kept: list[list[tuple[int, ...]]] = [[] for _ in range(B * K)]
    finished = [False] * (B * K)
    live = list(range(B))  # the prompts whose rows are still in the cache
    for step in range(T):
        rows = [b * K + k for b in live for k in range(K)]
        # In float32 a number just below 1 would round to 1 and draw a token that a filter removed.
        uniform = torch.tensor([draws[n].at(step) for n in rows], dtype=torch.float64, device=device)
        token, logprob, kept_ids = choose(logits.reshape(len(rows), -1), params, uniform)
        token_list, logprob_list = token.tolist(), logprob.tolist()
        for i, n in enumerate(rows):
            if finished[n]:
                continue
            tokens[n].append(token_list[i])
            logprobs[n].append(logprob_list[i])
            if kept_ids is not None:
                kept[n].append(kept_ids[i])
            finished[n] = token_list[i] in end_ids or (ends is not None and ends(tokens[n]))
        if all(finished) or step + 1 == T:
            break
        going = [i for i, b in enumerate(live) if not all(finished[b * K : (b + 1) * K])]
        token_BK = token.view(len(live), K)
        if len(going) <= len(live) // 2:
            index = torch.tensor(going, device=device)
            cache.select(index)
            token_BK = token_BK[index]
            live = [live[i] for i in going]
        cache.step = step
        positions = (cache.lengths_B + step)[:, None].expand(-1, K)
        logits = logits_of(model, _forward(model, token_BK, positions, cache))
    samples = [
        Sample(
            token_ids=tuple(tokens[n]),
            logprobs=tuple(logprobs[n]),
            finish_reason="stop" if finished[n] else "length",
            policy_version=version,
            kept=tuple(kept[n]) if params.filtered and params.temperature > 0 else None,
        )
        for n in range(B * K)
    ]
    return [samples[b * K : (b + 1) * K] for b in range(B)]


def _forward(model: Any, ids: Tensor, positions: Tensor, cache: PromptCache) -> Tensor:
    return model.base_model(
        input_ids=ids, position_ids=positions, use_cache=False, layout=cache
    ).last_hidden_state


class _Uniforms:
    """Uniform numbers of one response, drawn in blocks as it grows."""

    def __init__(self, seed: int, index: int) -> None:
        self._rng = np.random.Generator(np.random.Philox(key=[seed, index]))
        self._numbers = self._rng.random(8)

    def at(self, step: int) -> float:
        while step >= len(self._numbers):
            self._numbers = np.concatenate([self._numbers, self._rng.random(len(self._numbers))])
        return float(self._numbers[step])


def choose(
    logits_NV: Tensor, params: SamplingParams, uniform_N: Tensor
) -> tuple[Tensor, Tensor, list[tuple[int, ...]] | None]:
    """Draw one token a row by inverting the cumulative distribution at `uniform_N`.

    Returns:
        Token ids (N,), their log-probabilities under the distribution drawn from (N,), and under a
        filter the ids that could have been drawn.
    """
    logits = logits_NV.float()
    if params.temperature == 0.0:
        token = logits.argmax(-1)
        return token, torch.log_softmax(logits, -1).gather(-1, token[:, None])[:, 0], None
    logprobs = torch.log_softmax(logits / params.temperature, -1)
    kept = None
    if params.filtered:
        keep = _filter(logprobs, params)
        logprobs = torch.log_softmax(logprobs.masked_fill(~keep, float("-inf")), -1)
        kept = [tuple(row.nonzero()[:, 0].tolist()) for row in keep.cpu()]
    cumulative = torch.exp(logprobs.double()).cumsum(-1)
    point = uniform_N.to(cumulative)[:, None] * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, point, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
    return token, logprobs.gather(-1, token[:, None])[:, 0], kept


def _filter(logprobs_NV: Tensor, params: SamplingParams) -> Tensor:
    """Return which tokens top_k, then top_p keep; the most likely one always stays."""
    ordered, order = logprobs_NV.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(ordered.shape[-1], device=ordered.device)
    keep = rank < params.top_k if params.top_k > 0 else torch.ones_like(rank, dtype=torch.bool)
    keep = keep.expand_as(ordered)
    if params.top_p < 1.0:
        probabilities = torch.softmax(ordered.masked_fill(~keep, float("-inf")), -1)
        before = probabilities.cumsum(-1) - probabilities
        keep = keep & (before < params.top_p)
    return torch.zeros_like(keep).scatter(-1, order, keep)
