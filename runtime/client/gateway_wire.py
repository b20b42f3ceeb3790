"""What a gateway's `/ws/voice` says, as the events and errors of this package. Pure.

The messages are declared in `gateway/voice/messages.py`; fields that this client does not know are
passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from voxturn.runtime import errors
from voxturn.runtime.audio.encode import from_int16
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
    SpeechStarted,
    ToolCall,
    Transcript,
    TurnDone,
    Word,
)

VERSION = 1
HEADER = struct.Struct("<BBHIIIQ")
_FINAL = 2

_ERRORS: Mapping[str, type[errors.VoxturnError]] = {
    "session_limit_reached": errors.TooManyStreams,
    "rate_limit_exceeded": errors.TooManyStreams,
    "session_not_found": errors.ForgottenSession,
    "resume_impossible": errors.ForgottenSession,
    "invalid_audio": errors.UnreadableAudio,
    "audio_too_long": errors.AudioTooLong,
    "text_too_long": errors.TextTooLong,
    "invalid_text": errors.TextError,
    "context_length_exceeded": errors.PromptTooLong,
    "unsupported_language": errors.UnsupportedLanguage,
    "voice_not_found": errors.UnknownVoice,
    "style_not_found": errors.UnknownStyle,
    "model_not_found": errors.UnknownModel,
    "deadline_exceeded": errors.DeadlineExceeded,
    "engine_unavailable": errors.ServerUnavailable,
    "stopping": errors.ServerUnavailable,
    "engine_died": errors.ServerDied,
    "internal_error": errors.InferenceFailed,
    "not_kept": errors.InferenceFailed,
}
_BY_STATUS = {
    429: errors.TooManyStreams,
    503: errors.ServerUnavailable,
    504: errors.DeadlineExceeded,
}


def error_of(told: Mapping[str, Any], status: int = 400) -> errors.VoxturnError:
    """The error that a gateway tells: `{code, message}`. `status` is that of HTTP."""
    kind = _ERRORS.get(str(told.get("code")))
    if kind is None:
        kind = _BY_STATUS.get(status)
    if kind is None:
        kind = errors.UsageError if status < 500 else errors.InferenceFailed
    return kind(str(told.get("message") or "the gateway refused it without a reason"))


@dataclass
class Reading:
    """Turns messages into events; knows the sentences of the answer, and the rate of its audio."""

    rate: int = 0

    def __post_init__(self) -> None:
        self._sentences: dict[int, Sentence] = {}

    def audio(self, data: bytes) -> tuple[int, PcmChunk]:
        """A binary frame: its number, and its chunk. Raises `ServerDied` for what is none."""
        if len(data) < HEADER.size or data[0] != VERSION:
            raise errors.ServerDied("the gateway sent audio that this client cannot read")
        _, flags, index, seq, _, _, start = HEADER.unpack_from(data)
        samples = from_int16(data[HEADER.size :])
        sentence = self._sentences.get(index) or Sentence("", index)
        final = bool(flags & _FINAL)
        return seq, PcmChunk(samples, self.rate, start, sentence, final=final)

    def event(self, told: Mapping[str, Any]) -> SessionEvent | None:
        """A message as an event; None for one that is none."""
        match told["type"]:
            case "speech.started":
                return SpeechStarted(told["at"])
            case "partial":
                return Partial(told["stable"], told["unstable"], told["language"], told["start"])
            case "transcript":
                self._sentences.clear()
                words = tuple(Word(**each) for each in told["words"])
                return Transcript(
                    told["text"],
                    told["language"],
                    told["confidence"],
                    filtered=tuple(told["filtered"]),
                    words=words,
                )
            case "reply.delta":
                return ReplyToken(told["text"])
            case "tool.call":
                return ToolCall(told["call_id"], told["name"], told["arguments"])
            case "sentence":
                return self._sentence(told)
            case "paused":
                return Paused()
            case "resumed":
                return Resumed(told["at"])
            case "interrupted":
                return Interrupted(told["heard"], told["reason"])
            case "reply.done":
                return TurnDone(told["reply"])
            case "error":
                return SessionError(error_of(told))
        return None

    def _sentence(self, told: Mapping[str, Any]) -> Sentence:
        sentence = Sentence(
            told["text"],
            told["index"],
            tuple(told["filtered"]),
            told["style"],
            told["language"],
            told["refusal"],
            told["filler"],
        )
        self._sentences[sentence.index] = sentence
        return sentence
