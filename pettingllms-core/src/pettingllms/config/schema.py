"""The settings of a run, section by section. Every key here is read by something.

Section and key names follow the training guide (``model``, ``agents``, ``training``,
``env``, ``checkpoint``). Each field carries its meaning in ``metadata["help"]``;
`presets show` and the reference in the docs print it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs
from attrs import validators as v

from pettingllms.config.checks import above, at_least, at_most, below
from pettingllms.env.suite import Split


def _field(default: Any, help_text: str, *checks: Any) -> Any:
    """Return an attrs field with its meaning; None passes every check of an optional field."""
    check = v.and_(*checks) if checks else None
    if check is not None and default is None:
        check = v.optional(check)
    return attrs.field(default=default, validator=check, metadata={"help": help_text})


def _table(help_text: str) -> Any:
    return attrs.field(factory=dict, metadata={"help": help_text})


@attrs.frozen(kw_only=True)
class TinyConfig:
    """Shape of the `tiny` model: a Qwen3 architecture made on the spot."""

    hidden_size: int = _field(128, "width of the residual stream", at_least(8))
    num_layers: int = _field(4, "transformer layers", at_least(1))
    num_heads: int = _field(4, "attention heads", at_least(1))
    num_kv_heads: int = _field(2, "key and value heads; divides num_heads", at_least(1))
    head_dim: int = _field(32, "width of one head", at_least(4))
    intermediate_size: int = _field(384, "width of the feed-forward layer", at_least(8))
    vocab_size: int = _field(512, "most tokens its tokenizer may have", at_least(260))


@attrs.frozen(kw_only=True)
class ModelConfig:
    """The model behind every policy, and how it is sampled while training."""

    name: str | None = _field(
        None, "Hugging Face name, folder, or 'tiny'; unset: 'tiny' without a GPU, Qwen/Qwen3-1.7B with one"
    )
    max_length: int = _field(2048, "most tokens of prompt and response together", at_least(16))
    max_new_tokens: int = _field(512, "most tokens of a response", at_least(1))
    temperature: float = _field(1.0, "sampling temperature while training", above(0.0))
    top_p: float = _field(
        1.0, "nucleus share while training; the learner renormalises over it", above(0.0), at_most(1.0)
    )
    top_k: int = _field(0, "most tokens to sample from while training, 0 for all", at_least(0))
    dtype: Literal["auto", "float32", "bfloat16"] = _field(
        "auto", "arithmetic (weights are float32); auto: float32 on CPU, bfloat16 on a GPU"
    )
    gradient_checkpointing: bool = _field(False, "recompute activations in the backward pass to save memory")
    enable_thinking: bool = _field(False, "let chat templates that support it open a thinking block")
    tiny: TinyConfig = attrs.field(factory=TinyConfig, metadata={"help": "shape of the tiny model"})


@attrs.frozen(kw_only=True)
class SamplingConfig:
    """Sampling settings of one role in evaluation; unset keys fall back to [evaluation]."""

    temperature: float | None = _field(None, "sampling temperature, 0 for greedy", at_least(0.0))
    top_p: float | None = _field(None, "nucleus share", above(0.0), at_most(1.0))
    max_new_tokens: int | None = _field(None, "most tokens of a response", at_least(1))
    stop: tuple[str, ...] | None = _field(None, "texts that end a response")


@attrs.frozen(kw_only=True)
class AgentConfig:
    """One seat of the team; unset keys fall back to the role that the environment registers."""

    name: str = attrs.field(metadata={"help": "the seat, as the environment names it"})
    role: str | None = _field(None, "a registered role to play instead of the environment's own")
    system_prompt: str | None = _field(None, "what the role is told before every observation")
    temperature: float | None = _field(None, "sampling temperature while training", above(0.0))
    top_p: float | None = _field(None, "nucleus share while training", above(0.0), at_most(1.0))
    max_new_tokens: int | None = _field(None, "most tokens of a response", at_least(1))
    stop: tuple[str, ...] | None = _field(None, "texts that end a response")
    evaluate: SamplingConfig = attrs.field(
        factory=SamplingConfig, metadata={"help": "sampling in evaluation"}
    )


@attrs.frozen(kw_only=True)
class AgentsConfig:
    """The team and who plays whom."""

    policy_mapping: str = _field("shared", "registered policy mapping: 'shared', 'per_role', ...")
    agents: tuple[AgentConfig, ...] = attrs.field(
        factory=tuple, metadata={"help": "settings of single seats"}
    )


@attrs.frozen(kw_only=True)
class TrainingConfig:
    """AT-GRPO: sampling, advantages, loss and optimiser."""

    algorithm: Literal["at_grpo", "grpo"] = _field(
        "at_grpo",
        "at_grpo: groups by agent and turn from a tree; grpo: independent rollouts of whole episodes",
    )
    num_iterations: int = _field(50, "rollout and update rounds", at_least(0))
    batch_size: int = _field(64, "tasks an iteration", at_least(1))
    num_branches: int = _field(8, "K, responses to one prompt (rollouts a task in grpo)", at_least(2))
    max_sampled_tokens: int | None = _field(None, "stop after so many sampled tokens", at_least(1))
    commit: Literal["greedy", "sampled", "mixed"] = _field(
        "greedy", "branch that the episode follows: best reward, any, or a mixture (at_grpo)"
    )
    greedy_share: float = _field(0.5, "share of greedy commits under 'mixed'", at_least(0.0), at_most(1.0))
    mix: Literal["convex", "additive"] = _field(
        "convex", "alpha*team + (1-alpha)*local, or alpha*team + local"
    )
    alpha: float = _field(0.7, "weight of the team reward", at_least(0.0), at_most(1.0))
    norm: Literal["std", "mean"] = _field("std", "advantage: (r-mean)/(std+eps), or r-mean")
    gamma: float | None = _field(
        None, "discount; the group estimators do not use it", above(0.0), at_most(1.0)
    )
    optimizer: Literal["adamw", "muon"] = _field(
        "adamw", "adamw, or muon: orthogonalised steps for matrices, AdamW for the rest"
    )
    learning_rate: float = _field(1e-6, "peak learning rate", at_least(0.0))
    lr_schedule: Literal["constant", "linear", "cosine"] = _field(
        "constant", "decay from peak to zero over num_iterations"
    )
    warmup_iterations: int = _field(0, "iterations in which the learning rate rises to its peak", at_least(0))
    adam_betas: tuple[float, float] = _field((0.9, 0.999), "AdamW's betas")
    weight_decay: float = _field(0.0, "AdamW's decoupled weight decay", at_least(0.0))
    max_grad_norm: float = _field(1.0, "gradients are clipped to this norm", above(0.0))
    ppo_epochs: int = _field(1, "passes over an iteration's groups", at_least(1))
    num_minibatches: int = _field(1, "optimiser steps a pass", at_least(1))
    microbatch_tokens: int = _field(16384, "most tokens in one forward and backward", at_least(1))
    clip_epsilon: float = _field(0.2, "clip range of the probability ratio", above(0.0), below(1.0))
    clip_epsilon_high: float | None = _field(None, "upper clip range; unset: clip_epsilon", above(0.0))
    dual_clip: float | None = _field(None, "bound on the loss of negative advantages", above(1.0))
    loss_aggregation: Literal["token-mean", "sequence-mean"] = _field(
        "token-mean", "weigh tokens or responses alike"
    )
    kl_coefficient: float = _field(0.0, "weight of the KL to the run's first policy", at_least(0.0))
    entropy_coefficient: float = _field(0.0, "weight of the entropy bonus", at_least(0.0))
    old_logprobs: Literal["generator", "recompute"] = _field(
        "generator", "denominator of the ratio: what the generator recorded, or the learner's own forward"
    )
    importance_cap: float | None = _field(
        None, "truncated importance weight between generator and learner (needs 'recompute')", above(0.0)
    )
    mask_truncated: bool = _field(False, "leave responses that ran out of tokens out of the loss")
    drop_zero_variance: bool = _field(True, "leave groups whose rewards are all equal out of the update")
    shared_prefix: bool = _field(True, "compute each prompt once for all its responses")


@attrs.frozen(kw_only=True)
class EnvConfig:
    """The environment, its tasks and its reward."""

    name: str | None = _field(None, "environment, such as 'sokoban' or 'games/sokoban'")
    max_turns: int | None = _field(None, "passes over the team; unset: the environment's own", at_least(1))
    num_envs: int | None = _field(None, "tasks in the train split; unset: all the suite has", at_least(1))
    timeout: float = _field(300.0, "seconds that one environment step may take", above(0.0))
    seed: int = _field(0, "seed of tasks, sampling and weights", at_least(0))
    options: Mapping[str, Any] = _table("the environment's own options (`envs show NAME`)")
    reward: str | None = _field(None, "registered reward function; unset: the environment's own")
    reward_options: Mapping[str, Any] = _table("the reward function's options (`envs show NAME`)")


@attrs.frozen(kw_only=True)
class WarmStartConfig:
    """Cloning the environment's expert before reinforcement learning."""

    steps: int | None = _field(None, "optimiser steps; unset: 250 for 'tiny', 0 otherwise", at_least(0))
    num_tasks: int = _field(512, "tasks that the expert demonstrates", at_least(1))
    batch_size: int = _field(64, "demonstrated turns an optimiser step", at_least(1))
    noise: float = _field(
        0.3,
        "share of turns where play follows a random response; the demonstration stays the expert's",
        at_least(0.0),
        at_most(1.0),
    )
    prompt_weight: float = _field(
        0.0, "weight of predicting the prompts too, of use to a model that starts from nothing", at_least(0.0)
    )
    optimizer: Literal["adamw", "muon"] = _field("adamw", "optimiser of the cloning")
    learning_rate: float | None = _field(None, "peak; unset: 1e-3 for 'tiny', 1e-5 otherwise", above(0.0))


