"""`/v1/chat/completions` as a client of it writes and reads it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from voxturn.runtime.client.gateway_wire import error_of
from voxturn.runtime.messages import Message, ReplyToken, ToolCall, ToolSpec


def chat_request(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> dict[str, Any]:
    """The request of a streamed answer."""
    asked: dict[str, Any] = {"messages": [_message(each) for each in messages], "stream": True}
    if tools:
        asked["tools"] = [_tool(each) for each in tools]
    return asked


def chat_items(chunk: Mapping[str, Any]) -> Iterator[ReplyToken | ToolCall]:
    """What a `chat.completion.chunk` adds to the answer. Raises the error that takes its place."""
    if "error" in chunk:
        raise error_of(chunk["error"], 500)
    choices = chunk.get("choices") or [{}]
    delta = choices[0].get("delta", {})
    if text := delta.get("content"):
        yield ReplyToken(str(text))
    for call in delta.get("tool_calls") or ():
        function = call["function"]  # a gateway gives calls whole
        yield ToolCall(call["id"], function["name"], json.loads(function["arguments"] or "{}"))


def _message(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.calls:
        told["tool_calls"] = [_call(each) for each in message.calls]
    if message.call_id:
        told["tool_call_id"] = message.call_id
    return told


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(dict(call.arguments))
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    return {"type": "function", "function": function}
