"""Defaults that depend on the model: below every layer that a user writes.

The schema's own defaults suit a pretrained model. The `tiny` model starts from nothing, so it first
clones the environment's expert, and it takes a much larger learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pettingllms.config.hardware import TINY

TINY_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "model": {"max_length": 1024, "max_new_tokens": 128},
    "training": {"learning_rate": 1e-4, "microbatch_tokens": 8192},
    "warm_start": {"steps": 250, "learning_rate": 1e-3},
}

PRETRAINED_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "warm_start": {"steps": 0, "learning_rate": 1e-5},
}


def model_defaults(model_name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the settings that the resolved `model_name` changes from the schema's defaults."""
    return TINY_DEFAULTS if model_name == TINY else PRETRAINED_DEFAULTS
