"""Chat prompts in which each turn's tokens are a prefix of the next one's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxturn.runtime.errors import CorruptModel
from voxturn.runtime.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Message:
    """`role` is system, user or assistant."""

    role: str
    text: str


class ChatMl:
    """The ChatML form (SmolLM2, Qwen): `<|im_start|>role\\ntext<|im_end|>\\n`.

    Every message is tokenised by itself, its heading apart from its text, so a longer dialogue only appends ids. Marks inside a message's text are
    plain text to the user but special to the tokenizer, so they are broken up.
    """

    start, end = "<|im_start|>", "<|im_end|>"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        stop = tokenizer.id_of(self.end)
        if stop is None or tokenizer.id_of(self.start) is None:
            raise CorruptModel("the tokenizer has no ChatML marks; the model cannot hold a dialogue")
        self.stop_ids = frozenset({stop})

    def message(self, message: Message) -> list[int]:
        """The ids of one whole message."""
        text = message.text.replace("<|", "< |")
        return self._heading(message.role) + self._tokenizer.encode(f"{text}{self.end}\n")

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids of a dialogue, with the opening of the assistant's answer."""
        ids = [token for message in messages for token in self.message(message)]
        return ids + self._heading("assistant")

    def _heading(self, role: str) -> list[int]:
        return self._tokenizer.encode(f"{self.start}{role}\n")


CHAT_FORMATS = {"chatml": ChatMl}
