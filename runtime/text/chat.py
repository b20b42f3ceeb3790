"""Chat prompts in which each turn's tokens are a prefix of the next one's."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime

from voxturn.runtime.errors import CorruptModel, UsageError
from voxturn.runtime.messages import Message as Message
from voxturn.runtime.messages import ToolCall, ToolSpec
from voxturn.runtime.text.chat_format import CHAT_FORMATS as CHAT_FORMATS
from voxturn.runtime.text.chat_format import DATE, WrittenDialogue, without_calls
from voxturn.runtime.text.chat_format import START as START
from voxturn.runtime.text.chat_format import ChatFormat as ChatFormat
from voxturn.runtime.text.tokenizer import ShownMarks, Tokenizer
from voxturn.runtime.text.tool_calls import MOST_CALLS, CallParser
from voxturn.runtime.text.tool_format import TOOL

_ANCHOR = "\n"
_CONTINUATIONS = ("A", "b", "7")


class Chat:
    """A tokenizer's dialogues in one format.

    The text between the tokens of answers is tokenised as a whole, and an answer keeps its own
    tokens as far as they were heard, so a longer dialogue only appends ids. Marks inside a
    message's text are plain text to the user but special to the tokenizer, so they are broken up.
    `now` gives the time for formats with a date. A dialogue without tools is written without the
    calls that it may have had.
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
        how = form.with_tools.tools if form.with_tools is not None else None
        own = (*how.calls.begins, how.calls.end) if how is not None else ()
        self.shown = ShownMarks(tokenizer, own)
        marks = sorted({*tokenizer.marks, *filter(None, own)}, key=len, reverse=True)
        self._marks = re.compile("|".join(map(re.escape, marks)) or r"(?!)")

    @property
    def takes_tools(self) -> bool:
        """Whether the model was taught to call functions, in a form that is known."""
        return self._form.with_tools is not None

    def calls(self, in_thought: bool = False) -> CallParser:
        """What finds the calls in an answer. Raises `UsageError` as `prompt` does."""
        tools = self._format(True).tools
        assert tools is not None  # a format with tools has them
        return CallParser(tools.calls, in_thought, most=MOST_CALLS if tools.several else 1)

    def prompt(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> list[int]:
        """The ids of a dialogue, with the opening of the assistant's answer.

        Raises `UsageError` for messages in an order that the model's template does not have, and
        for tools where it has none.
        """
        if not tools and messages and messages[-1].role == TOOL:
            raise UsageError("the dialogue ends with a tool's result; give its tools as well")
        ids, text, written = self._written(messages, tools)
        return ids + self._encoded(text + written.after(), bool(ids))

    def beginning(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> list[int]:
        """The ids that every dialogue begins with which goes on with a question after whole
        messages."""
        ids, text, written = self._written(messages, tools)
        text += written.after("user")
        first, *others = (self._encoded(text + more, bool(ids)) for more in _CONTINUATIONS)
        same = (all(i == j for j in rest) for i, *rest in zip(first, *others, strict=False))
        return ids + first[: next((n for n, equal in enumerate(same) if not equal), len(first))]

    def _format(self, tools: bool) -> ChatFormat:
        form = self._form.with_tools if tools else self._form
        if form is None:
            raise UsageError(
                "the model's chat template has no tools, or none that voxturn knows; "
                "take a model that was taught to call functions"
            )
        return form

    def _written(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> tuple[list[int], str, WrittenDialogue]:
        """The ids of whole messages as far as the last answer's own tokens, and the text after
        them."""
        ids: list[int] = []
        form = self._format(bool(tools))
        messages = messages if tools else without_calls(messages)
        written = WrittenDialogue(form, messages, tools, self._cleaned, self._dated)
        text = ""
        for at, message in enumerate(messages):
            answered, rest = self._answered(message)
            if answered:
                text += written.opening(at)
                ids += self._encoded(text, bool(ids)) + answered
                text = self._cleaned(rest)
            else:
                text += written.before(at) + written.text(at)
        return ids, text, written

    def _encoded(self, text: str, after_tokens: bool) -> list[int]:
        """The ids of a text; after tokens without the space that a tokenizer may put before it."""
        if after_tokens and self._spaces:
            anchored = self._tokenizer.encode(_ANCHOR + text)
            if anchored[: len(self._anchor)] == self._anchor:
                return anchored[len(self._anchor) :]
        return self._tokenizer.encode(text)

    def _cleaned(self, text: str) -> str:
        return self._marks.sub(_broken, text)

    def _dated(self, text: str) -> str:
        return DATE.sub(lambda found: self._now().strftime(found[1]), text)

    def _answered(self, message: Message) -> tuple[list[int], str]:
        """The tokens of the answer that begin the message's text, and the rest of the text.

        Of an answer with calls all of them, or none.
        """
        if message.calls:
            return (list(message.ids), "") if self._has_said(message) else ([], message.text)
        if self._form.thought_end not in message.text:
            return [], message.text
        ids = message.ids
        # where it was cut, its first tokens are told by their length: few are decoded
        likely = bisect_right(
            range(len(ids) + 1),
            len(message.text),
            key=lambda count: len(self._tokenizer.decode(ids[:count])),
        )
        for count in range(min(likely, len(ids)), 0, -1):
            heard = self._tokenizer.decode(ids[:count])
            if message.text.startswith(heard):
                return list(ids[:count]), message.text[len(heard) :]
        return [], message.text

    def _has_said(self, message: Message) -> bool:
        """Whether a message with calls has the tokens of just its text and its calls."""
        if not message.ids:
            return False
        parser = self.calls(bool(self._form.thought_end))
        found = [*parser.push(self.shown.decode(message.ids)), *parser.flush()]
        text = "".join(item for item in found if isinstance(item, str))
        calls = [(c.name, c.arguments) for c in found if isinstance(c, ToolCall)]
        wanted = [(call.name, call.arguments) for call in message.calls]
        return text.strip() == message.text.strip() and calls == wanted


def _broken(mark: re.Match[str]) -> str:
    """A mark with a space in it, which is none."""
    return f"{mark[0][0]} {mark[0][1:]}"
