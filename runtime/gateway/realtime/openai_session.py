"""The session object of OpenAI's Realtime API: defaults, updates, and what it comes down to."""

from __future__ import annotations

import copy
import time
from typing import Any

import msgspec
from msgspec import UNSET
from voxturn.runtime.errors import UnsupportedLanguage
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.realtime.formats import FORMATS, Format
from voxturn.runtime.gateway.realtime.items import new_id
from voxturn.runtime.gateway.realtime.manner import Manner, Taking, by_meaning, by_silence
from voxturn.runtime.gateway.realtime.openai_events import AudioIn, SessionUpdate, ToolDefinition
from voxturn.runtime.text.language import codes_of
from voxturn.runtime.turn.listen import Endpointing
from voxturn.runtime.turn.tools import Tool, client_tool

_SERVER_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
_SEMANTIC_VAD = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}
_ECHOED = ("model", "language", "prompt")
"""Of `audio.input.transcription`: clients refuse other fields."""

_LIVE = ("minimal", "low")
PAUSES = "voxturn.output_audio.pauses"
"""Of `include`, ours: the client is told when to withhold what it plays, and when to go on."""

_WITHOUT_ENDS = ("gpt-realtime-whisper", "gpt-live-transcribe")
_LONGEST = 1 << 19
"""Bytes of all settings: they are told in one message, of which clients take 1 MiB."""

Settings = dict[str, Any]


class SessionObject:
    """A session's settings, as its client sees them."""

    def __init__(self, gateway: Gateway, model: str, transcribes: bool) -> None:
        self._gateway = gateway
        self._settings: Settings = defaults(gateway, model, transcribes)
        self.id = new_id("sess")
        self.expires_at = int(time.time() + gateway.settings.longest_session_s)
        self._delay = ""

    @property
    def transcribes(self) -> bool:
        """Whether it only writes down."""
        return bool(self._settings["type"] == "transcription")

    @property
    def heard(self) -> Format:
        """The form of the audio that comes."""
        return FORMATS[self._settings["audio"]["input"]["format"]["type"]]

    @property
    def said(self) -> Format:
        """The form of the audio that goes."""
        return FORMATS[self._settings["audio"]["output"]["format"]["type"]]

    @property
    def tells_pauses(self) -> bool:
        """Whether the client asked for `PAUSES`."""
        return PAUSES in (self._settings["include"] or ())

    def to_dict(self) -> Settings:
        """As `session.created` and `session.updated` give it; a style where one is chosen."""
        settings = copy.deepcopy(self._settings)
        if not settings["audio"]["output"]["style"]:
            del settings["audio"]["output"]["style"]
        name = "transcription_session" if self.transcribes else "session"
        audio: Settings = settings["audio"]
        if self.transcribes:
            keys = ("type", "include")
            settings = {key: settings[key] for key in keys} | {"audio": {"input": audio["input"]}}
        about = {"id": self.id, "object": f"realtime.{name}", "expires_at": self.expires_at}
        return settings | about

    def updated(self, update: SessionUpdate, voice_locked: bool) -> SessionObject:
        """The same with an update. Raises `ApiError`."""
        other = copy.copy(self)
        other._settings = merged(self._settings, msgspec.to_builtins(update), self._gateway)
        if len(msgspec.json.encode(other._settings)) > _LONGEST:
            raise ApiError(
                413, f"session: more than {_LONGEST} bytes", "session_too_large", "session"
            )
        before, after = (
            each["audio"]["output"]["voice"] for each in (self._settings, other._settings)
        )
        if voice_locked and before != after:
            raise ApiError(
                400,
                "Cannot update a conversation's voice if assistant audio is present.",
                "cannot_update_voice",
                "session.audio.output.voice",
            )
        if update.audio and update.audio.input and update.audio.input.transcription:
            other._delay = update.audio.input.transcription.delay or ""
            other._leave_ends(update.audio.input)
        return other

    def _leave_ends(self, heard: AudioIn) -> None:
        """Some models that write down find no ends of speech: their clients commit what was said,
        and take it for a failure where that was done already. Source: livekit-plugins-openai
        1.8.9, `stt.py`; pipecat 1.14, `services/openai/stt.py`."""
        model = heard.transcription.model if heard.transcription else ""
        unsaid = self.transcribes and heard.turn_detection is UNSET
        if unsaid and model and model.startswith(_WITHOUT_ENDS):
            self._settings["audio"]["input"]["turn_detection"] = None

    async def manner(self, key: str) -> Manner:
        """What it comes down to, with the voices of a key. Raises `ApiError` and what `Voices.chosen` raises."""
        settings, heard = self._settings, self._settings["audio"]["input"]
        said = settings["audio"]["output"]
        transcription = heard["transcription"]
        most = settings["max_output_tokens"]
        voices = self._gateway.voices
        return Manner(
            voice=await voices.chosen(
                said["voice"], style=said["style"], speed=said["speed"], key=key
            ),
            voice_name=said["voice"],
            instructions=settings["instructions"],
            tools=tools_of(settings["tools"], settings["tool_choice"]),
            aloud="audio" in settings["output_modalities"],
            max_tokens=0 if most == "inf" else most,
            language=_language((transcription or {}).get("language")),
            taking=_taking(heard["turn_detection"], self._gateway),
            writes=transcription is not None or self.transcribes,
            live=self.transcribes or self._delay in _LIVE,
            answers=not self.transcribes,
        )


