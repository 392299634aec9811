"""Writing a model and its tokenizer as a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def silence_progress_bars() -> None:
    """Turn off the progress bars of transformers: a run has a display of its own."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write weights, configuration and tokenizer to `folder`, quietly."""
    silence_progress_bars()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
