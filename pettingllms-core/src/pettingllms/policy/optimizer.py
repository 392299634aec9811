"""The optimiser of a policy: AdamW, or Muon for the matrices and AdamW for the rest.

Muon: Jordan et al. (2024), as in `torch.optim.Muon`, its step scaled to AdamW's root mean square
(arXiv 2502.16982, eq. 4), so that one learning rate serves both.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

OptimizerKind = Literal["adamw", "muon"]


class PolicyOptimizer:
    """One or two torch optimisers that step together."""

    def __init__(self, parts: list[torch.optim.Optimizer]) -> None:
        self._parts = parts

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of every parameter."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = learning_rate

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Take one step."""
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all parts."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Read back what `state_dict` returned."""
        for part, saved in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(saved)


def make_optimizer(
    model: Any,
    *,
    kind: OptimizerKind,
    learning_rate: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> PolicyOptimizer:
    """Return the optimiser of `model`'s trainable parameters; norms and biases are not decayed.

    With ``muon``, embeddings and output head stay with AdamW, as its authors advise.
    """
    tables = [module for module in (model.get_input_embeddings(), model.get_output_embeddings()) if module]
    table_ids = {id(p) for module in tables for p in module.parameters()}
    trainable = [p for p in model.parameters() if p.requires_grad]
    by_muon = [p for p in trainable if kind == "muon" and p.ndim == 2 and id(p) not in table_ids]
    muon_ids = {id(p) for p in by_muon}
    rest = [p for p in trainable if id(p) not in muon_ids]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    parts: list[torch.optim.Optimizer] = [
        torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate, betas=betas)
    ]
    if by_muon:
        parts.append(
            torch.optim.Muon(
                by_muon, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        )
    return PolicyOptimizer(parts)
