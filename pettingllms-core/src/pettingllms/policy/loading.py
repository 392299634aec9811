"""Loading a model and its tokenizer, from a folder or by name from the hub."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import attrs
import torch

from pettingllms.config.schema import ModelConfig
from pettingllms.errors import ConfigError
from pettingllms.policy.chat import TokenizerCodec
from pettingllms.policy.saving import silence_progress_bars
from pettingllms.policy.scoring import UnsupportedModelError, verify


@attrs.define(eq=False)
class LoadedModel:
    """A model ready to be sampled and trained, with its tokenizer.

    Attributes:
        model: A transformers causal language model with the attention of `shared_prefix`.
        tokenizer: Its tokenizer.
        codec: Chat messages to its tokens.
        end_ids: Tokens that end a response.
        autocast: Type of the arithmetic where it is not the weights' own.
    """

    model: Any
    tokenizer: Any
    codec: TokenizerCodec
    end_ids: frozenset[int]
    autocast: torch.dtype | None = None

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Return the context that forwards run in."""
        device = next(self.model.parameters()).device
        return torch.autocast(device.type, dtype=self.autocast) if self.autocast else nullcontext()


def pick_device(name: str) -> torch.device:
    """Return the device that `engine.device` asks for.

    Raises:
        ConfigError: No such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"engine.device = {name!r} is no device; use 'auto', 'cpu' or 'cuda'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"engine.device = {name!r}: this machine has no usable GPU; use 'cpu'")
    return device


def check_source(source: str | Path) -> None:
    """Refuse a folder that is not there, before anything takes it for a name on the hub.

    A name on the hub is ``name`` or ``owner/name``; whatever starts with ``.``, ``~`` or ``/``, ends with a
    slash or has two or more of them can only be a folder.

    Raises:
        ConfigError: The folder does not exist, or is a file.
    """
    text = os.fspath(source).replace(os.sep, "/")
    is_path = isinstance(source, Path) or text.startswith((".", "~", "/")) or text.endswith("/")
    if Path(source).is_dir() or not (is_path or text.count("/") > 1):
        return
    if Path(source).exists():
        raise ConfigError(f"the model {str(source)!r} is a file; name the folder that holds it")
    raise ConfigError(
        f"the model folder {str(source)!r} does not exist; correct it, or give a name on the Hugging Face hub"
    )


def load_model(source: str | Path, settings: ModelConfig, device: torch.device) -> LoadedModel:
    """Load `source`, a folder or a name on the Hugging Face hub.

    Raises:
        ConfigError: It cannot be loaded, or its architecture is not supported; the text says why.
    """
    check_source(source)
    tokenizer = _load_tokenizer(source)
    model = _load_weights(source, settings, device)
    codec = TokenizerCodec(tokenizer, enable_thinking=settings.enable_thinking)
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"the tokenizer of {str(source)!r} has no end token (eos_token)")
    ends = {tokenizer.eos_token_id}
    configured = model.generation_config.eos_token_id
    ends.update(configured if isinstance(configured, list) else [] if configured is None else [configured])
    loaded = LoadedModel(model, tokenizer, codec, frozenset(ends), _autocast(settings, device))
    try:
        with loaded.arithmetic():
            verify(model, tolerance=1e-3 if loaded.autocast is None else 0.25)
    except UnsupportedModelError as error:
        raise ConfigError(
            f"{type(model).__name__} ({str(source)!r}) is not supported: {error}; "
            "use a Qwen, Llama or Mistral model"
        ) from error
    return loaded


def _autocast(settings: ModelConfig, device: torch.device) -> torch.dtype | None:
    """Weights stay in float32: bfloat16 would round small steps of the optimiser away."""
    wanted = settings.dtype
    if wanted == "auto":
        wanted = "bfloat16" if device.type == "cuda" else "float32"
    return torch.bfloat16 if wanted == "bfloat16" else None


def _load_tokenizer(source: str | Path) -> Any:
    from transformers import AutoTokenizer

    if Path(source).is_dir():
        names = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
        if not any((Path(source) / name).is_file() for name in names):
            raise ConfigError(
                f"the model folder {str(source)!r} holds no tokenizer (tokenizer.json); save it there too"
            )
    try:
        return AutoTokenizer.from_pretrained(source)
    except Exception as error:  # the library raises OSError, ValueError, KeyError and the hub's own
        raise ConfigError(
            f"the tokenizer of {str(source)!r} cannot be loaded: {_first_line(error)}"
        ) from error


def _load_weights(source: str | Path, settings: ModelConfig, device: torch.device) -> Any:
    from transformers import AutoModelForCausalLM

    silence_progress_bars()
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    except Exception as error:
        raise ConfigError(f"the model {str(source)!r} cannot be loaded: {_first_line(error)}") from error
    model.to(device)
    prepare(model, gradient_checkpointing=settings.gradient_checkpointing)
    return model


def prepare(model: Any, *, gradient_checkpointing: bool) -> None:
    """Switch off dropout (sampling and training must see one policy); switch on checkpointing if asked."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.train()  # transformers checkpoints in training mode only
    else:
        model.eval()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
