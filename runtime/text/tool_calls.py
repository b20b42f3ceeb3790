"""Calls of functions in what a model writes, as they come: text in, text and calls out. Pure.

How a model writes them is a row of `CALL_FORMS`. Which row is a checkpoint's its chat template
says: the export looks for the calls as each row writes them in what the template writes
(`export/decoder/tool_format.py`).
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from voxturn.runtime.messages import ToolCall
from voxturn.runtime.text import thought

MOST_CALLS = 8
"""Calls of one answer."""
LONGEST_CALL = 20_000
"""Characters of a call; a longer one is none."""
_CONTEXT = 64
_SPACE = " \t\r\n"
_BETWEEN = f"{_SPACE};,"
_JSON = "{["
_ARGUMENTS = ("arguments", "parameters")
_BARE = re.compile(r'\{\s*"(?:name|type|function|parameters|arguments)"')


@dataclass(frozen=True)
class CallForm:
    """How a model writes calls: `begins` are the marks before one, `end` the one after it; empty
    where its JSON ends it. `bare`: an answer that begins with a call's JSON is one, without a mark.

    For dialogues that are written anew: `call` is one call, with `{name}`, `{arguments}` and
    `{id}`; all calls of an answer stand between `first` and `last`, `between` them what parts them.
    """

    name: str
    begins: tuple[str, ...]
    end: str
    call: str
    first: str = ""
    last: str = ""
    between: str = ""
    bare: bool = False

    def written(self, calls: Sequence[ToolCall], clean: Callable[[str], str] = str) -> str:
        """The calls of an answer. `clean` is applied to what the model chose: names, arguments."""
        each = [self._call(call, clean) for call in calls]
        return f"{self.first}{self.between.join(each)}{self.last}"

    def _call(self, call: ToolCall, clean: Callable[[str], str]) -> str:
        values = {
            "{name}": clean(call.name),
            "{arguments}": clean(json.dumps(call.arguments, ensure_ascii=False)),
            "{id}": clean(call.id),
        }
        return re.sub(r"\{(?:name|arguments|id)\}", lambda found: values[found[0]], self.call)


_PLAIN = '{"name": "{name}", "arguments": {arguments}}'
_WITH_ID = '{"name": "{name}", "arguments": {arguments}, "id": "{id}"}'
_LLAMA = '{"name": "{name}", "parameters": {arguments}}'
CALL_FORMS = {
    form.name: form
    for form in (
        CallForm(
            "hermes",
            ("<tool_call>",),
            "</tool_call>",
            f"<tool_call>\n{_PLAIN}\n</tool_call>",
            between="\n",
        ),
        CallForm("mistral", ("[TOOL_CALLS]",), "", _WITH_ID, "[TOOL_CALLS][", "]", ", "),
        CallForm("mistral-spaced", ("[TOOL_CALLS]",), "", _WITH_ID, "[TOOL_CALLS] [", "]", ", "),
        CallForm("llama", ("<|python_tag|>",), "", _LLAMA, between="; ", bare=True),
    )
}  # fmt: skip
"""Forms by name. hermes: Qwen 2.5 and 3, and others; llama: Llama 3.1 to 3.3."""


def new_call_id() -> str:
    """A call's name: nine letters and digits, which is what Mistral's templates want."""
    return uuid.uuid4().hex[:9]


class _State(Enum):
    """What comes: text; a call's JSON; what closes a call; what is left of a broken one."""

    TEXT = "text"
    CALL = "call"
    CLOSING = "closing"
    BROKEN = "broken"


