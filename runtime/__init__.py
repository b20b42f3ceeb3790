"""The runtime for spoken turns.

Importing it needs numpy alone; what else is needed is imported when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxturn.runtime.assistant import Assistant
    from voxturn.runtime.audio.encode import WavFile
    from voxturn.runtime.frames import frames_from
    from voxturn.runtime.messages import (
        Interrupted,
        Paused,
        PcmChunk,
        ReplyToken,
        Resumed,
        Sentence,
        SessionError,
        SpeechEnded,
        SpeechStarted,
        ToolCall,
        Transcript,
        TurnDone,
    )
    from voxturn.runtime.profile import Profile, load_profile
    from voxturn.runtime.turn.session import Session, SessionOptions
    from voxturn.runtime.turn.tools import Tool

_PLACES = {
    "Assistant": "assistant",
    "Interrupted": "messages",
    "Paused": "messages",
    "PcmChunk": "messages",
    "Profile": "profile",
    "ReplyToken": "messages",
    "Resumed": "messages",
    "Sentence": "messages",
    "Session": "turn.session",
    "SessionError": "messages",
    "SessionOptions": "turn.session",
    "SpeechEnded": "messages",
    "SpeechStarted": "messages",
    "Tool": "turn.tools",
    "ToolCall": "messages",
    "Transcript": "messages",
    "TurnDone": "messages",
    "WavFile": "audio.encode",
    "frames_from": "frames",
    "load_profile": "profile",
}
__all__ = [
    "Assistant",
    "Interrupted",
    "Paused",
    "PcmChunk",
    "Profile",
    "ReplyToken",
    "Resumed",
    "Sentence",
    "Session",
    "SessionError",
    "SessionOptions",
    "SpeechEnded",
    "SpeechStarted",
    "Tool",
    "ToolCall",
    "Transcript",
    "TurnDone",
    "WavFile",
    "frames_from",
    "load_profile",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"voxturn.runtime.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
