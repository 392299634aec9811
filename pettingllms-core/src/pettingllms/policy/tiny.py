"""The `tiny` model: a Qwen3 of about a million parameters and its tokenizer, made on the spot.

Nothing is downloaded. The tokenizer is trained on the environment's own prompts: byte-level, so
that every text has tokens, with whole words and single digits, so that prompts are short.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pettingllms.config.schema import TinyConfig
from pettingllms.policy.saving import save_model

END = "<|end|>"
PAD = "<|pad|>"
TURNS = {role: f"<|{role}|>" for role in ("system", "user", "assistant")}

# One token a turn marker: a short prompt is a fast prompt.
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

# A word or a symbol with the space in front of it; digits one by one; other white space alone.
WORDS = r" ?[A-Za-z]+| ?\d| ?[^\sA-Za-z\d]|\s"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """Return a fast tokenizer with a chat template, trained on `texts`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, END, *TURNS.values()]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=list(TURNS.values()),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def make_tiny_model(config: TinyConfig, tokenizer: Any, seed: int, max_length: int) -> Any:
    """Return a randomly initialised Qwen3 for causal language modelling (float32, CPU)."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    shape = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(shape)


def save_tiny(folder: Path, texts: Iterable[str], config: TinyConfig, seed: int, max_length: int) -> None:
    """Make tokenizer and model and write them to `folder` as a Hugging Face model folder."""
    tokenizer = train_tokenizer(texts, config.vocab_size)
    save_model(make_tiny_model(config, tokenizer, seed, max_length), tokenizer, folder)
