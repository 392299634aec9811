"""Log-probabilities of responses, with the prompt computed once or the plain way.

Shapes: B groups, K responses, P prompt tokens, R response tokens, N counted tokens, V vocabulary,
C width, M kept tokens.
"""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pettingllms.algorithm.batching import GroupBatch
from pettingllms.algorithm.shared_prefix import GroupLayout, RowLayout, use_shared_prefix_attention

LOGIT_BLOCK = 1 << 26
"""Logits (tokens times vocabulary) held at once; more are computed in recomputed blocks."""


@attrs.define(eq=False)
class Scores:
    """Of every response token, zero on padding: (B, K, R)."""

    logprobs_BKR: Tensor
    entropy_BKR: Tensor


def score(model: Any, batch: GroupBatch, *, shared_prefix: bool, two_part: bool | None = None) -> Scores:
    """Return log-probabilities and entropies of the batch's responses under `model`.

    They belong to the distribution that was sampled from: logits divided by the group's temperature and,
    where a filter was recorded, renormalised over the tokens it kept.

    Args:
        model: A transformers causal language model with the attention of `shared_prefix`.
        batch: Groups on the model's device.
        shared_prefix: Compute each prompt once (the result is the same either way).
        two_part: Forces one of the two ways to attend, for measurements.
    """
    states_BKRC = _states_shared(model, batch, two_part) if shared_prefix else _states_plain(model, batch)
    mask = batch.mask_BKR
    temperature_N = batch.temperature_B[:, None, None].expand_as(mask)[mask]
    kept_NM = None if batch.kept_BKRM is None else batch.kept_BKRM[mask]
    logprobs_N, entropy_N = token_statistics(
        model, states_BKRC[mask], batch.responses_BKR[mask], temperature_N, kept_NM
    )
    zeros = torch.zeros(mask.shape, dtype=logprobs_N.dtype, device=mask.device)
    return Scores(zeros.masked_scatter(mask, logprobs_N), zeros.masked_scatter(mask, entropy_N))


def _states_shared(model: Any, batch: GroupBatch, two_part: bool | None) -> Tensor:
    """Return the hidden state that predicts each response token, (B, K, R, C)."""
    B, P = batch.prompts_BP.shape
    _, K, R = batch.responses_BKR.shape
    S = max(R - 1, 1)  # the last token predicts nothing
    lengths = batch.prompt_lengths_B
    steps_S = torch.arange(S, device=lengths.device)
    positions_BL = torch.cat(
        [
            torch.arange(P, device=lengths.device).expand(B, P),
            (lengths[:, None] + steps_S[None]).repeat(1, K),
        ],
        dim=1,
    )
    layout = GroupLayout(P, K, S, lengths, bool((lengths < P).any()), two_part)
    hidden_BLC = model.base_model(
        input_ids=torch.cat([batch.prompts_BP, batch.responses_BKR[:, :, :S].flatten(1)], dim=1),
        position_ids=positions_BL,
        use_cache=False,
        layout=layout,
    ).last_hidden_state
    last_BC = hidden_BLC[torch.arange(B, device=lengths.device), lengths - 1]
    first = last_BC[:, None, None].expand(B, K, 1, last_BC.shape[-1])
    if R == 1:
        return first
    return torch.cat([first, hidden_BLC[:, P:].unflatten(1, (K, S))], dim=2)


def _states_plain(model: Any, batch: GroupBatch) -> Tensor:
    """The same by K full rows a group: what the shared prefix is checked and measured against."""
    B, P = batch.prompts_BP.shape
    _, K, R = batch.responses_BKR.shape
    lengths_N = batch.prompt_lengths_B.repeat_interleave(K)
    rows = batch.responses_BKR.flatten(0, 1)
    ids = torch.zeros(B * K, P + R, dtype=torch.long, device=rows.device)
    at = lengths_N[:, None] + torch.arange(R, device=rows.device)
    ids[:, :P] = batch.prompts_BP.repeat_interleave(K, dim=0)
    ids.scatter_(1, at, rows)  # responses follow their prompt directly; padding comes last
    positions = torch.arange(P + R - 1, device=rows.device).expand(B * K, -1)
    hidden = model.base_model(
        input_ids=ids[:, :-1], position_ids=positions, use_cache=False, layout=RowLayout()
    )
    states = hidden.last_hidden_state
    picked = states.gather(1, (at - 1)[..., None].expand(-1, -1, states.shape[-1]))
    return picked.unflatten(0, (B, K))


