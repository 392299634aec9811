"""One prompt, K responses, one forward and one backward.

A group is laid out as one row ``[prompt | response 1 | ... | response K]`` with the positions of
every response going on from the end of the prompt. All layers but attention work on tokens one by
one, so the row costs P + K*S tokens instead of K*(P + S). In attention, the prompt attends to itself and
each response to the prompt and to itself. This is exact: a causal prompt cannot see its responses,
and the gradient that reaches the prompt's keys and values is the sum over the responses.

The model is an unmodified transformers model whose attention function is replaced through the
library's own interface; the layout travels as a keyword argument of the forward. There is no cache, so
gradient checkpointing and sharded parameters work as ever.

Shapes: B groups, K responses a group, P prompt tokens (right-padded), S response tokens fed,
H heads, G key-value heads, n = H / G, D head width.
"""

from __future__ import annotations

from typing import Any, Protocol

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

ATTENTION = "pettingllms_shared_prefix"
"""Name of the attention function in transformers' registry."""

TWO_PART_LIMIT = 32
"""Up to this many response tokens, scores against prompt and response are computed apart.

Beyond, keys are joined for the fused kernel. `pettingllms benchmark shared-prefix` measures both.
"""


class Layout(Protocol):
    """How the rows of a forward are to attend."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None) -> Tensor:
        """Map q (B, H, L, D), k and v (B, G, L, D) to the output (B, H, L, D)."""
        ...


def attention_function(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    layout: Layout | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend as `layout` says; the signature is transformers' attention interface."""
    if layout is None:
        raise ValueError(f"{ATTENTION} attention needs a layout")
    if softcap is not None or s_aux is not None:
        raise NotImplementedError("attention with soft-capped scores or sinks")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = layout.attend(module.layer_idx, query, key, value, scale, sliding_window)
    return out.transpose(1, 2).contiguous(), None


def use_shared_prefix_attention(model: Any) -> None:
    """Give `model` the attention of this module. Its forwards then need ``layout=``."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, attention_function)
    model.set_attn_implementation(ATTENTION)


def attend_prompt(q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None) -> Tensor:
    """Causal attention of right-padded prompts. Padding comes last, so no real token sees it."""
    P = q.shape[2]
    if window is None or window >= P:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)
    i = torch.arange(P, device=q.device)
    distance_PP = i[:, None] - i[None]
    mask_PP = (distance_PP >= 0) & (distance_PP < window)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask_PP, scale=scale, enable_gqa=True)


def prompt_mask(
    lengths_B: Tensor, P: int, offsets_S: Tensor, window: int | None, *, padded: bool
) -> Tensor | None:
    """Return which prompt tokens a response token sees, (B, 1 or S, P), or None for all of them."""
    if not padded and (window is None or window >= P + int(offsets_S[-1]) + 1):
        return None
    j = torch.arange(P, device=lengths_B.device)
    mask_BSP = j[None, None] < lengths_B[:, None, None]
    if window is not None:
        position_BS = lengths_B[:, None] + offsets_S[None]
        mask_BSP = mask_BSP & (position_BS[..., None] - j < window)
    return mask_BSP


def two_part_attention(
    q_BHKSD: Tensor,
    prompt_kv: tuple[Tensor, Tensor],
    own_kv: tuple[Tensor, Tensor],
    scale: float,
    mask_BSP: Tensor | None,
    own_mask_ST: Tensor | None,
) -> Tensor:
    """Softmax over prompt and own keys together, without copying the prompt's keys K times.

    Args:
        q_BHKSD: Queries of the responses.
        prompt_kv: Keys and values of the prompts, (B, G, P, D).
        own_kv: Keys and values of the responses, (B, G, K, T, D).
        scale: Factor of the scores.
        mask_BSP: Which prompt tokens are seen; None for all.
        own_mask_ST: Which own tokens are seen; None for all.

    Returns:
        (B, H, K, S, D).
    """
    B, H, K, S, D = q_BHKSD.shape
    kp, vp = prompt_kv
    ko, vo = own_kv
    G, P, T = kp.shape[1], kp.shape[2], ko.shape[3]
    n = H // G
    q = (q_BHKSD * scale).reshape(B, G, n, K, S, D)
    scores_p = torch.matmul(q.reshape(B, G, n * K * S, D), kp.transpose(-1, -2)).view(B, G, n, K, S, P)
    if mask_BSP is not None:
        scores_p = scores_p.masked_fill(~mask_BSP[:, None, None, None], float("-inf"))
    q_own = q.transpose(2, 3).reshape(B, G, K, n * S, D)
    scores_o = torch.matmul(q_own, ko.transpose(-1, -2)).view(B, G, K, n, S, T)
    if own_mask_ST is not None:
        scores_o = scores_o.masked_fill(~own_mask_ST, float("-inf"))
    weights = torch.softmax(torch.cat([scores_p, scores_o.transpose(2, 3)], dim=-1), dim=-1)
    out_p = torch.matmul(weights[..., :P].reshape(B, G, n * K * S, P), vp).view(B, G, n, K, S, D)
    weights_o = weights[..., P:].transpose(2, 3).reshape(B, G, K, n * S, T)
    out_o = torch.matmul(weights_o, vo).view(B, G, K, n, S, D).transpose(2, 3)
    return (out_p + out_o).reshape(B, H, K, S, D)


class RowLayout:
    """Plain causal rows, ``[prompt | response | padding]``: what the shared prefix is measured against."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None) -> Tensor:
        """See `Layout.attend`."""
        return attend_prompt(q, k, v, scale, window)


