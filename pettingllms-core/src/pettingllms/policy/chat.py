"""Chat messages to tokens and back, by the model's own tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pettingllms.env.types import Message
from pettingllms.errors import ConfigError


class TokenizerCodec:
    """A `ChatCodec` around a transformers tokenizer.

    Prompts are tokenised once; responses are decoded for the environment and never tokenised again.
    """

    def __init__(self, tokenizer: Any, *, enable_thinking: bool) -> None:
        if tokenizer.chat_template is None:
            raise ConfigError(
                f"the tokenizer of {tokenizer.name_or_path!r} has no chat template; "
                "use an instruction-tuned model"
            )
        self._tokenizer = tokenizer
        self._thinking = enable_thinking
        self._special = frozenset(tokenizer.all_special_ids)
        self._system_is_user: bool | None = None

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """See `ChatCodec.encode`. Where the template has no system turn, it opens the first user message."""
        chat = [{"role": message.role, "content": message.content} for message in messages]
        if self._system_is_user is None:
            self._system_is_user = not self._takes_system()
        if self._system_is_user and len(chat) > 1 and chat[0]["role"] == "system":
            chat[1:2] = [{"role": "user", "content": f"{chat[0]['content']}\n\n{chat[1]['content']}"}]
            del chat[0]
        ids = self._tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, enable_thinking=self._thinking, return_dict=False
        )
        return tuple(ids)

    def _takes_system(self) -> bool:
        probe = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
        try:
            self._tokenizer.apply_chat_template(probe, add_generation_prompt=True, return_dict=False)
        except Exception:  # templates raise whatever their author chose (jinja2's raise_exception)
            return False
        return True

    def decode(self, token_ids: Sequence[int]) -> str:
        """See `ChatCodec.decode`."""
        return self._tokenizer.decode([i for i in token_ids if i not in self._special])

    def ends_with(self, token_ids: Sequence[int], stop: Sequence[str]) -> bool:
        """Whether one of the `stop` texts stands at the end of the response, within its last token."""
        window = 8 + max(len(text) for text in stop)
        text = self.decode(token_ids[-window:])
        before = self.decode(token_ids[-window:-1])
        return any(text.count(s) > before.count(s) for s in stop)

    def response_ids(self, text: str) -> tuple[int, ...]:
        """Return a demonstration as tokens, closed by the end token. Only for warm starts."""
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        return (*ids, self._tokenizer.eos_token_id)
