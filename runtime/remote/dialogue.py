"""Dialogues with calls and results, and tools, as plain data for JSON, and back. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from voxturn.runtime.errors import UsageError
from voxturn.runtime.messages import Message, ToolCall, ToolSpec
from voxturn.runtime.remote.contract import LONGEST_JSON, MOST_CALLS, MOST_TOOLS
from voxturn.runtime.remote.table import Table, json_value

ROLES = ("system", "user", "assistant", "tool")


def message_table(message: Message) -> dict[str, Any]:
    """A message without its tokens. `read_message` reads it."""
    table: dict[str, Any] = {"role": message.role, "text": message.text}
    if message.calls:
        table["calls"] = [call_table(call) for call in message.calls]
    return table | ({"call_id": message.call_id} if message.role == "tool" else {})


def length_of(message: Message) -> int:
    """Characters of a message, its calls included."""
    calls = calls_json(message.calls) if message.calls else ""
    return len(message.text) + len(calls)


def call_table(call: ToolCall) -> dict[str, Any]:
    """A call. `read_call` reads it."""
    table = {"id": call.id, "name": call.name, "arguments": dict(call.arguments)}
    return table | ({"problem": call.problem} if call.problem else {})


def tools_json(tools: Sequence[ToolSpec]) -> str:
    """Tools as the served model takes them. `read_tools` reads them."""
    fields = ("name", "description", "parameters")
    return json.dumps([{name: getattr(tool, name) for name in fields} for tool in tools])


def read_message(table: Table, roles: Sequence[str] = ROLES) -> Message:
    """A message. Raises `UsageError`."""
    role, text = table.one_of("role", roles), table.text("text", LONGEST_JSON)
    calls: tuple[ToolCall, ...] = ()
    if role == "assistant" and "calls" in table:
        calls = tuple(read_call(each) for each in table.tables("calls", MOST_CALLS))
    call_id = table.text("call_id") if role == "tool" else ""
    return Message(role, text, calls=calls, call_id=call_id)


def read_call(table: Table) -> ToolCall:
    """A call. Raises `UsageError`."""
    problem = table.text("problem") if "problem" in table else ""
    return ToolCall(table.text("id"), table.text("name"), table.object("arguments"), problem)


def read_tools(text: str, name: str) -> list[ToolSpec]:
    """The tools of a JSON list, which errors call `name`. Raises `UsageError`."""
    items = json_value(text, name)
    if not isinstance(items, list) or not 0 < len(items) <= MOST_TOOLS:
        raise UsageError(f"{name}: must be a JSON list of 1 to {MOST_TOOLS} tools")
    tools = []
    for number, item in enumerate(items):
        about = Table(item, f"{name}[{number}]")
        tool = ToolSpec(
            about.text("name"),
            about.text("description", LONGEST_JSON),
            about.object("parameters"),
        )
        about.close()
        tools.append(tool)
    return tools


def calls_json(calls: Sequence[ToolCall]) -> str:
    """Calls as the served model gives them. `read_calls` reads them."""
    return json.dumps([call_table(call) for call in calls])


def read_calls(text: str) -> list[ToolCall]:
    """What `calls_json` made. Raises `UsageError`."""
    items = json_value(text, "calls")
    return [read_call(Table(item, "calls")) for item in items]