@attrs.define(eq=False)
class GroupLayout:
    """Rows of a training forward: B groups of K responses.

    Attributes:
        P: Prompt tokens of a row, padding included.
        K: Responses.
        S: Tokens of a response, padding included.
        lengths_B: Real prompt tokens.
        padded: Whether any length is below P.
        two_part: Which of the two ways to attend; None chooses by S.
    """

    P: int
    K: int
    S: int
    lengths_B: Tensor
    padded: bool
    two_part: bool | None = None

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float, window: int | None) -> Tensor:
        """See `Layout.attend`; L = P + K*S."""
        P, K, S = self.P, self.K, self.S
        B, H, _, D = q.shape
        G = k.shape[1]
        out_prompt = attend_prompt(q[:, :, :P], k[:, :, :P], v[:, :, :P], scale, window)
        kp, vp = k[:, :, :P], v[:, :, :P]
        q_own = q[:, :, P:].reshape(B, H, K, S, D)
        k_own, v_own = k[:, :, P:].reshape(B, G, K, S, D), v[:, :, P:].reshape(B, G, K, S, D)
        s = torch.arange(S, device=q.device)
        distance_SS = s[:, None] - s[None]
        own_mask_SS = distance_SS >= 0
        if window is not None:
            own_mask_SS = own_mask_SS & (distance_SS < window)
        mask_BSP = prompt_mask(self.lengths_B, P, s, window, padded=self.padded)
        if S <= TWO_PART_LIMIT if self.two_part is None else self.two_part:
            out_own = two_part_attention(q_own, (kp, vp), (k_own, v_own), scale, mask_BSP, own_mask_SS)
        else:
            out_own = self._joined(q_own, (kp, vp), (k_own, v_own), scale, mask_BSP, own_mask_SS)
        return torch.cat([out_prompt, out_own.reshape(B, H, K * S, D)], dim=2)

    def _joined(
        self,
        q_BHKSD: Tensor,
        prompt_kv: tuple[Tensor, Tensor],
        own_kv: tuple[Tensor, Tensor],
        scale: float,
        mask_BSP: Tensor | None,
        own_mask_SS: Tensor,
    ) -> Tensor:
        B, H, K, S, D = q_BHKSD.shape
        P = self.P

        def join(prompt: Tensor, own: Tensor) -> Tensor:
            spread = prompt[:, None].expand(B, K, *prompt.shape[1:])
            return torch.cat([spread, own.transpose(1, 2)], dim=3).flatten(0, 1)

        if mask_BSP is None:
            mask = torch.cat([own_mask_SS.new_ones(S, P), own_mask_SS], dim=1)
        else:
            own = own_mask_SS.expand(B, S, S)
            mask = torch.cat([mask_BSP.expand(B, S, P), own], dim=2)
            mask = mask[:, None, None].expand(B, K, 1, S, P + S).flatten(0, 1)
        out = F.scaled_dot_product_attention(
            q_BHKSD.transpose(1, 2).flatten(0, 1),
            join(prompt_kv[0], own_kv[0]),
            join(prompt_kv[1], own_kv[1]),
            attn_mask=mask,
            scale=scale,
            enable_gqa=True,
        )
        return out.view(B, K, H, S, D).transpose(1, 2)
