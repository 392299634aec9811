"""Settings that somebody changed and that nothing will read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from pettingllms.config.hardware import TINY
from pettingllms.config.schema import Config
from pettingllms.config.structure import structure
from pettingllms.config.tiny_defaults import model_defaults


def unused_settings(config: Config) -> list[str]:
    """Return a line for each setting that differs from its default and has no effect in this run.

    For example ``training.gamma = 0.99 is not used by at_grpo``. Meant to be printed when a run starts.
    """
    defaults = structure(model_defaults(config.model.name or TINY), Config, "")
    lines = []
    for path, reason in _without_effect(config):
        value, default = _value(config, path), _value(defaults, path)
        if value != default:
            lines.append(f"{path} = {_text(value)} is not used {reason}")
    return lines


def _without_effect(config: Config) -> Iterator[tuple[str, str]]:
    """Yield (dotted path, why) of every setting that this configuration makes idle."""
    training, evaluation = config.training, config.evaluation
    yield "training.gamma", f"by {training.algorithm}"
    if training.algorithm != "at_grpo":
        yield "training.commit", f"by {training.algorithm}"
        yield "training.greedy_share", f"by {training.algorithm}"
    elif training.commit != "mixed":
        yield "training.greedy_share", f"when training.commit = {training.commit!r}"
    if evaluation.interval == 0:
        yield "evaluation.num_tasks", "when evaluation.interval = 0"
        yield "evaluation.split", "when evaluation.interval = 0"
        if evaluation.final_num_tasks == 0:
            why = "when evaluation.interval and evaluation.final_num_tasks are 0"
            yield "evaluation.temperature", why
            yield "evaluation.top_p", why
    if evaluation.final_num_tasks == 0:
        yield "evaluation.final_split", "when evaluation.final_num_tasks = 0"
    if config.model.name is not None and config.model.name != TINY:
        for field in attrs.fields(type(config.model.tiny)):
            yield f"model.tiny.{field.name}", f"by {config.model.name}"
    if config.warm_start.steps == 0:
        for key in ("num_tasks", "batch_size", "learning_rate"):
            yield f"warm_start.{key}", "when warm_start.steps = 0"


def _value(config: Any, path: str) -> Any:
    for key in path.split("."):
        config = getattr(config, key)
    return config


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
