"""How a chat template writes dialogues with tools: found as the rest of its format is, by writing
dialogues with it.

Each row of `CALL_FORMS` says how it would write a call; the one that is found in what the template
writes is the model's. A template without tools, or with calls in no known form, has none: its
dialogues are as they were.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from voxturn.export.decoder.dialogue_format import (
    Pairs,
    Unstable,
    by_role,
    check_answers,
    check_written,
    format_of,
    gaps_around,
    note,
)
from voxturn.export.decoder.template import Refused, Renderer, Template, today
from voxturn.runtime.messages import Message, ToolCall, ToolSpec
from voxturn.runtime.text.chat_format import START, ChatFormat, WrittenDialogue
from voxturn.runtime.text.tool_calls import CALL_FORMS
from voxturn.runtime.text.tool_format import (
    ASKED,
    CALL,
    ID_AFTER,
    ID_BEFORE,
    TOOL,
    TOOLS,
    ToolFormat,
)

_PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
_PROBED = (ToolSpec("vxfirst", "Vxa.", _PLACE), ToolSpec("vxsecond", "Vxb.", _PLACE))
_SAMPLED = (
    ToolSpec("weather", "The weather now, in °C.", _PLACE),
    ToolSpec("add", "Adds.", {"type": "object", "properties": {}}),
)
_TURNS: tuple[tuple[str, ...], ...] = (
    ("user",),
    ("user", "assistant", "user"),
    ("user", CALL, TOOL),
    ("user", CALL, TOOL, "assistant", "user"),
    ("user", CALL, TOOL, CALL, TOOL, "assistant", "user"),
    ("user", "assistant", "user", CALL, TOOL, "assistant", "user", CALL, TOOL),
)
"""The dialogues with tools that a voice has, each of them also after a system prompt."""
_PARALLEL: tuple[tuple[str, ...], ...] = (
    ("user", CALL, TOOL, TOOL),
    ("user", CALL, TOOL, TOOL, "assistant", "user"),
)
_FURTHER: tuple[tuple[str, ...], ...] = (
    ("system",),
    ("user", "assistant"),
    ("user", "user"),
    ("user", CALL, TOOL, "user"),
)
_RESULTS = ('{"now": "21 °C"}', 'He said "no",\nand left.', "three")


def format_with_tools(template: Template, path: Path) -> ChatFormat:
    """As `dialogue_format.format_of`, with the format of dialogues with tools where the template
    has one."""
    form = format_of(template, path)
    rendered = template.compiled(today)
    for source in (template.compiled(lambda day: f"\ue000{day}\ue001"), rendered):
        for at_question in (False, True):
            try:
                return replace(form, with_tools=_Tools(form, source, rendered, at_question).found())
            except (Refused, Unstable):
                continue
    return form


class _Tools:
    """A template's format of dialogues with tools, if what `source` writes is what `rendered`
    does."""

    def __init__(
        self, form: ChatFormat, source: Renderer, rendered: Renderer, at_question: bool
    ) -> None:
        self._form = form
        self._source = source
        self._rendered = rendered
        self._at_question = at_question
        self._starts = [
            start
            for start, first in (((), "user"), (("system",), "system"))
            if first in form.between[START]
        ]

    def found(self) -> ChatFormat:
        """Raise `Refused` or `Unstable` where it has none."""
        self._how = self._written()
        between: Pairs = {}
        opening: dict[str, str] = {}
        turns = _TURNS + (_PARALLEL if self._how.several else ())
        for start, roles in product(self._starts, turns):
            self._note(between, opening, (*start, *roles))
        for start, roles in product(self._starts, _FURTHER):
            more, opened = dict(between), dict(opening)
            try:
                self._note(more, opened, (*start, *roles))
            except (Refused, Unstable):
                continue
            between, opening = more, opened
        form = ChatFormat(by_role(between), opening, self._form.strips, tools=self._how)
        form = replace(form, thought_end=self._form.thought_end)
        self._check(form, turns)
        return form

    def _written(self) -> ToolFormat:
        """How tools, calls and results are written."""
        wrapped, indent, separator = self._list()
        call, result = _call(1), _result(1, "Vxr.")
        text = self._source([_ASK, replace(_SAID, calls=(call,)), result], True, _PROBED[:1])
        forms = (form.name for form in CALL_FORMS.values() if text.count(form.written([call])) == 1)
        how = ToolFormat(
            form=_first(forms, "it writes calls in no known form"),
            wrapped=wrapped,
            indent=indent,
            separator=separator,
            lead=None,
            quoted=False,
            at_question=self._at_question,
            several=False,
        )
        how = replace(how, lead=self._lead(how), quoted=self._quoted())
        return replace(how, several=self._several(how))

    def _list(self) -> tuple[bool, int | None, str]:
        """Whether tools are wrapped, their indent, and what parts them."""
        text = self._source([_ASK], True, _PROBED)
        for wrapped, indent in product((True, False), (None, 4, 2)):
            how = ToolFormat("hermes", wrapped, indent, "", None, False, False, False)
            first, second = (how.listed([tool]) for tool in _PROBED)
            if text.count(first) == text.count(second) == 1:
                return wrapped, indent, text.split(first)[1].split(second)[0]
        raise Unstable("it writes no tools")

    def _lead(self, how: ToolFormat) -> str | None:
        """What stands between an answer's text and its calls."""
        said = Message("assistant", "Vxs.", calls=(_call(1),))
        text = self._source([_ASK, said, _result(1, "Vxr.")], True, _PROBED[:1])
        body = how.calls.written(said.calls)
        if "Vxs." not in text or body not in text:
            return None
        return text.split("Vxs.")[1].split(body)[0]

    def _quoted(self) -> bool:
        """Whether results are JSON strings."""
        answer = replace(_SAID, calls=(_call(1),))
        quotes = 'Vx "r".'
        text = self._source([_ASK, answer, _result(1, quotes)], True, _PROBED[:1])
        return json.dumps(quotes) in text

    def _several(self, how: ToolFormat) -> bool:
        """Whether an answer may have several calls."""
        calls = (_call(1), _call(2))
        results = [_result(1, "Vxp."), _result(2, "Vxq.")]
        try:
            text = self._source([_ASK, replace(_SAID, calls=calls), *results], True, _PROBED[:1])
        except Refused:
            return False
        return how.calls.written(calls) in text

    def _note(self, between: Pairs, opening: dict[str, str], roles: Sequence[str]) -> None:
        """Add what a dialogue of `roles` shows, places instead of tools and ids."""
        messages = _messages(roles, lambda i: f"Vx{i}q.", lambda i: f"Vx{i}q.")
        text = self._source(messages, True, _PROBED)
        texts = [self._how.text(message) for message in messages]
        gaps = gaps_around(text, texts, roles)
        listed = self._how.listed(_PROBED)
        ids = ["", *(message.call_id for message in messages), ""]
        for i, gap in enumerate(gaps):
            gap = gap.replace(listed, TOOLS)
            for call_id, slot in ((ids[i], ID_BEFORE), (ids[i + 1], ID_AFTER)):
                gap = gap.replace(call_id, slot) if call_id else gap
            gaps[i] = gap
        note(between, opening, self._labels(messages), gaps)

    def _labels(self, messages: Sequence[Message]) -> list[str]:
        return [self._how.role(messages, at) for at in range(len(messages))]

    def _check(self, form: ChatFormat, turns: Sequence[tuple[str, ...]]) -> None:
        """Raise `Unstable` where other dialogues are written otherwise."""
        asked = ASKED if self._at_question else "user"
        opened = [(asked, CALL), (asked, "assistant"), (TOOL, CALL), (TOOL, "assistant")]
        for earlier, role in opened:
            if role in form.between.get(earlier, {}):
                check_answers(form.opening[earlier], form.between[earlier][role])
        for start, roles, tools in product(self._starts, turns, (_SAMPLED, _SAMPLED[:1])):
            messages = _messages(
                (*start, *roles),
                lambda i: f"It's {i}: yes.",
                lambda i: _RESULTS[i % 3],
                _SAMPLED[0].name,
            )
            written = WrittenDialogue(form, messages, tools)
            check_written(written, self._rendered(messages, True, tools))


_ASK, _SAID = Message("user", "Vxu."), Message("assistant", "")


def _call(number: int, name: str = "vxfirst") -> ToolCall:
    return ToolCall(f"vxid{number:05d}", name, {"place": f"Vx{number}.", "days": number})


def _result(number: int, text: str) -> Message:
    return Message(TOOL, text, call_id=f"vxid{number:05d}")


def _messages(
    roles: Sequence[str],
    text: Callable[[int], str],
    result: Callable[[int], str],
    name: str = "vxfirst",
) -> list[Message]:
    """A dialogue of `roles`, in which each result follows its call of `name`."""
    messages: list[Message] = []
    for at, role in enumerate(roles):
        if role == CALL:
            after = roles[at + 1 :]
            count = next((n for n, each in enumerate(after) if each != TOOL), len(after))
            calls = tuple(_call(10 * at + n, name) for n in range(count))
            waiting = iter(calls)
            messages.append(Message("assistant", "", calls=calls))
        elif role == TOOL:
            messages.append(Message(TOOL, result(at), call_id=next(waiting).id))
        else:
            messages.append(Message(role, text(at)))
    return messages


def _first(names: Iterator[str], otherwise: str) -> str:
    for name in names:
        return name
    raise Unstable(otherwise)
