"""The addresses of Coqui's XTTS streaming server.

There, a client fetches a speaker's latents and sends them with every text. Here, a short token
stands for them: the speaker's name, or the id of a voice that this key added.
Source: coqui-ai/xtts-streaming-server, `server/main.py`; pipecat 1.14, `services/xtts/tts.py`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import IO, Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.audio.stream_encode import FORMATS, WAV_24K
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.forms import file_of
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.operations import (
    Answer,
    Operation,
    form_body,
    json_answer,
    json_body,
)
from voxturn.runtime.gateway.speaking import Asked, SpokenText
from voxturn.runtime.gateway.speech import streamed
from voxturn.runtime.gateway.voices import DEFAULT
from voxturn.runtime.gateway.whole_wav import wav_of

Token = Annotated[str, msgspec.Meta(max_length=256)]


class StreamingInputs(msgspec.Struct, kw_only=True):
    """What is to be said. `stream_chunk_size` is not heeded: pieces have the size that suits the
    machine."""

    text: str
    language: Annotated[str, msgspec.Meta(max_length=35)] = ""
    speaker_embedding: Token | list[Any] = ""
    gpt_cond_latent: Token | list[Any] = ""
    add_wav_header: bool = True
    stream_chunk_size: int | str = 20

    def asked(self) -> Asked:
        """The same with the speaker's name. Raises `ApiError` for what is no token."""
        token, other = self.speaker_embedding, self.gpt_cond_latent
        if not isinstance(token, str) or not isinstance(other, str) or token != other:
            raise ApiError(
                400,
                "speaker_embedding and gpt_cond_latent: send the token that /studio_speakers or "
                "/clone_speaker gave as both; latents themselves are not taken",
                "invalid_value",
                "speaker_embedding",
            )
        return Asked(self.text, token, self.language, param="text")


class SpeakerToken(msgspec.Struct):
    """What stands for a speaker's latents."""

    speaker_embedding: str
    gpt_cond_latent: str


async def tts_stream(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """A text as 16-bit samples at 24 kHz, with or without a header, as they are made."""
    asked = await json_body(request, StreamingInputs)
    form = WAV_24K if asked.add_wav_header else FORMATS["pcm"]
    return await streamed(gateway, request, SpokenText(gateway, caller, asked.asked()), form)


async def tts(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """A text as a whole WAV file, in base64 as a JSON string."""
    asked = (await json_body(request, StreamingInputs)).asked()
    wav = await wav_of(gateway, request, caller, asked, WAV_24K)
    return json_answer(base64.b64encode(wav).decode("ascii"))


async def studio_speakers(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """Every speaker's token, by its name."""
    own = await asyncio.to_thread(gateway.voices.clients.of, caller.key)
    names = dict.fromkeys((DEFAULT, *gateway.voices.speakers, *(each.name for each in own)))
    return json_answer({name: SpeakerToken(name, name) for name in names})


async def clone_speaker(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """A token for the speaker of a recording, which is kept as a voice of this key."""
    clients = gateway.voices.clients
    await asyncio.to_thread(clients.library)
    form = await form_body(request, gateway.settings.longest_upload_mb)
    try:
        file = file_of(form, "wav_file").file
        with gateway.speeches.place(caller):
            digest = await asyncio.to_thread(_digest, file)
            voice = await clients.add(caller.key, f"clone {digest}", file, "clone_speaker")
    finally:
        await form.close()
    return json_answer(SpeakerToken(voice.id, voice.id))


async def languages(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The codes of the languages that the voice speaks."""
    return json_answer(list(gateway.assistant.stages.voice.languages))


def _digest(file: IO[bytes]) -> str:
    """The same recording is the same voice."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()[:12]


OPERATIONS = (
    Operation(
        "POST",
        "/tts_stream",
        tts_stream,
        "Say a text",
        Answer("samples as they are made", ("audio/wav", "audio/pcm")),
        body=StreamingInputs,
    ),
    Operation("POST", "/tts", tts, "Say a text", Answer("WAV in base64"), body=StreamingInputs),
    Operation(
        "GET",
        "/studio_speakers",
        studio_speakers,
        "List the speakers with their tokens",
        Answer("tokens by name", body=dict[str, SpeakerToken]),
    ),
    Operation(
        "POST",
        "/clone_speaker",
        clone_speaker,
        "Add a voice from a recording",
        Answer("its token", body=SpeakerToken),
        form=True,
        files=("wav_file",),
    ),
    Operation("GET", "/languages", languages, "List the languages", Answer("codes")),
)
