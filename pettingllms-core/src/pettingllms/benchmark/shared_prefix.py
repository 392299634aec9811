"""Update time with the prompt computed once against the plain path, in one process, pass by pass.

The ideal ratio of K responses of R tokens to one prompt of P tokens is K(P + R) / (P + K R): the
tokens that each path computes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from pettingllms.algorithm.batching import GroupBatch
from pettingllms.algorithm.shared_prefix import use_shared_prefix_attention
from pettingllms.policy.loading import pick_device
from pettingllms.policy.scoring import score

SHAPES = ((8, 256, 16), (8, 512, 64), (4, 512, 256))


@attrs.frozen
class SharedPrefixRow:
    """One shape (K, P, R): seconds are the least of all passes, differences are relative."""

    shape: tuple[int, int, int]
    plain_seconds: float
    shared_seconds: float
    logprob_difference: float
    gradient_difference: float

    @property
    def speedup(self) -> float:
        """How many times faster the shared prefix is."""
        return self.plain_seconds / self.shared_seconds

    @property
    def ideal(self) -> float:
        """Ratio of the tokens computed."""
        K, P, R = self.shape
        return K * (P + R) / (P + K * R)


def random_model(device: torch.device) -> Any:
    """Return a Qwen3 of 0.85M parameters, randomly initialised, float32."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config).to(device).eval()
    use_shared_prefix_attention(model)
    return model


def random_batch(shape: tuple[int, int, int], vocab_size: int, device: torch.device) -> GroupBatch:
    """Return one group of random tokens without padding."""
    K, P, R = shape
    ones = torch.ones(1, K, R, dtype=torch.bool)
    return GroupBatch(
        prompts_BP=torch.randint(0, vocab_size, (1, P)),
        prompt_lengths_B=torch.tensor([P]),
        responses_BKR=torch.randint(0, vocab_size, (1, K, R)),
        mask_BKR=ones,
        trained_BKR=ones,
        logprobs_BKR=torch.zeros(1, K, R),
        advantages_BK=torch.randn(1, K),
        temperature_B=torch.ones(1),
        kept_BKRM=None,
    ).to(device)


def _pass(model: Any, batch: GroupBatch, *, shared: bool) -> tuple[float, Tensor]:
    """Run one forward and backward; return seconds and the log-probabilities."""
    device = batch.prompts_BP.device
    model.zero_grad(set_to_none=True)
    _wait(device)
    began = time.perf_counter()
    logprobs = score(model, batch, shared_prefix=shared).logprobs_BKR
    (logprobs * batch.advantages_BK[..., None]).mean().backward()
    _wait(device)
    return time.perf_counter() - began, logprobs.detach()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _gradients(model: Any) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def measure(
    shapes: Sequence[tuple[int, int, int]] = SHAPES, *, passes: int = 15, device: str = "auto"
) -> Iterator[SharedPrefixRow]:
    """Yield a row for each shape; both paths take turns, so that a drifting machine hurts both."""
    where = pick_device(device)
    model = random_model(where)
    for shape in shapes:
        batch = random_batch(shape, model.config.vocab_size, where)
        plain_logprobs = _pass(model, batch, shared=False)[1]
        plain_gradients = _gradients(model)
        shared_logprobs = _pass(model, batch, shared=True)[1]
        shared_gradients = _gradients(model)
        plain, shared = [], []
        for _ in range(passes):
            plain.append(_pass(model, batch, shared=False)[0])
            shared.append(_pass(model, batch, shared=True)[0])
        yield SharedPrefixRow(
            shape=shape,
            plain_seconds=min(plain),
            shared_seconds=min(shared),
            logprob_difference=_relative(shared_logprobs, plain_logprobs),
            gradient_difference=_relative(shared_gradients, plain_gradients),
        )
