"""Events of a turn or a session as Triton's tensors, and back: the codec's header as JSON, its
samples as they are. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from voxturn.runtime.errors import InferenceFailed, UsageError
from voxturn.runtime.messages import (
    Event,
    Interrupted,
    Message,
    Paused,
    PcmChunk,
    ReplyToken,
    Resumed,
    SessionError,
    SessionEvent,
    ToolCall,
    ToolSpec,
)
from voxturn.runtime.remote.codec import decode, encode
from voxturn.runtime.remote.dialogue import calls_json, message_table, read_calls, tools_json

EventT = TypeVar("EventT", bound=Event)
Tensors = dict[str, np.ndarray[Any, Any]]


def text_tensor(text: str) -> np.ndarray[Any, Any]:
    """A string as Triton takes it."""
    return np.array([text.encode()], np.object_)


def text_of(value: np.ndarray[Any, Any], name: str = "text") -> str:
    """The string of a tensor that holds one.

    Raises `UsageError`, with the tensor's name, where it is not UTF-8.
    """
    item = value.reshape(-1)[0]
    try:
        return item.decode() if isinstance(item, bytes) else str(item)
    except UnicodeDecodeError as exc:
        raise UsageError(f"{name}: must be UTF-8 (byte {exc.start} is not)") from exc


def of_chunk(chunk: PcmChunk) -> Tensors:
    """A chunk of audio as tensors: `pcm` float32 `[n]`, `rate`, `final`, and the rest as JSON in
    `sentence`."""
    about = {
        "start": chunk.start,
        "cut": chunk.cut,
        "sentence": dataclasses.asdict(chunk.sentence),
    }
    return {
        "pcm": chunk.samples,
        "rate": np.array([chunk.rate], np.int32),
        "final": np.array([chunk.final]),
        "sentence": text_tensor(json.dumps(about)),
    }


def to_chunk(tensors: Mapping[str, np.ndarray[Any, Any]]) -> PcmChunk:
    """What `of_chunk` was given. Raises `InferenceFailed` for one of another version."""
    header = json.loads(text_of(tensors["sentence"])) | {
        "kind": PcmChunk.__name__,
        "rate": int(tensors["rate"][0]),
        "final": bool(tensors["final"][0]),
    }
    chunk = decode(header, np.asarray(tensors["pcm"], np.float32).tobytes())
    assert isinstance(chunk, PcmChunk)  # the header says so
    return chunk


def asked(messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> dict[str, Any]:
    """A dialogue and tools as inputs of the served text model."""
    inputs = {"messages": json.dumps([message_table(message) for message in messages])}
    return inputs | ({"tools": tools_json(tools)} if tools else {})


def of_answer(item: ReplyToken | ToolCall) -> Tensors:
    """A piece of an answer as tensors: `text` and `ids`, of a call also `calls`."""
    ids = np.array(item.ids, np.int32)
    if isinstance(item, ReplyToken):
        return {"text": text_tensor(item.text), "ids": ids}
    return {"text": text_tensor(""), "ids": ids, "calls": text_tensor(calls_json([item]))}


def answered(tensors: Mapping[str, np.ndarray[Any, Any]]) -> list[ReplyToken | ToolCall]:
    """What `of_answer` was given. Raises `InferenceFailed` for calls of another version."""
    ids = tuple(tensors["ids"].tolist())
    if "calls" not in tensors:
        return [ReplyToken(text_of(tensors["text"]), ids)]
    try:
        calls = read_calls(text_of(tensors["calls"]))
    except (TypeError, UsageError) as exc:
        raise InferenceFailed(f"the server sent calls that are not whole ({exc})") from exc
    return [replace(call, ids=ids) for call in calls]


def of_event(event: SessionEvent) -> Tensors:
    """An event as tensors; of audio, those of `of_chunk` as well."""
    header, _ = encode(event)
    audio = of_chunk(event) if isinstance(event, PcmChunk) else {}
    return {"event": text_tensor(json.dumps(header))} | audio


def to_event(tensors: Mapping[str, np.ndarray[Any, Any]]) -> Event:
    """An event of a turn that `of_event` was given.

    Raises `InferenceFailed` for an event of another version, and for one of a session.
    """
    event = to_session_event(tensors)
    if isinstance(event, Paused | Resumed | Interrupted | SessionError):
        raise InferenceFailed(f"the server sent a session's {type(event).__name__} for a turn")
    return event


def to_session_event(tensors: Mapping[str, np.ndarray[Any, Any]]) -> SessionEvent:
    """What `of_event` was given. Raises `InferenceFailed` for an event of another version."""
    if "pcm" in tensors:
        return to_chunk(tensors)
    return decode(json.loads(text_of(tensors["event"])), b"")


def answer_of(tensors: Mapping[str, np.ndarray[Any, Any]], kind: type[EventT]) -> EventT:
    """The event of an answer that has to be of one kind. Raises `InferenceFailed` for another."""
    event = to_event(tensors)
    if not isinstance(event, kind):
        raise InferenceFailed(f"the server sent a {type(event).__name__} for a {kind.__name__}")
    return event
