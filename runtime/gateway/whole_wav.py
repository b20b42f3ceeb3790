"""A text as one WAV file that says its own length, for clients that do not stream."""

from __future__ import annotations

from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.audio.encode import wav_header
from voxturn.runtime.audio.stream_encode import FORMATS, AudioFormat
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.speaking import Asked, SpokenText
from voxturn.runtime.gateway.streaming import unless_gone


async def whole_wav(gateway: Gateway, request: Request, caller: Caller, asked: Asked) -> Response:
    """The answer: a WAV file. Its length is bounded by that of the text."""
    wav = await wav_of(gateway, request, caller, asked, FORMATS["wav"])
    return Response(wav, media_type="audio/wav")


async def wav_of(
    gateway: Gateway, request: Request, caller: Caller, asked: Asked, form: AudioFormat
) -> bytes:
    """The file. Raises as `SpokenText.encoded`, and `ClientDisconnect`."""
    spoken = SpokenText(gateway, caller, asked)

    async def everything() -> bytes:
        async with aclosing(spoken.encoded(form)) as audio:
            return b"".join([data async for data in audio])

    return measured(await unless_gone(request, everything()))


def measured(wav: bytes) -> bytes:
    """A WAV file with the length that it has in its header."""
    rate = int.from_bytes(wav[24:28], "little")
    head = wav_header(rate)
    return wav_header(rate, len(wav) - len(head)) + wav[len(head) :]
