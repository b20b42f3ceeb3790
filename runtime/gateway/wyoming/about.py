"""What a client is told of the services: what is really loaded."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any

from voxturn.runtime.assistant import Assistant
from wyoming.info import (
    AsrModel,
    AsrProgram,
    Attribution,
    HandleModel,
    HandleProgram,
    Info,
    TtsProgram,
    TtsVoice,
)

PROGRAM = "voxturn"


def info_of(assistant: Assistant, speakers: Sequence[str]) -> Info:
    """The three services, with the profile's models and languages, and the speakers that everyone
    may name."""
    voice = assistant.stages.voice
    languages = list(assistant.profile.languages.tags)
    spoken = list(voice.languages)
    speaks = _described(assistant, "speak")
    # Home Assistant shows the description where there is one
    voices = [
        {"name": name, "description": f"{name} ({speaks['description']})"} for name in speakers
    ] or [{"name": voice_name(assistant)}]
    return Info(
        asr=[
            AsrProgram(
                **_program("what is said, written down while it is said"),
                # Home Assistant offers only what is listed
                models=[
                    AsrModel(**_described(assistant, "transcribe"), languages=languages or spoken)
                ],
                supports_transcript_streaming=True,
                requires_external_vad=True,
            )
        ],
        tts=[
            TtsProgram(
                **_program("text, said while it is written"),
                voices=[TtsVoice(**speaks | named, languages=spoken) for named in voices],
                supports_synthesize_streaming=True,
            )
        ],
        handle=[
            HandleProgram(
                **_program("answers by a language model"),
                models=[HandleModel(**_described(assistant, "reply"), languages=languages)],
                supports_handled_streaming=True,
                supports_home_control=False,
            )
        ],
    )


def voice_name(assistant: Assistant) -> str:
    """What a voice without named speakers is called: its model's name."""
    return assistant.setup.info["speak"].model


def _program(what: str) -> dict[str, Any]:
    return _artifact(PROGRAM, what)


def _described(assistant: Assistant, stage: str) -> dict[str, Any]:
    about = assistant.setup.info[stage]
    what = " ".join(filter(None, (about.model, about.precision)))
    return _artifact(about.model, f"{what}, synthetic weights" if about.synthetic else what)


def _artifact(name: str, what: str) -> dict[str, Any]:
    return {
        "name": name,
        "attribution": Attribution("voxturn", ""),
        "installed": True,
        "description": what,
        "version": metadata.version("voxturn"),
    }
