"""Settings that are fine one by one and contradict each other."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from pettingllms.config.schema import Config
from pettingllms.errors import ConfigError

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")

# An infinite bound (max_grad_norm, timeout, importance_cap) means "none"; an infinite weight means nothing.
_FINITE = (
    ("model", "temperature"),
    ("training", "learning_rate"),
    ("training", "weight_decay"),
    ("training", "kl_coefficient"),
    ("training", "entropy_coefficient"),
    ("warm_start", "learning_rate"),
    ("evaluation", "temperature"),
)


def validate(config: Config) -> None:
    """Refuse settings that contradict each other.

    Raises:
        ConfigError: One line with every contradiction.
    """
    problems = [*_model(config), *_agents(config), *_training(config), *_rest(config)]
    if problems:
        raise ConfigError("; ".join(problems))


def _model(config: Config) -> Iterator[str]:
    model, tiny = config.model, config.model.tiny
    if model.name is not None and not model.name.strip():
        yield "model.name is empty; leave it out, or give a Hugging Face name, a folder or 'tiny'"
    if model.max_new_tokens >= model.max_length:
        yield (
            f"model.max_new_tokens = {model.max_new_tokens} leaves no room for a prompt in "
            f"model.max_length = {model.max_length}"
        )
    if model.top_k == 1:
        yield "model.top_k = 1 makes the branches of a group all alike; use 0 for no limit, or at least 2"
    if tiny.num_heads % tiny.num_kv_heads:
        yield (
            f"model.tiny.num_kv_heads = {tiny.num_kv_heads} does not divide "
            f"model.tiny.num_heads = {tiny.num_heads}"
        )
    if tiny.head_dim % 2:
        yield f"model.tiny.head_dim = {tiny.head_dim} must be even (rotary embeddings turn pairs)"


def _agents(config: Config) -> Iterator[str]:
    if not config.agents.policy_mapping.strip():
        yield "agents.policy_mapping is empty; use 'shared', 'per_role' or a registered mapping"
    names = Counter(agent.name for agent in config.agents.agents)
    for name, count in names.items():
        if count > 1:
            yield f"agents.agents names the seat {name!r} {count} times"
    for index, agent in enumerate(config.agents.agents):
        path = f"agents.agents[{index}]"
        if not agent.name.strip():
            yield f"{path}.name is empty"
        for at, sampling in ((path, agent), (f"{path}.evaluate", agent.evaluate)):
            tokens = sampling.max_new_tokens
            if tokens is not None and tokens >= config.model.max_length:
                yield (
                    f"{at}.max_new_tokens = {tokens} leaves no room for a prompt in "
                    f"model.max_length = {config.model.max_length}"
                )
            if sampling.temperature is not None and math.isinf(sampling.temperature):
                yield f"{at}.temperature must be finite"
            if "" in (sampling.stop or ()):
                yield f"{at}.stop holds an empty text, which would end every response at once"


def _training(config: Config) -> Iterator[str]:
    training = config.training
    for beta in training.adam_betas:
        if not 0.0 <= beta < 1.0:
            yield f"training.adam_betas must be at least 0 and below 1, not {beta}"
    if training.warmup_iterations > training.num_iterations:
        yield (
            f"training.warmup_iterations = {training.warmup_iterations} exceeds "
            f"training.num_iterations = {training.num_iterations}"
        )
    if training.importance_cap is not None and training.old_logprobs != "recompute":
        yield "training.importance_cap needs training.old_logprobs = 'recompute'"
    if training.microbatch_tokens < config.model.max_length:
        yield (
            f"training.microbatch_tokens = {training.microbatch_tokens} cannot hold one sequence of "
            f"model.max_length = {config.model.max_length}"
        )


def _rest(config: Config) -> Iterator[str]:
    for section, key in _FINITE:
        value = getattr(getattr(config, section), key)
        if value is not None and math.isinf(value):
            yield f"{section}.{key} must be finite"
    turns = config.env.options.get("max_turns")
    if config.env.max_turns is not None and turns is not None and turns != config.env.max_turns:
        yield f"env.max_turns = {config.env.max_turns} contradicts env.options.max_turns = {turns}"
    if not _DEVICE.fullmatch(config.engine.device):
        yield f"engine.device must be 'auto', 'cpu', 'cuda' or 'cuda:N', not {config.engine.device!r}"
    if not config.tracking.output.strip():
        yield "tracking.output is empty; name a folder"
    for table in ("options", "reward_options"):
        for key, value in getattr(config.env, table).items():
            if not _is_plain(value):
                yield (
                    f"env.{table}.{key} must be made of strings, numbers, true, false, lists and tables, "
                    f"not {type(value).__name__}"
                )


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return isinstance(value, (str, bool, int, float))
