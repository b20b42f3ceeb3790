"""Chat prompts in which each turn's tokens are a prefix of the next one's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from voxturn.runtime.errors import CorruptModel, UsageError
from voxturn.runtime.messages import Message as Message
from voxturn.runtime.text.tokenizer import Tokenizer

START = ""
"""In the place of a role: the dialogue's beginning."""
ROLES = ("system", "user", "assistant")
DATE = re.compile("\ue000(.*?)\ue001", re.DOTALL)
"""In a format's texts: a date, as `strftime` writes it where the prompt is made."""
_SIDES: Mapping[str, Callable[[str], str]] = {
    "both": str.strip,
    "left": str.lstrip,
    "right": str.rstrip,
}


@dataclass(frozen=True)
class ChatFormat:
    """How a dialogue is written for a model.

    `between[before][role]` is the text between a message's text and the next one's, by their roles;
    `START` is before the first. `opening[role]` is the text after the last message, with which the
    model begins its answer. An answer that keeps its tokens follows the opening, so that what the
    model saw when it answered is what it sees later; one that is text alone is written as the
    template writes it.

    `strips[before][role]` says which texts' white space is taken off, and where: "both", "left" or
    "right". `stops` are tokens that end an answer: the first must be in the tokenizer, others may
    be missing. `stop_ids` are tokens that do by their ids, `stop_texts` texts that do.
    `thought_end` closes a thought that the opening leaves open; an answer without it is written
    without its tokens, as it has no thought.
    """

    between: Mapping[str, Mapping[str, str]]
    opening: Mapping[str, str]
    strips: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    stops: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    stop_texts: tuple[str, ...] = ()
    thought_end: str = ""

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> ChatFormat:
        """The format in a manifest's properties `chat` and `stop_ids`.

        `chat` is a name in `CHAT_FORMATS`, or a table as `to_table` makes it. Raises `KeyError`,
        `TypeError` or `ValueError`.
        """
        chat = properties["chat"]
        ids = tuple(int(stop) for stop in properties.get("stop_ids", ()))
        if isinstance(chat, str):
            return replace(CHAT_FORMATS[chat], stop_ids=ids)
        strips = _by_roles(chat["strips"])
        sides = {side for by_role in strips.values() for side in by_role.values()}
        if not sides <= _SIDES.keys():
            raise ValueError(f"chat strips {sorted(sides)}")
        return cls(
            _by_roles(chat["between"]),
            _texts(chat["opening"]),
            strips,
            stop_ids=ids,
            stop_texts=tuple(_texts(dict(enumerate(chat["stop_texts"]))).values()),
            thought_end=str(chat["thought_end"]),
        )

    def to_table(self) -> dict[str, Any]:
        """A manifest's property `chat`; `stop_ids` are a property of their own."""
        return {
            "between": self.between,
            "opening": self.opening,
            "strips": self.strips,
            "stop_texts": list(self.stop_texts),
            "thought_end": self.thought_end,
        }

    def message_text(self, earlier: str, message: Message) -> str:
        """A message's text after one of the role `earlier`, stripped as the model's template strips
        it."""
        side = self.strips.get(earlier, {}).get(message.role)
        return message.text if side is None else _SIDES[side](message.text)

    def before(self, earlier: str, role: str) -> str:
        """The text between messages of two roles. Raises `UsageError` where the format has none."""
        text = self.between.get(earlier, {}).get(role)
        if text is None:
            raise UsageError(_without(earlier, role))
        return text

    def after(self, role: str) -> str:
        """The text that opens an answer after a message of `role`.

        Raises `UsageError` where the format has none.
        """
        text = self.opening.get(role)
        if text is None:
            raise UsageError(_without(role, "assistant"))
        return text


def _texts(value: Mapping[Any, Any]) -> dict[str, str]:
    if not all(isinstance(text, str) for text in value.values()):
        raise TypeError("chat has a text that is none")
    return {str(role): text for role, text in value.items()}


