"""How a model's chat template writes tools, calls and their results. Pure.

Found at the export, as the rest of a chat format is (`export/decoder/tool_format.py`); a manifest
keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from voxturn.runtime.messages import Message, ToolSpec
from voxturn.runtime.text.tool_calls import CALL_FORMS, CallForm

CALL, TOOL, ASKED = "call", "tool", "asked"
"""Beyond the roles of messages: an answer with calls; a call's result; the last question, where a
template writes the tools before that."""
TOOLS, ID_BEFORE, ID_AFTER = "\ue002", "\ue003", "\ue004"
"""In a format's texts: the list of the tools; the id of the result before a text, and after it."""


@dataclass(frozen=True)
class ToolFormat:
    """How tools, calls and results are written. `form` is a name in `CALL_FORMS`.

    A tool is JSON with `indent`, within `{"type": "function", "function": …}` if `wrapped`;
    `separator` parts them. `lead` stands between an answer's text and its calls; None: the text is
    left out. `quoted`: results are JSON strings. `at_question`: the tools stand before the last
    question. `several`: an answer may have more than one call.
    """

    form: str
    wrapped: bool
    indent: int | None
    separator: str
    lead: str | None
    quoted: bool
    at_question: bool
    several: bool

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """What `to_table` made. Raises `KeyError` or `TypeError`."""
        values = {field.name: table[field.name] for field in fields(cls)}
        CALL_FORMS[values["form"]]
        if not isinstance(values["separator"], str) or not isinstance(values["lead"], str | None):
            raise TypeError("chat has a text that is none")
        return cls(**values)

    def to_table(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def calls(self) -> CallForm:
        return CALL_FORMS[self.form]

    def listed(self, tools: Sequence[ToolSpec], clean: Callable[[str], str] = str) -> str:
        """The tools. `clean` is applied to each."""
        return self.separator.join(clean(self._tool(tool)) for tool in tools)

    def _tool(self, tool: ToolSpec) -> str:
        table = tool_table(tool)
        value = table if self.wrapped else table["function"]
        return json.dumps(value, ensure_ascii=False, indent=self.indent)

    def role(self, messages: Sequence[Message], at: int) -> str:
        """The role by which a message's place is found."""
        message = messages[at]
        if message.calls:
            return CALL
        if not self.at_question or message.role != "user":
            return message.role
        later = any(each.role == "user" for each in messages[at + 1 :])
        return message.role if later else ASKED

    def text(self, message: Message, clean: Callable[[str], str] = str) -> str:
        """A message's text, with its calls. `clean` is applied to what was said, and by whom."""
        if message.role == TOOL and self.quoted:
            return clean(json.dumps(message.text, ensure_ascii=False))
        if not message.calls:
            return clean(message.text)
        said = clean(message.text.strip()) if self.lead is not None else ""
        return f"{said}{self.lead if said else ''}{self.calls.written(message.calls, clean)}"


def tool_table(tool: ToolSpec) -> dict[str, Any]:
    """A tool as chat templates and other servers want it."""
    about = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    return {"type": "function", "function": about}