def token_statistics(
    model: Any, states_NC: Tensor, targets_N: Tensor, temperature_N: Tensor, kept_NM: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return log-probability of the target and entropy, both (N,) in float32, block by block."""

    def block(
        states: Tensor, targets: Tensor, temperature: Tensor, kept: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        logits = logits_of(model, states).float() / temperature[:, None]
        target = logits.gather(-1, targets[:, None])[:, 0]
        if kept is not None:
            logits = logits.gather(-1, kept.clamp(min=0)).masked_fill(kept < 0, float("-inf"))
        normaliser = torch.logsumexp(logits, -1)
        probabilities = torch.exp(logits - normaliser[:, None])
        finite = logits if kept is None else logits.masked_fill(kept < 0, 0.0)
        return target - normaliser, normaliser - (probabilities * finite).sum(-1)

    vocabulary = model.get_output_embeddings().weight.shape[0]
    size = max(1, LOGIT_BLOCK // vocabulary)
    if states_NC.shape[0] <= size:
        return block(states_NC, targets_N, temperature_N, kept_NM)
    parts = [
        checkpoint(
            block,
            states_NC[i : i + size],
            targets_N[i : i + size],
            temperature_N[i : i + size],
            None if kept_NM is None else kept_NM[i : i + size],
            use_reentrant=False,
        )
        for i in range(0, states_NC.shape[0], size)
    ]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def logits_of(model: Any, states: Tensor) -> Tensor:
    """Return the logits behind hidden states; `verify` proves that the model computes no others."""
    return model.get_output_embeddings()(states)


class UnsupportedModelError(Exception):
    """The model's own forward and ours disagree; its text says by how much."""


@torch.no_grad()
def verify(model: Any, *, tolerance: float | None = None) -> None:
    """Check on a few random tokens that our forwards agree with the model's own, once per model.

    Raises:
        UnsupportedModelError: The architecture computes something else (soft-capped logits, its own masks).
    """
    config = model.config.get_text_config()
    device = next(model.parameters()).device
    random = torch.Generator().manual_seed(0)
    P, K, R = 12, 2, 5
    prompt = torch.randint(0, config.vocab_size, (1, P), generator=random).to(device)
    response = torch.randint(0, config.vocab_size, (1, K, R), generator=random).to(device)
    ones = torch.ones(1, K, R, dtype=torch.bool, device=device)
    batch = GroupBatch(
        prompts_BP=prompt,
        prompt_lengths_B=torch.tensor([P], device=device),
        responses_BKR=response,
        mask_BKR=ones,
        trained_BKR=ones,
        logprobs_BKR=torch.zeros(1, K, R, device=device),
        advantages_BK=torch.zeros(1, K, device=device),
        temperature_B=torch.ones(1, device=device),
        kept_BKRM=None,
    )
    if tolerance is None:
        tolerance = 1e-3 if next(model.parameters()).dtype == torch.float32 else 0.25
    ids = torch.cat([prompt.expand(K, P), response[0]], dim=1)
    try:
        model.set_attn_implementation("sdpa")
        own = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[:, P - 1 : -1].float(), -1)
        reference = own.gather(-1, response[0][..., None])[..., 0]
        use_shared_prefix_attention(model)
        ours = score(model, batch, shared_prefix=True).logprobs_BKR[0]
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise UnsupportedModelError(str(error).partition("\n")[0]) from error
    difference = float((ours - reference).abs().max())
    if not difference <= tolerance:
        raise UnsupportedModelError(f"log-probabilities differ by {difference:.2g}")
