"""Chat prompts in which each turn's tokens are a prefix of the next one's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from voxturn.runtime.errors import CorruptModel
from voxturn.runtime.messages import Message as Message
from voxturn.runtime.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ChatFormat:
    """How a dialogue is written for a model: `begin`, then every message as `heading`, its text, `end`, `after`.

    An assistant's message has `opening` between its heading and its text, always: what the model saw when it answered
    is what it sees in later turns. `stops` end an answer; those that the tokenizer lacks are left out.
    """

    heading: str
    end: str
    after: str = ""
    begin: str = ""
    opening: str = ""
    stops: tuple[str, ...] = ()


CHAT_FORMATS = {
    "chatml": ChatFormat("<|im_start|>{role}\n", "<|im_end|>", "\n", stops=("<|endoftext|>",)),
    # thinking is off by an empty thought, which upstream's template writes in the last turn only
    "qwen3": ChatFormat(
        "<|im_start|>{role}\n",
        "<|im_end|>",
        "\n",
        opening="<think>\n\n</think>\n\n",
        stops=("<|endoftext|>",),
    ),
    "llama3": ChatFormat(
        "<|start_header_id|>{role}<|end_header_id|>\n\n",
        "<|eot_id|>",
        begin="<|begin_of_text|>",
        stops=("<|end_of_text|>",),
    ),
}


_MARK = re.compile(r"<[^<>\s]{1,60}>")


class Chat:
    """A tokenizer's dialogues in one format.

    Every message is tokenised by itself, its heading apart from its text, and an answer keeps its own tokens as far as
    they were heard, so a longer dialogue only appends ids. Marks inside a message's text are plain text to the user but
    special to the tokenizer, so they are broken up.
    """

    def __init__(self, tokenizer: Tokenizer, form: ChatFormat) -> None:
        self._tokenizer = tokenizer
        self._form = form
        stop = tokenizer.id_of(form.end)
        if stop is None:
            raise CorruptModel(f"the tokenizer has no {form.end}; the model cannot hold a dialogue")
        others = (tokenizer.id_of(mark) for mark in form.stops)
        self.stop_ids = frozenset({stop, *(other for other in others if other is not None)})

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids of a dialogue, with the opening of the assistant's answer."""
        return self.beginning(messages) + self._heading("assistant")

    def beginning(self, messages: Sequence[Message]) -> list[int]:
        """The ids of whole messages, that longer dialogues begin with."""
        ids = self._tokenizer.encode(self._form.begin) if self._form.begin else []
        return ids + [token for message in messages for token in self._message(message)]

    def _message(self, message: Message) -> list[int]:
        kept, rest = self._kept(message)
        ending = _MARK.sub(self._broken, rest) + self._form.end + self._form.after
        return self._heading(message.role) + kept + self._tokenizer.encode(ending)

    def _broken(self, mark: re.Match[str]) -> str:
        text = mark[0]
        return text if self._tokenizer.id_of(text) is None else f"< {text[1:]}"

    def _kept(self, message: Message) -> tuple[list[int], str]:
        """The tokens of the answer that begin the message's text, and the rest of the text."""
        for count in range(len(message.ids), 0, -1):
            said = self._tokenizer.decode(message.ids[:count])
            if message.text.startswith(said):
                return list(message.ids[:count]), message.text[len(said) :]
        return [], message.text

    def _heading(self, role: str) -> list[int]:
        opening = self._form.opening if role == "assistant" else ""
        return self._tokenizer.encode(self._form.heading.format(role=role) + opening)