class CallParser:
    """Feed what a model writes; get its text and its calls, each as soon as it is certain.

    Text that may be the beginning of a call is held back, and no other. A call in a thought is
    none. `in_thought`: the text begins in one. `new_id` gives the calls their names; further ones
    than `most` are dropped.
    """

    def __init__(
        self,
        form: CallForm,
        in_thought: bool = False,
        new_id: Callable[[], str] = new_call_id,
        most: int = MOST_CALLS,
    ) -> None:
        self._form = form
        self._new_id = new_id
        self._most = most
        self._state = _State.TEXT
        self._in_thought = in_thought
        self._opens = form.bare and not in_thought
        """Nothing but space has come, so that a bare call may."""
        self._after_call = False
        self._held = ""
        self._given = ""
        self._value = _JsonValue()
        self._calls = 0

    def push(self, text: str) -> list[str | ToolCall]:
        """The text and the calls that are certain now; no text is empty."""
        self._held += text
        return [item for item in self._items() if item]

    def flush(self) -> list[str | ToolCall]:
        """The answer ended: what was held back is text after all, or a call that is not whole.

        More than one character of a mark at the end is a call that was hardly begun: it is dropped.
        """
        state, held = self._state, self._held
        self._state, self._held = _State.TEXT, ""
        if state is _State.CALL:
            return list(self._broken("it is not whole"))
        if self._after_call:
            held = held.lstrip(_SPACE)
        if self._opens and held.lstrip(_SPACE).startswith('{"'):
            return []
        overhang = 0 if self._in_thought else self._overhang(held)
        held = held if overhang < 2 else held[:-overhang]
        return [held] if state is _State.TEXT and held else []

    def _items(self) -> Iterator[str | ToolCall]:
        steps = {
            _State.TEXT: self._text,
            _State.CALL: self._call,
            _State.CLOSING: self._closing,
            _State.BROKEN: self._swallow,
        }
        before = None
        while self._held and before != (self._state, self._held, self._in_thought):
            before = self._state, self._held, self._in_thought
            yield from steps[self._state]()

    def _text(self) -> Iterator[str | ToolCall]:
        """Text as far as it is no call's mark."""
        if self._in_thought:
            end = self._thought_mark(thought.END)
            yield self._give(len(self._held) if end is None else end)
            if end is not None:
                self._in_thought, self._opens = False, self._form.bare
            return
        if self._opens or self._after_call:
            bare = self._held.lstrip(_SPACE)
            if not bare or (self._opens and _may_begin_bare(bare)):
                return
            if self._after_call:
                self._held = bare
            if self._opens and _BARE.match(bare):
                self._begin(bare)
                return
            self._opens = self._after_call = False
        mark = re.search("|".join(map(re.escape, self._form.begins)), self._held)
        begin = self._thought_mark(thought.BEGIN)
        if begin is not None and (mark is None or begin <= mark.start()):
            yield self._give(begin)
            self._in_thought = True
        elif mark is not None:
            yield self._give(mark.start())
            self._begin(self._held.removeprefix(mark[0]))
        else:
            yield self._give(len(self._held) - self._overhang(self._held))

    def _call(self) -> Iterator[str | ToolCall]:
        """A call's JSON. A mark outside its strings ends it as well: then it is broken."""
        for at, character in enumerate(self._held):
            if not self._value.in_text and (mark := self._mark_at(at)) is not None:
                self._held = self._held[at:]
                if mark:
                    self._state = _State.CLOSING
                    yield from self._broken("it is not whole")
                return
            self._value.push(character)
            if self._value.whole or self._value.problem:
                self._held = self._held[at + 1 :]
                self._state = _State.CLOSING if self._value.whole else _State.BROKEN
                yield from self._made()
                return
        self._held = ""

    def _closing(self) -> Iterator[str | ToolCall]:
        """What follows a call: its end, another one, or text."""
        self._held = self._held.lstrip(_BETWEEN)
        if not self._held or (mark := self._mark_at(0)) == "":
            return
        if mark is not None:
            self._end(mark)
        elif self._held[0] in _JSON:
            self._begin(self._held)
        elif self._form.end:
            self._state = _State.BROKEN
        else:
            self._state, self._after_call = _State.TEXT, True
        yield from ()

    def _swallow(self) -> Iterator[str | ToolCall]:
        """Nothing, up to a mark."""
        for at in range(len(self._held)):
            if (mark := self._mark_at(at)) is not None:
                self._held = self._held[at:]
                if mark:
                    self._end(mark)
                return
        self._held = ""
        yield from ()

    def _end(self, mark: str) -> None:
        """A mark comes after a call: its own end, or another's beginning."""
        if mark == self._form.end:
            self._held = self._held.removeprefix(mark)
        self._state, self._after_call = _State.TEXT, True

    def _begin(self, rest: str) -> None:
        self._held, self._given = rest, ""
        self._state, self._value = _State.CALL, _JsonValue()
        self._opens = self._after_call = False

    def _overhang(self, text: str) -> int:
        """How many of a text's last characters may begin a call's mark."""
        return max(_overlap(text, mark) for mark in self._form.begins)

    def _give(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        self._given = (self._given + text)[-_CONTEXT:]
        return text

    def _thought_mark(self, pattern: re.Pattern[str]) -> int | None:
        """How much of what is held goes to the end of the next such mark; None: there is none."""
        for found in pattern.finditer(self._given + self._held):
            if found.end() > len(self._given):
                return found.end() - len(self._given)
        return None

    def _mark_at(self, at: int) -> str | None:
        """The mark that begins there; empty where it may become one, None where it cannot."""
        marks = [mark for mark in (self._form.end, *self._form.begins) if mark]
        rest = self._held[at : at + max(map(len, marks))]
        whole = next((mark for mark in marks if rest.startswith(mark)), None)
        return "" if whole is None and any(mark.startswith(rest) for mark in marks) else whole

    def _made(self) -> Iterator[ToolCall]:
        """The calls of a JSON value that is whole."""
        if self._value.problem:
            yield from self._broken(self._value.problem)
            return
        try:
            value = json.loads(self._value.text, parse_constant=_refuse)
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
            calls = [_read(each) for each in (value if isinstance(value, list) else [value])]
        except (ValueError, RecursionError):
            yield from self._broken("it is no JSON")
            return
        for call in calls:
            if isinstance(call, str):
                yield from self._broken(call)
            else:
                yield from self._numbered(*call)

    def _broken(self, why: str) -> Iterator[ToolCall]:
        yield from self._numbered("", {}, f"the call cannot be read: {why}")

    def _numbered(
        self, name: str, arguments: dict[str, Any], problem: str = ""
    ) -> Iterator[ToolCall]:
        self._calls += 1
        if self._calls <= self._most:
            yield ToolCall(self._new_id(), name, arguments, problem)


class _JsonValue:
    """The characters of a JSON object or list, until its brackets are closed."""

    def __init__(self) -> None:
        self._characters: list[str] = []
        self._depth = 0
        self._escaped = False
        self.in_text = False
        self.problem = ""
        """What is wrong with it, where it cannot become one."""

    @property
    def whole(self) -> bool:
        return bool(self._characters) and not self._depth and not self.problem

    @property
    def text(self) -> str:
        return "".join(self._characters)

    def push(self, character: str) -> None:
        if not self._characters and character not in _JSON:
            self.problem = "" if character in _SPACE else "it is no JSON"
            return
        self._characters.append(character)
        if len(self._characters) > LONGEST_CALL:
            self.problem = f"it has more than {LONGEST_CALL} characters"
        elif self.in_text:
            self.in_text = self._escaped or character != '"'
            self._escaped = character == "\\" and not self._escaped
        elif character == '"':
            self.in_text = True
        else:
            self._depth += (character in "{[") - (character in "}]")


def _read(value: Any) -> tuple[str, dict[str, Any]] | str:
    """A call's name and arguments in what a model wrote; or what is wrong with it."""
    if not isinstance(value, dict):
        return "it is no JSON object"
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = value.get("name", value.get("function"))
    if not isinstance(name, str) or not name:
        return "it has no name"
    arguments: Any = next((value[key] for key in _ARGUMENTS if value.get(key) is not None), {})
    if isinstance(arguments, str):
        arguments = json.loads(arguments or "{}", parse_constant=_refuse)
    if not isinstance(arguments, dict):
        return "its arguments are no JSON object"
    return name, arguments


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _may_begin_bare(begun: str) -> bool:
    """Whether it is not certain yet that a text begins with a bare call, or that it does not."""
    inner = begun[1:].lstrip(_SPACE)
    keys = ("name", "type", "function", *_ARGUMENTS)
    return begun[0] == "{" and any(
        f'"{key}"'.startswith(inner) and len(inner) < len(key) + 2 for key in keys
    )


def _overlap(text: str, mark: str) -> int:
    """How many of a text's last characters may begin a mark."""
    longest = min(len(mark) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if mark.startswith(text[-n:])), 0)