def _by_roles(value: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {str(role): _texts(after) for role, after in value.items()}


def _without(earlier: str, role: str) -> str:
    if role == "system":
        return (
            "the model's chat template has no place for this system prompt; "
            'set system_prompt = "" in the profile'
        )
    where = f"after {_named(earlier)}" if earlier else "at the beginning"
    return f"the model's chat template has no place for {_named(role)} {where}"


def _named(role: str) -> str:
    return f"a message of the {role}"


def headed(
    heading: str, end: str, begin: str = "", opening: str = "", stops: tuple[str, ...] = ()
) -> ChatFormat:
    """A format in which every message is `heading` with its role, its text and `end`.

    An answer has `opening` between its heading and its text. The first mark in `end` and `stops`
    end it.
    """
    starts = {
        role: heading.format(role=role) + (opening if role == "assistant" else "") for role in ROLES
    }
    between = {
        before: {role: (end if before else begin) + start for role, start in starts.items()}
        for before in (START, *ROLES)
    }
    return ChatFormat(
        between,
        {before: after["assistant"] for before, after in between.items()},
        stops=(end.strip(), *stops),
    )


CHAT_FORMATS = {
    "chatml": headed("<|im_start|>{role}\n", "<|im_end|>\n", stops=("<|endoftext|>",)),
    # thinking is off by an empty thought, which upstream's template writes in the last turn only
    "qwen3": headed(
        "<|im_start|>{role}\n",
        "<|im_end|>\n",
        opening="<think>\n\n</think>\n\n",
        stops=("<|endoftext|>",),
    ),
    "llama3": headed(
        "<|start_header_id|>{role}<|end_header_id|>\n\n",
        "<|eot_id|>",
        begin="<|begin_of_text|>",
        stops=("<|end_of_text|>",),
    ),
}
"""Formats by name, for checkpoints that bring no template of their own."""


_ANCHOR = "\n"
_CONTINUATIONS = ("A", "b", "7")


class Chat:
    """A tokenizer's dialogues in one format.

    The text between the tokens of answers is tokenised as a whole, and an answer keeps its own
    tokens as far as they were heard, so a longer dialogue only appends ids. Marks inside a
    message's text are plain text to the user but special to the tokenizer, so they are broken up.
    `now` gives the time for formats with a date.
    """

    def __init__(
        self, tokenizer: Tokenizer, form: ChatFormat, now: Callable[[], datetime] = datetime.now
    ) -> None:
        self._tokenizer = tokenizer
        self._form = form
        self._now = now
        ids = [tokenizer.id_of(mark) for mark in form.stops]
        if ids and ids[0] is None:
            raise CorruptModel(
                f"the tokenizer has no {form.stops[0]}; the model cannot hold a dialogue"
            )
        self.stop_ids = frozenset({*form.stop_ids, *(i for i in ids if i is not None)})
        self._anchor = tokenizer.encode(_ANCHOR)
        # a tokenizer that puts a space before every text would do so after tokens as well
        anchored = tokenizer.encode(f"{_ANCHOR}a")
        self._spaces = anchored[: len(self._anchor)] == self._anchor and anchored[
            len(self._anchor) :
        ] != tokenizer.encode("a")
        marks = sorted(tokenizer.marks, key=len, reverse=True)
        self._marks = re.compile("|".join(map(re.escape, marks)) or r"(?!)")

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids of a dialogue, with the opening of the assistant's answer.

        Raises `UsageError` for messages in an order that the model's template does not have.
        """
        ids, text = self._written(messages)
        last = messages[-1].role if messages else START
        return ids + self._encoded(text + self._dated(self._form.after(last)), bool(ids))

    def beginning(self, messages: Sequence[Message]) -> list[int]:
        """The ids that every dialogue begins with which goes on with a question after whole
        messages."""
        ids, text = self._written(messages)
        last = messages[-1].role if messages else START
        text += self._dated(self._form.before(last, "user"))
        first, *others = (self._encoded(text + more, bool(ids)) for more in _CONTINUATIONS)
        same = (all(i == j for j in rest) for i, *rest in zip(first, *others, strict=False))
        return ids + first[: next((n for n, equal in enumerate(same) if not equal), len(first))]

    def _written(self, messages: Sequence[Message]) -> tuple[list[int], str]:
        """The ids of whole messages as far as the last answer's own tokens, and the text after
        them."""
        ids: list[int] = []
        text, earlier = "", START
        for message in messages:
            answered, rest = self._answered(message)
            if answered:
                text += self._dated(self._form.after(earlier))
                ids += self._encoded(text, bool(ids)) + answered
                text = self._marks.sub(_broken, rest)
            else:
                text += self._dated(self._form.before(earlier, message.role))
                text += self._marks.sub(_broken, self._form.message_text(earlier, message))
            earlier = message.role
        return ids, text

    def _encoded(self, text: str, after_tokens: bool) -> list[int]:
        """The ids of a text; after tokens without the space that a tokenizer may put before it."""
        if after_tokens and self._spaces:
            anchored = self._tokenizer.encode(_ANCHOR + text)
            if anchored[: len(self._anchor)] == self._anchor:
                return anchored[len(self._anchor) :]
        return self._tokenizer.encode(text)

    def _dated(self, text: str) -> str:
        return DATE.sub(lambda found: self._now().strftime(found[1]), text)

    def _answered(self, message: Message) -> tuple[list[int], str]:
        """The tokens of the answer that begin the message's text, and the rest of the text."""
        if self._form.thought_end not in message.text:
            return [], message.text
        for count in range(len(message.ids), 0, -1):
            heard = self._tokenizer.decode(message.ids[:count])
            if message.text.startswith(heard):
                return list(message.ids[:count]), message.text[len(heard) :]
        return [], message.text


def _broken(mark: re.Match[str]) -> str:
    """A mark with a space in it, which is none."""
    return f"{mark[0][0]} {mark[0][1:]}"
