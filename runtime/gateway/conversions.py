"""`POST /v1/audio/conversions`: a recording in another voice, streamed from its first piece.

Only the bytes that were sent are opened, by `audio.decode`, which bounds what they may hold. Nothing
of them is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Literal

import msgspec
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.audio.decode import decode
from voxturn.runtime.audio.stream_encode import FORMATS
from voxturn.runtime.families.base import MOST_NOISE, ConversionOptions, Converter
from voxturn.runtime.frames import samples_from
from voxturn.runtime.gateway.audio_voices import REFUSED
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.encoding import encoded
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.forms import Upload, fields_of, upload_of
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.models import ModelName
from voxturn.runtime.gateway.operations import Answer, Operation, form_body
from voxturn.runtime.gateway.streaming import StreamedResponse, begun_for, each_within
from voxturn.runtime.messages import PcmChunk

_MOST_REFERENCES, _RATE = 8, 16_000
_MOST_SEED = (1 << 63) - 1


class ConversionForm(msgspec.Struct, kw_only=True):
    """What may be asked of a conversion, beside the recording `file` and recordings `reference` of the
    voice that it is to have; without any it has the profile's.

    `consent`: `true`, or the id of a recording in which the owner of that voice agrees. `noise`: how
    much the sound varies; 0 is not at all. `model` is not looked at: there is one.
    """

    model: ModelName = ""
    consent: Annotated[str, msgspec.Meta(max_length=256)] = ""
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    seed: Annotated[int, msgspec.Meta(ge=0, le=_MOST_SEED)] | None = None
    noise: Annotated[float, msgspec.Meta(ge=0, le=MOST_NOISE)] | None = None


class Reference(Upload):
    """A recording of the voice that is asked for."""

    name = "the reference"


async def conversions(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """A recording in another voice."""
    converter = gateway.assistant.converter
    if converter is None:  # an upload in vain is refused first
        what = "this profile has no converter of voices"
        raise ApiError(404, what, "model_not_found", "model")
    form = await form_body(request, gateway.settings.longest_upload_mb)
    try:
        asked = fields_of(form, ConversionForm)
        references = await _references(form)
        if references and asked.consent.strip().lower() in REFUSED:
            what = (
                "consent: speech may be given another's voice with his consent alone; send true if "
                "there is one, or the id of its recording"
            )
            raise ApiError(400, what, "consent_required", "consent")
        upload = await upload_of(form, "file")
    finally:
        await form.close()
    options = ConversionOptions(to=references or None, seed=asked.seed, noise=asked.noise)
    chunks = _converted(gateway, caller, converter, options, upload)
    audio_format, clock = FORMATS[asked.response_format], gateway.clock
    began = clock.now()
    audio = await begun_for(request, encoded(chunks, audio_format))
    first_s = clock.now() - began
    gateway.metrics.first_audio.labels("conversion").observe(first_s)
    return StreamedResponse(
        audio,
        audio_format.media_type,
        clock,
        gateway.settings.request_s,
        {"server-timing": f'audio;desc="first audio";dur={1000 * first_s:.1f}'},
        audio,
    )


async def _references(form: FormData) -> tuple[Reference, ...]:
    """The files `reference` of a form. Raises `ApiError` 400."""
    files = form.getlist("reference")
    if len(files) > _MOST_REFERENCES or not all(isinstance(each, UploadFile) for each in files):
        what = f"reference: must be files, {_MOST_REFERENCES} at most"
        raise ApiError(400, what, "invalid_value", "reference")
    return tuple([Reference(await each.read()) for each in files if isinstance(each, UploadFile)])


async def _converted(
    gateway: Gateway,
    caller: Caller,
    converter: Converter,
    options: ConversionOptions,
    upload: Upload,
) -> AsyncGenerator[PcmChunk, None]:
    """The upload in another voice, each chunk in time. Raises `ApiError` 429 where no place is free,
    and `AudioError`."""
    limit_s = gateway.settings.request_s
    with gateway.speeches.place(caller):
        await asyncio.to_thread(_check, upload, gateway.settings.longest_audio_s)
        converter = await asyncio.to_thread(converter.using, options)
        audio = samples_from(upload, converter.rate)
        timely = each_within(converter(audio, converter.rate), gateway.clock, limit_s)
        async with aclosing(timely) as chunks:
            async for chunk in chunks:
                yield chunk


def _check(upload: Upload, longest_s: float) -> None:
    """Raise `AudioError` for what is no audio or too long, while the answer still has a status."""
    for _ in decode(upload, _RATE, _RATE, longest_s=longest_s):
        pass
    upload.seek(0)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/audio/conversions",
        conversions,
        "Give a recording another voice",
        Answer("audio", tuple(sorted({each.media_type for each in FORMATS.values()}))),
        body=ConversionForm,
        form=True,
        files=("file",),
        file_lists=("reference",),
    ),
)
