"""What `/v1/chat/completions` takes and gives, as OpenAI's clients write and read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.models import ModelName
from voxturn.runtime.messages import Message, ToolCall
from voxturn.runtime.text.chat_format import alternating, with_results
from voxturn.runtime.turn.tools import MOST_TOOLS, Toolbox, client_tool

_MOST_MESSAGES = 2000
_MOST_TEXT = 400_000
"""Characters of all messages: more than any model's context here has room for, and little enough
to be counted in tokens."""


StopText = Annotated[str, Meta(max_length=200)]


class Part(msgspec.Struct):
    """A part of a message's content. Texts alone are taken."""

    type: str
    text: str = ""


class CalledFunction(msgspec.Struct):
    """A function that the model calls. `arguments`: JSON, as a text."""

    name: str
    arguments: str


class Call(msgspec.Struct):
    """A call of a function."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class ChatMessage(msgspec.Struct):
    """A message of the dialogue."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None


class Function(msgspec.Struct):
    """A function that may be called. `parameters` is a JSON schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class FunctionTool(msgspec.Struct):
    """A tool. Functions alone are known."""

    type: Literal["function"]
    function: Function


class NamedChoice(msgspec.Struct):
    """A tool that must be called."""

    type: str


class ResponseFormat(msgspec.Struct):
    """How the answer is to be written."""

    type: str


class StreamOptions(msgspec.Struct):
    """`include_usage`: a last chunk says what the answer cost."""

    include_usage: bool | None = None


class ChatRequest(msgspec.Struct):
    """A dialogue to be answered. Fields that are not listed change nothing."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=_MOST_MESSAGES)]
    model: ModelName = ""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: Annotated[list[FunctionTool], Meta(max_length=MOST_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    stop: StopText | Annotated[list[StopText], Meta(max_length=4)] | None = None
    seed: int | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    n: Annotated[int, Meta(ge=1)] | None = None
    response_format: ResponseFormat | None = None
    modalities: list[str] | None = None


class ChatUsage(msgspec.Struct):
    """What an answer cost, in tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(msgspec.Struct):
    """The answer."""

    content: str | None
    tool_calls: list[Call] | UnsetType = UNSET
    refusal: str | None = None
    role: Literal["assistant"] = "assistant"


Finish = Literal["stop", "length", "tool_calls", "content_filter"]


class Choice(msgspec.Struct):
    """The one answer."""

    message: AnswerMessage
    finish_reason: Finish
    index: int = 0
    logprobs: None = None


class Completion(msgspec.Struct):
    """A whole answer."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage
    object: Literal["chat.completion"] = "chat.completion"


class CallDelta(msgspec.Struct):
    """A whole call, the `index`-th of the answer."""

    index: int
    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class Delta(msgspec.Struct, omit_defaults=True):
    """What is new of the answer."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    tool_calls: list[CallDelta] | UnsetType = UNSET


class ChoiceDelta(msgspec.Struct):
    """What is new of the one answer."""

    delta: Delta
    finish_reason: Finish | None = None
    index: int = 0
    logprobs: None = None


class Chunk(msgspec.Struct):
    """A piece of a streamed answer."""

    id: str
    created: int
    model: str
    choices: list[ChoiceDelta]
    usage: ChatUsage | UnsetType | None = UNSET
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"


def dialogue_of(messages: Sequence[ChatMessage], instructions: str = "") -> list[Message]:
    """The messages as a replier takes them. Those of one role in a row are one, and calls without a
    result have one that says so: templates want it. A dialogue that begins without a system message
    gets `instructions` for one, as a served replier gives it its own.

    Raises `ApiError` 400 for content that is no text, and for results without their calls; 413.
    """
    dialogue: list[Message] = []
    called: set[str] = set()
    size = 0
    for at, message in enumerate(messages):
        text = _text(message, f"messages[{at}].content")
        size += len(text)
        if message.role == "tool":
            if not message.tool_call_id or message.tool_call_id not in called:
                place = f"messages[{at}].tool_call_id"
                raise ApiError(400, f"{place}: no call has this id", "invalid_value", place)
            dialogue.append(Message("tool", text, call_id=message.tool_call_id))
            continue
        calls = tuple(
            _call(call, f"messages[{at}].tool_calls[{number}]")
            for number, call in enumerate(message.tool_calls or ())
        )
        if calls and message.role != "assistant":
            place = f"messages[{at}].tool_calls"
            raise ApiError(400, f"{place}: an assistant alone calls", "invalid_value", place)
        called |= {call.id for call in calls}
        role = "system" if message.role == "developer" else message.role
        dialogue.append(Message(role, text, calls=calls))
    if size > _MOST_TEXT:
        what = f"messages: {size} characters; a dialogue may have {_MOST_TEXT}"
        raise ApiError(413, what, "text_too_long", "messages")
    if dialogue[-1].role == "assistant":  # voice frameworks have a greeting asked for by the system
        what = "messages: must not end with an answer"
        raise ApiError(400, what, "invalid_value", "messages")
    if instructions and dialogue[0].role != "system":
        dialogue.insert(0, Message("system", instructions))
    return with_results(alternating(dialogue))


def _text(message: ChatMessage, place: str) -> str:
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    for part in message.content:
        if part.type not in ("text", "refusal"):
            what = f"{place}: this model reads texts alone, not {part.type[:40]!r}"
            raise ApiError(400, what, "unsupported_value", place)
    return "\n".join(part.text for part in message.content)


def _call(call: Call, place: str) -> ToolCall:
    """A call of an earlier answer. Raises `ApiError` 400 where its arguments are no object."""
    try:
        arguments = msgspec.json.decode(call.function.arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as exc:
        place = f"{place}.function.arguments"
        raise ApiError(400, f"{place}: must be a JSON object", "invalid_value", place) from exc
    return ToolCall(call.id, call.function.name, arguments)


def toolbox_of(tools: Sequence[FunctionTool]) -> Toolbox:
    """The tools, checked. Raises `UsageError` for a name or a schema that is none."""
    empty: dict[str, Any] = {"type": "object", "properties": {}}
    return Toolbox(
        [
            client_tool(
                tool.function.name,
                tool.function.description or "",
                empty if tool.function.parameters is None else tool.function.parameters,
            )
            for tool in tools
        ]
    )


def called_function(call: ToolCall) -> CalledFunction:
    """A call as clients read it."""
    return CalledFunction(call.name, json.dumps(dict(call.arguments), ensure_ascii=False))