def defaults(gateway: Gateway, model: str, transcribes: bool) -> Settings:
    """A session's settings before anything was asked for."""
    return {
        "type": "transcription" if transcribes else "realtime",
        "model": model,
        "instructions": gateway.assistant.profile.instructions,
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "noise_reduction": None,
                "transcription": None,
                "turn_detection": dict(_SERVER_VAD),
            },
            "output": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "speed": 1.0,
                "voice": "alloy",
                "style": "",
            },
        },
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "prompt": None,
        "reasoning": None,
        "include": None,
    }


def merged(settings: Settings, update: Settings, gateway: Gateway) -> Settings:
    """Settings with those of an update: what is null is as it was in the beginning, or none."""
    out = copy.deepcopy(settings)
    first = defaults(gateway, settings["model"], False)
    audio = update.pop("audio", {})
    for name, value in update.items():
        out[name] = first[name] if value is None else value
    for way in ("input", "output"):
        for name, value in audio.get(way, {}).items():
            out["audio"][way][name] = _option(name, value, out["audio"][way][name], first, way)
    return out


def _option(name: str, value: Any, before: Any, first: Settings, way: str) -> Any:
    """An option of `audio.input` or `audio.output`."""
    if value is None:
        return first["audio"][way][name] if name in ("voice", "style") else None
    if name == "format":
        form = FORMATS[value["type"]]
        return {"type": form.name} | ({"rate": form.rate} if form.name == "audio/pcm" else {})
    if name == "transcription":
        return {key: value[key] for key in _ECHOED if value.get(key) is not None}
    if name == "voice":
        return value["id"] if isinstance(value, dict) else value
    if name == "turn_detection":
        kind = _SERVER_VAD if value["type"] == "server_vad" else _SEMANTIC_VAD
        base = before if before and before["type"] == value["type"] else kind
        given = {key: each for key, each in value.items() if key in kind}
        return base | {key: kind[key] if each is None else each for key, each in given.items()}
    return value


def tools_of(tools: list[Settings] | list[ToolDefinition], choice: Any) -> tuple[Tool, ...]:
    """The functions that the model may call, as it was chosen. Raises `UsageError`."""
    if choice == "none":
        return ()
    only = choice.get("name") if isinstance(choice, dict) else None
    given = [
        msgspec.convert(each, ToolDefinition) if isinstance(each, dict) else each for each in tools
    ]
    return tuple(
        client_tool(each.name, each.description or "", each.parameters or {"type": "object"})
        for each in given
        if each.type == "function" and only in (None, each.name)
    )


def _language(tag: str | None) -> str:
    """The code of a language that is spoken; empty where it is none."""
    try:
        return codes_of(tag)[-1] if tag else ""
    except UnsupportedLanguage:
        return ""


def _taking(detection: Settings | None, gateway: Gateway) -> Taking | None:
    if detection is None:
        return None
    base: Endpointing = gateway.assistant.stages.listen.options
    if detection["type"] == "semantic_vad":
        taking = by_meaning(base, detection["eagerness"])
    else:
        taking = by_silence(
            base,
            detection["threshold"],
            detection["prefix_padding_ms"],
            detection["silence_duration_ms"],
        )
    return Taking(
        taking.endpointing,
        taking.judged,
        detection["create_response"],
        detection["interrupt_response"],
    )
