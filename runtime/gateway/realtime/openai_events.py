"""OpenAI's Realtime API (GA), as clients write it: their events, and a session's settings.

Unknown fields and options are taken and not heeded: clients take errors for the end.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

_LONGEST = 32_768
_MOST_TOOLS = 128
Text = Annotated[str, Meta(max_length=_LONGEST)]
Name = Annotated[str, Meta(max_length=128)]
Id = Annotated[str, Meta(min_length=1, max_length=64)]


class Format(Struct):
    """`audio.input.format`, `audio.output.format`."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: Literal[24000, 8000] | UnsetType | None = UNSET


class Transcription(Struct):
    """`audio.input.transcription`."""

    model: Name | UnsetType | None = UNSET
    language: Name | UnsetType | None = UNSET
    prompt: Text | UnsetType | None = UNSET
    delay: Name | UnsetType | None = UNSET


class TurnDetection(Struct):
    """`audio.input.turn_detection`."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: Annotated[float, Meta(ge=0.0, le=1.0)] | UnsetType | None = UNSET
    prefix_padding_ms: Annotated[float, Meta(ge=0, le=5000)] | UnsetType | None = UNSET
    silence_duration_ms: Annotated[float, Meta(ge=0, le=10000)] | UnsetType | None = UNSET
    idle_timeout_ms: float | UnsetType | None = UNSET
    eagerness: Literal["low", "medium", "high", "auto"] | UnsetType | None = UNSET
    create_response: bool | UnsetType | None = UNSET
    interrupt_response: bool | UnsetType | None = UNSET


class AudioIn(Struct):
    """`audio.input`."""

    format: Format | UnsetType = UNSET
    noise_reduction: dict[str, Any] | UnsetType | None = UNSET
    transcription: Transcription | UnsetType | None = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET


class VoiceId(Struct):
    """A voice by its id."""

    id: Name


class AudioOut(Struct):
    """`audio.output`. `style`, ours: one of the voice's."""

    format: Format | UnsetType = UNSET
    speed: Annotated[float, Meta(ge=0.25, le=1.5)] | UnsetType = UNSET
    voice: Name | VoiceId | UnsetType | None = UNSET
    style: Name | UnsetType | None = UNSET


class Audio(Struct):
    """`audio`."""

    input: AudioIn | UnsetType = UNSET
    output: AudioOut | UnsetType = UNSET


class ToolDefinition(Struct):
    """Of `tools`: those of another type than `function` are not heeded."""

    type: Name = "function"
    name: Name = ""
    description: Text | None = None
    parameters: dict[str, Any] | None = None


Tools = Annotated[list[ToolDefinition], Meta(max_length=_MOST_TOOLS)]
Modalities = Annotated[list[Literal["audio", "text"]], Meta(min_length=1, max_length=2)]
MostTokens = Annotated[int, Meta(ge=1, le=1 << 20)] | Literal["inf"]
MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue | None], Meta(max_length=32)]


class SessionUpdate(Struct):
    """`session`: what is not there stays as it is."""

    type: Literal["realtime", "transcription"] | UnsetType = UNSET
    model: Name | UnsetType | None = UNSET
    instructions: Text | UnsetType | None = UNSET
    output_modalities: Modalities | UnsetType = UNSET
    audio: Audio | UnsetType = UNSET
    tools: Tools | UnsetType | None = UNSET
    tool_choice: Name | dict[str, Any] | UnsetType | None = UNSET
    parallel_tool_calls: bool | UnsetType | None = UNSET
    max_output_tokens: MostTokens | UnsetType | None = UNSET
    truncation: Name | dict[str, Any] | UnsetType | None = UNSET
    tracing: Name | dict[str, Any] | UnsetType | None = UNSET
    prompt: dict[str, Any] | UnsetType | None = UNSET
    reasoning: dict[str, Any] | UnsetType | None = UNSET
    include: list[Name] | UnsetType | None = UNSET


class Content(Struct):
    """A part of a message."""

    type: Name = "input_text"
    text: Text | None = None
    transcript: Text | None = None
    audio: bytes | None = None


class ItemBody(Struct):
    """An item as a client gives it."""

    type: Literal["message", "function_call", "function_call_output", "item_reference"] = "message"
    id: Id | None = None
    role: Literal["system", "user", "assistant"] = "user"
    content: Annotated[list[Content], Meta(max_length=64)] = []
    call_id: Name = ""
    name: Name = ""
    arguments: Text = ""
    output: Text = ""


class ResponseBody(Struct):
    """`response` of `response.create`."""

    conversation: Name | UnsetType | None = UNSET
    instructions: Text | UnsetType | None = UNSET
    output_modalities: Modalities | UnsetType | None = UNSET
    audio: Audio | UnsetType | None = UNSET
    tools: Tools | UnsetType | None = UNSET
    tool_choice: Name | dict[str, Any] | UnsetType | None = UNSET
    max_output_tokens: MostTokens | UnsetType | None = UNSET
    input: Annotated[list[ItemBody], Meta(max_length=256)] | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class ClientEvent(Struct, tag_field="type", tag=str.lower, kw_only=True):
    """An event of a client. `event_id` comes back in an error that it leads to."""

    event_id: Annotated[str, Meta(max_length=512)] | None = None


class UpdateSession(ClientEvent, tag="session.update"):
    session: SessionUpdate


class Append(ClientEvent, tag="input_audio_buffer.append"):
    audio: bytes


class Commit(ClientEvent, tag="input_audio_buffer.commit"):
    """What was appended is a message."""


class Clear(ClientEvent, tag="input_audio_buffer.clear"):
    """What was appended is dropped."""


class CreateItem(ClientEvent, tag="conversation.item.create"):
    item: ItemBody
    previous_item_id: Name | None = None


class RetrieveItem(ClientEvent, tag="conversation.item.retrieve"):
    item_id: Name


class DeleteItem(ClientEvent, tag="conversation.item.delete"):
    item_id: Name


class TruncateItem(ClientEvent, tag="conversation.item.truncate"):
    item_id: Name
    audio_end_ms: Annotated[float, Meta(ge=0, le=1e9)]
    content_index: int = 0


class CreateResponse(ClientEvent, tag="response.create"):
    response: ResponseBody | None = field(default_factory=ResponseBody)


class CancelResponse(ClientEvent, tag="response.cancel"):
    response_id: Name | None = None


AnyClientEvent = (
    UpdateSession
    | Append
    | Commit
    | Clear
    | CreateItem
    | RetrieveItem
    | DeleteItem
    | TruncateItem
    | CreateResponse
    | CancelResponse
)
DECODER = msgspec.json.Decoder(AnyClientEvent)
