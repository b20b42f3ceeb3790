"""`POST /v1/audio/speech`: a text as audio, streamed from its first piece.

Source: openai-python 3.57, `types/audio/speech_create_params.py`. Extensions: `language`, `seed`.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.audio.stream_encode import FORMATS, AudioFormat
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.operations import Answer, Operation, json_body
from voxturn.runtime.gateway.speaking import Asked, SpokenText
from voxturn.runtime.gateway.streaming import (
    DONE,
    EVENTS,
    StreamedResponse,
    begun_for,
    ended_early,
    event,
)

Short = Annotated[str, msgspec.Meta(max_length=256)]


class VoiceId(msgspec.Struct):
    """A voice by its id."""

    id: Short


class SpeechRequest(msgspec.Struct, kw_only=True):
    """What is to be said. `voice` is one of `GET /v1/audio/voices`, by its name or its id.

    `instructions` choose the first of the voice's styles that they name. `model` is not looked at:
    there is one.
    """

    input: str
    model: Short | None = None
    voice: Short | VoiceId | None = None
    instructions: Annotated[str, msgspec.Meta(max_length=4096)] | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = None
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=4.0)] | None = None
    stream_format: Literal["audio", "sse"] | None = None
    language: Annotated[str, msgspec.Meta(max_length=35)] | None = None
    seed: int | None = None

    def asked(self) -> Asked:
        """The same without what was left out."""
        voice = self.voice.id if isinstance(self.voice, VoiceId) else self.voice
        return Asked(
            self.input,
            voice or "",
            self.language or "",
            self.instructions or "",
            1.0 if self.speed is None else self.speed,
            self.seed,
        )


class SpeechDelta(msgspec.Struct, tag_field="type", tag="speech.audio.delta"):
    """A piece of the audio, in base64."""

    audio: str


class SpeechUsage(msgspec.Struct):
    """What was read and said: four characters are a token, and 50 ms of audio."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class SpeechDone(msgspec.Struct, tag_field="type", tag="speech.audio.done"):
    """That was all of it."""

    usage: SpeechUsage


class SpeechError(msgspec.Struct, tag_field="type", tag="error"):
    """It ends here, before its time. `error` is as that of other answers."""

    error: dict[str, Any]


async def speech(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """A text as audio, or as events that carry it."""
    asked = await json_body(request, SpeechRequest)
    spoken = SpokenText(gateway, caller, asked.asked())
    as_events = asked.stream_format == "sse"
    form = FORMATS[asked.response_format or "mp3"]
    return await streamed(gateway, request, spoken, form, as_events)


async def streamed(
    gateway: Gateway,
    request: Request,
    spoken: SpokenText,
    form: AudioFormat,
    as_events: bool = False,
) -> Response:
    """The answer to a request, once its first audio is there."""
    began = gateway.clock.now()
    audio = await begun_for(request, spoken.encoded(form))
    first_s = gateway.clock.now() - began
    gateway.metrics.first_audio.labels("speech").observe(first_s)
    return StreamedResponse(
        events(audio, spoken) if as_events else audio,
        EVENTS if as_events else form.media_type,
        gateway.clock,
        gateway.settings.request_s,
        {"server-timing": f'audio;desc="first audio";dur={1000 * first_s:.1f}'},
        audio,
    )


async def events(audio: AsyncIterator[bytes], spoken: SpokenText) -> AsyncGenerator[bytes, None]:
    """Audio as server-sent events; an error is the last of them."""
    try:
        async for data in audio:
            yield _event(SpeechDelta(base64.b64encode(data).decode("ascii")))
        yield _event(SpeechDone(SpeechUsage(**spoken.usage())))
        yield DONE
    except Exception as exc:  # noqa: BLE001  every error is told
        yield event(msgspec.json.encode(SpeechError(ended_early(exc).to_dict())), "error")
    finally:
        await close_iterator(audio)


def _event(value: msgspec.Struct) -> bytes:
    return event(msgspec.json.encode(value))


_MEDIA = tuple(sorted({each.media_type for each in FORMATS.values()}))
OPERATIONS = (
    Operation(
        "POST",
        "/v1/audio/speech",
        speech,
        "Say a text",
        Answer(
            "audio, or events that carry it",
            (*_MEDIA, EVENTS),
            events=SpeechDelta | SpeechDone | SpeechError,
        ),
        body=SpeechRequest,
    ),
)