@attrs.frozen(kw_only=True)
class EvaluationConfig:
    """Held-out evaluation: one response a prompt, no branching."""

    interval: int = _field(10, "iterations between validations, 0 for none", at_least(0))
    num_tasks: int = _field(100, "tasks of a validation", at_least(1))
    split: Split = _field("validation", "split of a validation during training")  # noqa: RUF009
    final_split: Split = _field("test", "split of the table at the end")  # noqa: RUF009
    final_num_tasks: int = _field(200, "tasks of the table at the end, 0 for none", at_least(0))
    temperature: float = _field(0.0, "sampling temperature, 0 for greedy", at_least(0.0))
    top_p: float = _field(1.0, "nucleus share", above(0.0), at_most(1.0))


@attrs.frozen(kw_only=True)
class CheckpointConfig:
    """When a run saves itself."""

    save_interval: int = _field(10, "iterations between checkpoints, 0 for the last one only", at_least(0))
    keep_last_n: int = _field(3, "checkpoints kept, besides the best", at_least(1))
    save_best: bool = _field(True, "keep the checkpoint with the best validation success")


@attrs.frozen(kw_only=True)
class EngineConfig:
    """Where generators and learners run."""

    kind: Literal["local"] = _field("local", "local: one process, CPU or one GPU")
    device: str = _field("auto", "'auto', 'cpu', 'cuda', 'cuda:1'")
    threads: int | None = _field(None, "CPU threads of torch; unset: one a core", at_least(1))


@attrs.frozen(kw_only=True)
class TrackingConfig:
    """What a run writes."""

    output: str = _field("logs", "folder under which the run's own folder is made")
    episodes: int = _field(4, "training episodes recorded an iteration, with every branch", at_least(0))


@attrs.frozen(kw_only=True)
class Config:
    """All settings of a run."""

    model: ModelConfig = attrs.field(factory=ModelConfig)
    agents: AgentsConfig = attrs.field(factory=AgentsConfig)
    training: TrainingConfig = attrs.field(factory=TrainingConfig)
    env: EnvConfig = attrs.field(factory=EnvConfig)
    warm_start: WarmStartConfig = attrs.field(factory=WarmStartConfig)
    evaluation: EvaluationConfig = attrs.field(factory=EvaluationConfig)
    checkpoint: CheckpointConfig = attrs.field(factory=CheckpointConfig)
    engine: EngineConfig = attrs.field(factory=EngineConfig)
    tracking: TrackingConfig = attrs.field(factory=TrackingConfig)
