"""Events of a turn or a session as a header and bytes, and back: what every wire shares. Pure.

The header is plain data for JSON, the bytes are samples, float32 little-endian; only audio has any.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from voxturn.runtime.errors import InferenceFailed, VoxturnError
from voxturn.runtime.messages import (
    Interrupted,
    Partial,
    Paused,
    PcmChunk,
    ReplyToken,
    Resumed,
    Sentence,
    SessionError,
    SessionEvent,
    SpeechEnded,
    SpeechStarted,
    ToolCall,
    Transcript,
    TurnDone,
    Word,
)
from voxturn.runtime.remote.failures import error_class

_SAMPLES = np.dtype("<f4")
_KINDS = {
    kind.__name__: kind
    for kind in (
        SpeechStarted,
        SpeechEnded,
        Partial,
        Transcript,
        ReplyToken,
        ToolCall,
        Sentence,
        TurnDone,
        PcmChunk,
        Paused,
        Resumed,
        Interrupted,
        SessionError,
    )
}
_LONGEST_ERROR = 1000


def encode(event: SessionEvent) -> tuple[dict[str, Any], bytes]:
    """An event's header and samples. Of an error its class and its one line go, never a stack."""
    header = {"kind": type(event).__name__}
    if isinstance(event, SessionError):
        return header | _of_error(event.error), b""
    if not isinstance(event, PcmChunk):
        return header | dataclasses.asdict(event), b""
    about = dataclasses.asdict(dataclasses.replace(event, samples=event.samples[:0]))
    del about["samples"]
    return header | about, event.samples.astype(_SAMPLES, copy=False).tobytes()


def decode(header: Mapping[str, Any], data: bytes) -> SessionEvent:
    """What `encode` was given. An error of a class that this side has not is `InferenceFailed`.

    Raises `InferenceFailed` for an event of another version, or one that is not whole.
    """
    fields = dict(header)
    kind = _KINDS.get(fields.pop("kind", ""))
    if kind is None:
        raise InferenceFailed(
            "the server sent an event that this version does not know; upgrade the client"
        )
    try:
        if kind is PcmChunk:
            fields["samples"] = np.frombuffer(data, _SAMPLES).astype(np.float32)
            fields["sentence"] = Sentence(**_tuples(fields["sentence"]))
        if kind is SessionError:
            fields = {"error": _to_error(**fields)}
        event: SessionEvent = kind(**_tuples(fields))
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        reason = " ".join(str(exc).split())[:200]
        raise InferenceFailed(
            f"the server sent a {kind.__name__} that is not whole ({reason})"
        ) from exc
    return event


def _of_error(error: Exception) -> dict[str, str]:
    message = " ".join(str(error).split())[:_LONGEST_ERROR]
    if isinstance(error, VoxturnError):
        return {"error": type(error).__name__, "message": message}
    return {
        "error": InferenceFailed.__name__,
        "message": f"{type(error).__name__}: {message}",
    }


def _to_error(error: str, message: str) -> VoxturnError:
    line = " ".join(message.split())[:_LONGEST_ERROR]
    if (kind := error_class(error)) is not None:
        return kind(line)
    return InferenceFailed(f"{' '.join(error.split())[:_LONGEST_ERROR]}: {line}")


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples that messages hold."""
    return {
        name: tuple(Word(**item) if isinstance(item, dict) else item for item in value)
        if isinstance(value, list | tuple)
        else value
        for name, value in fields.items()
    }
