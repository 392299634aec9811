"""Groups to tensors, and groups to micro-batches.

Shapes: B groups, K responses a group, P prompt tokens, R response tokens, M kept tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import torch
from torch import Tensor

from pettingllms.algorithm.estimators import PromptGroup


@attrs.define(eq=False)
class GroupBatch:
    """B groups of K responses each, right-padded.

    Attributes:
        prompts_BP: Prompt tokens.
        prompt_lengths_B: Real tokens of each prompt.
        responses_BKR: Response tokens.
        mask_BKR: True for real response tokens.
        trained_BKR: True for the tokens that the loss counts (a subset of `mask_BKR`).
        logprobs_BKR: The generator's log-probabilities.
        advantages_BK: One advantage a response.
        temperature_B: At which the group was sampled.
        kept_BKRM: Token ids that could have been sampled, -1 for padding; None without a filter.
    """

    prompts_BP: Tensor
    prompt_lengths_B: Tensor
    responses_BKR: Tensor
    mask_BKR: Tensor
    trained_BKR: Tensor
    logprobs_BKR: Tensor
    advantages_BK: Tensor
    temperature_B: Tensor
    kept_BKRM: Tensor | None

    def to(self, device: torch.device) -> GroupBatch:
        """Return the batch on `device`."""
        if device.type == "cpu":
            return self
        moved = {
            field.name: None if value is None else value.to(device, non_blocking=True)
            for field in attrs.fields(GroupBatch)
            for value in [getattr(self, field.name)]
        }
        return GroupBatch(**moved)


def longest_response(group: PromptGroup) -> int:
    """Return R of one group, at least 1."""
    return max(1, *(len(item.sample.token_ids) for item in group.samples))


def collate(groups: Sequence[PromptGroup], *, mask_truncated: bool = False) -> GroupBatch:
    """Return the tensors of `groups`, which must all have the same number of responses."""
    B, K = len(groups), len(groups[0].samples)
    P = max(len(group.prompt_ids) for group in groups)
    R = max(longest_response(group) for group in groups)
    prompts = torch.zeros(B, P, dtype=torch.long)
    responses = torch.zeros(B, K, R, dtype=torch.long)
    mask = torch.zeros(B, K, R, dtype=torch.bool)
    trained = torch.zeros(B, K, R, dtype=torch.bool)
    logprobs = torch.zeros(B, K, R)
    for b, group in enumerate(groups):
        if len(group.samples) != K:
            raise ValueError("groups of different sizes cannot share a batch")
        prompts[b, : len(group.prompt_ids)] = torch.tensor(group.prompt_ids)
        for k, item in enumerate(group.samples):
            n = len(item.sample.token_ids)
            responses[b, k, :n] = torch.tensor(item.sample.token_ids, dtype=torch.long)
            logprobs[b, k, :n] = torch.tensor(item.sample.logprobs)
            mask[b, k, :n] = True
            trained[b, k, :n] = not (mask_truncated and item.sample.finish_reason == "length")
    return GroupBatch(
        prompts_BP=prompts,
        prompt_lengths_B=torch.tensor([len(group.prompt_ids) for group in groups]),
        responses_BKR=responses,
        mask_BKR=mask,
        trained_BKR=trained,
        logprobs_BKR=logprobs,
        advantages_BK=torch.tensor([[item.advantage for item in group.samples] for group in groups]),
        temperature_B=torch.tensor([group.temperature or 1.0 for group in groups]),
        kept_BKRM=_kept(groups, K, R),
    )


def _kept(groups: Sequence[PromptGroup], K: int, R: int) -> Tensor | None:
    sizes = [len(ids) for g in groups for item in g.samples if item.sample.kept for ids in item.sample.kept]
    if not sizes:
        return None
    kept = torch.full((len(groups), K, R, max(sizes)), -1, dtype=torch.long)
    for b, group in enumerate(groups):
        for k, item in enumerate(group.samples):
            if item.sample.kept is None:
                raise ValueError("a batch mixes filtered and unfiltered samples")
            for r, ids in enumerate(item.sample.kept):
                kept[b, k, r, : len(ids)] = torch.tensor(ids)
    return kept


def micro_batches(groups: Sequence[PromptGroup], tokens: int) -> Iterator[list[int]]:
    """Yield lists of indices into `groups` whose padded rows hold at most `tokens` tokens each.

    Groups stay whole, so a group larger than `tokens` makes a batch alone. Alike groups come
    together (same K, similar lengths), which keeps padding low.
    """

    def shape(i: int) -> tuple[int, bool, int, int]:
        group = groups[i]
        filtered = group.samples[0].sample.kept is not None
        return len(group.samples), filtered, longest_response(group), len(group.prompt_ids)

    batch: list[int] = []
    K, filtered, R, P = 0, False, 0, 0
    for i in sorted(range(len(groups)), key=lambda i: (*shape(i), i)):
        k, f, r, p = shape(i)
        widest = max(P, p) + k * max(R, r)
        if batch and ((k, f) != (K, filtered) or widest * (len(batch) + 1) > tokens):
            yield batch
            batch, R, P = [], 0, 0
        K, filtered, R, P = k, f, max(R, r), max(P, p)
        batch.append(i)
    if batch:
        yield batch
