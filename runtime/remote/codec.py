"""Events of a turn as tensors, and back: JSON beside PCM. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.messages import (
    Event,
    Partial,
    PcmChunk,
    ReplyToken,
    Sentence,
    SpeechStarted,
    Transcript,
    TurnDone,
    Word,
)

Tensors = dict[str, np.ndarray[Any, Any]]
_KINDS = {
    kind.__name__: kind
    for kind in (SpeechStarted, Partial, Transcript, ReplyToken, Sentence, TurnDone)
}


def text_tensor(text: str) -> np.ndarray[Any, Any]:
    """A string as Triton takes it."""
    return np.array([text.encode()], np.object_)


def text_of(value: np.ndarray[Any, Any]) -> str:
    """The string of a tensor that holds one."""
    item = value.reshape(-1)[0]
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)


def of_chunk(chunk: PcmChunk) -> Tensors:
    """A chunk of audio as tensors."""
    return {
        "pcm": chunk.samples,
        "rate": np.array([chunk.rate], np.int32),
        "final": np.array([chunk.final]),
        "sentence": text_tensor(
            json.dumps(
                {
                    "start": chunk.start,
                    "cut": chunk.cut,
                    "sentence": dataclasses.asdict(chunk.sentence),
                }
            )
        ),
    }


def to_chunk(tensors: Mapping[str, np.ndarray[Any, Any]]) -> PcmChunk:
    """What `of_chunk` was given."""
    about = json.loads(text_of(tensors["sentence"]))
    sentence = about["sentence"]
    return PcmChunk(
        np.asarray(tensors["pcm"], np.float32),
        int(tensors["rate"][0]),
        about["start"],
        Sentence(sentence["text"], sentence["index"], tuple(sentence["filtered"])),
        about["cut"],
        bool(tensors["final"][0]),
    )


def of_event(event: Event) -> Tensors:
    """An event of a turn as tensors; of audio, the tensors of `of_chunk` as well."""
    if isinstance(event, PcmChunk):
        return {"event": text_tensor("{}"), **of_chunk(event)}
    return {
        "event": text_tensor(json.dumps({"kind": type(event).__name__} | dataclasses.asdict(event)))
    }


def to_event(tensors: Mapping[str, np.ndarray[Any, Any]]) -> Event:
    """What `of_event` was given. Raises `InferenceFailed` for an event of another version."""
    if "pcm" in tensors:
        return to_chunk(tensors)
    fields = json.loads(text_of(tensors["event"]))
    kind = _KINDS.get(fields.pop("kind", ""))
    if kind is None:
        raise InferenceFailed(
            "the server sent an event that this version does not know; upgrade the client"
        )
    for name, value in fields.items():
        if isinstance(value, list):
            fields[name] = tuple(Word(**item) if isinstance(item, dict) else item for item in value)
    event: Event = kind(**fields)
    return event
