"""How a dialogue is written for a model: what stands between its messages. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from voxturn.runtime.errors import UsageError
from voxturn.runtime.messages import Message, ToolCall, ToolSpec
from voxturn.runtime.text.tool_format import ID_AFTER, ID_BEFORE, TOOL, TOOLS, ToolFormat

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
    without its tokens, as it has no thought. `with_tools` is the format of dialogues with tools,
    which has the roles of `tool_format` besides, and says in `tools` how those are written.
    """

    between: Mapping[str, Mapping[str, str]]
    opening: Mapping[str, str]
    strips: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    stops: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()
    stop_texts: tuple[str, ...] = ()
    thought_end: str = ""
    with_tools: ChatFormat | None = None
    tools: ToolFormat | None = None

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
        form = replace(
            cls._of(chat),
            stop_ids=ids,
            stop_texts=tuple(_texts(dict(enumerate(chat["stop_texts"]))).values()),
            thought_end=str(chat["thought_end"]),
        )
        table = chat.get("with_tools")
        if table is None:
            return form
        with_tools = replace(
            cls._of(table), thought_end=form.thought_end, tools=ToolFormat.of(table["tools"])
        )
        return replace(form, with_tools=with_tools)

    @classmethod
    def _of(cls, table: Mapping[str, Any]) -> ChatFormat:
        strips = _by_roles(table["strips"])
        sides = {side for by_role in strips.values() for side in by_role.values()}
        if not sides <= _SIDES.keys():
            raise ValueError(f"chat strips {sorted(sides)}")
        return cls(_by_roles(table["between"]), _texts(table["opening"]), strips)

    def to_table(self) -> dict[str, Any]:
        """A manifest's property `chat`; `stop_ids` are a property of their own."""
        table = self._table() | {
            "stop_texts": list(self.stop_texts),
            "thought_end": self.thought_end,
        }
        if (form := self.with_tools) is None or form.tools is None:
            return table
        return table | {"with_tools": form._table() | {"tools": form.tools.to_table()}}

    def _table(self) -> dict[str, Any]:
        return {"between": self.between, "opening": self.opening, "strips": self.strips}

    def stripped(self, earlier: str, role: str, text: str) -> str:
        """A message's text after one of the role `earlier`, stripped as the model's template strips
        it."""
        side = self.strips.get(earlier, {}).get(role)
        return text if side is None else _SIDES[side](text)

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


class WrittenDialogue:
    """A dialogue as a format writes it, piece by piece. `clean` is applied to what users and models
    said, `dated` to the format's own texts.

    Its methods raise `UsageError` where the format has no such place.
    """

    def __init__(
        self,
        form: ChatFormat,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec] = (),
        clean: Callable[[str], str] = str,
        dated: Callable[[str], str] = str,
    ) -> None:
        self._form = form
        self._messages = messages
        self._clean = clean
        self._dated = dated
        how = form.tools
        numbers = range(len(messages))
        self._listed = how.listed(tools, clean) if how is not None else ""
        self._roles = [
            how.role(messages, at) if how is not None else messages[at].role for at in numbers
        ]

    def before(self, at: int) -> str:
        """The text before that of a message."""
        return self._filled(self._form.before(self._earlier(at), self._roles[at]), at)

    def opening(self, at: int) -> str:
        """The text that opens an answer in the place of a message."""
        return self._filled(self._form.after(self._earlier(at)), at)

    def after(self, role: str = "") -> str:
        """The text between the last message and one of a role; without one, that which opens an
        answer."""
        at = len(self._messages)
        if not role:
            return self.opening(at)
        return self._filled(self._form.before(self._earlier(at), role), at)

    def text(self, at: int) -> str:
        """A message's text."""
        message, how = self._messages[at], self._form.tools
        text = how.text(message, self._clean) if how is not None else self._clean(message.text)
        return self._form.stripped(self._earlier(at), self._roles[at], text)

    def __str__(self) -> str:
        numbers = range(len(self._messages))
        said = "".join(self.before(at) + self.text(at) for at in numbers)
        return said + self.after()

    def _earlier(self, at: int) -> str:
        return self._roles[at - 1] if at else START

    def _filled(self, text: str, at: int) -> str:
        """A text of the format before a message: its date, the tools, the ids of results."""
        text = self._dated(text)
        if self._form.tools is None:
            return text
        before = self._messages[at - 1].call_id if at else ""
        after = self._messages[at].call_id if at < len(self._messages) else ""
        values = {TOOLS: self._listed, ID_BEFORE: self._clean(before), ID_AFTER: self._clean(after)}
        return re.sub(f"[{''.join(values)}]", lambda found: values[found[0]], text)


def alternating(messages: Sequence[Message]) -> list[Message]:
    """The messages of a dialogue, those of one role in a row as one; calls and results stay.

    Where nothing of an answer was heard a question follows another. Joined, they are a dialogue as
    every model's template wants it, and what was computed of the first is of use for both.
    """
    out: list[Message] = []
    for message in messages:
        joins = out and out[-1].role == message.role and message.role != TOOL
        if joins and not (message.calls or out[-1].calls):
            out[-1] = Message(message.role, f"{out[-1].text} {message.text}")
        else:
            out.append(message)
    return out


def no_result(call: ToolCall) -> Message:
    """What stands for the result of a call that has none: templates want one for each."""
    return Message(TOOL, "error: it was stopped before it had a result", call_id=call.id)


def with_results(messages: Sequence[Message]) -> list[Message]:
    """The messages of a dialogue, with a result for every call."""
    out: list[Message] = []
    for at, message in enumerate(messages):
        out.append(message)
        if not message.calls:
            continue
        results = takewhile(lambda each: each.role == TOOL, messages[at + 1 :])
        given = {result.call_id for result in results}
        out += [no_result(call) for call in message.calls if call.id not in given]
    return out


def without_calls(messages: Sequence[Message]) -> list[Message]:
    """What was said in a dialogue, without the calls and their results."""
    said = [
        replace(message, text=message.text.strip(), ids=(), calls=()) if message.calls else message
        for message in messages
        if message.role != TOOL
    ]
    kept = [
        said[i] for i, message in enumerate(said) if message.text or message.role != "assistant"
    ]
    return alternating(kept) if len(said) != len(messages) else list(messages)
