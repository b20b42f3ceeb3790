"""A text as audio for one request: whose voice says it, how long it may take, and in which format it
leaves."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from voxturn.runtime.audio.stream_encode import AudioFormat
from voxturn.runtime.families.base import Voice, styles_of
from voxturn.runtime.families.pipe import spoken
from voxturn.runtime.flow.handoff import Ahead
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.encoding import encoded
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.streaming import following, in_time
from voxturn.runtime.messages import PcmChunk
from voxturn.runtime.text.styles import NAME

_NAME = re.compile(NAME)
_CHARACTERS_OF_TOKEN, _TOKENS_PER_S = 4, 20
"""How usage is counted: four characters of text are a token, and 50 ms of audio, which are about
OpenAI's."""


@dataclass(frozen=True)
class Asked:
    """What is to be said, and how. `seed`: of a voice that samples. `param` is the text's name in
    the request."""

    text: str
    voice: str = ""
    language: str = ""
    instructions: str = ""
    speed: float = 1.0
    seed: int | None = None
    param: str = "input"


class SpokenText:
    """A text on its way into audio. `seconds` counts how long the audio is so far."""

    def __init__(self, gateway: Gateway, caller: Caller, asked: Asked) -> None:
        self._gateway = gateway
        self._caller = caller
        self.asked = asked
        self.seconds = 0.0
        self._spoke = False

    async def encoded(self, form: AudioFormat) -> AsyncGenerator[bytes, None]:
        """The audio in a format, from its first piece on.

        Raises before it gives any `ApiError`, or the errors of `Voices.chosen`; later those of
        engines and `DeadlineExceeded`. Closing this stops the voice.
        """
        self._check()
        async with aclosing(encoded(self._chunks(), form)) as pieces:
            async for data in pieces:
                yield data
        if not self._spoke:
            raise self._empty("nothing that can be spoken")

    def usage(self) -> dict[str, int]:
        """OpenAI's counts of what was read and said."""
        read = -(-len(self.asked.text) // _CHARACTERS_OF_TOKEN)
        said = round(self.seconds * _TOKENS_PER_S)
        return {"input_tokens": read, "output_tokens": said, "total_tokens": read + said}

    def _empty(self, what: str) -> ApiError:
        return ApiError(400, f"{self.asked.param} has {what}", "empty_text", self.asked.param)

    def _check(self) -> None:
        most, param = self._gateway.settings.longest_text, self.asked.param
        if not self.asked.text.strip():
            raise self._empty("no text")
        if len(self.asked.text) > most:
            what = f"{param} has {len(self.asked.text)} characters, more than {most}"
            raise ApiError(413, what, "text_too_long", param)

    async def _chunks(self) -> AsyncGenerator[PcmChunk, None]:
        gateway = self._gateway
        with gateway.speeches.place(self._caller):
            voice = await self._voice()
            sentences = gateway.voices.split(voice).whole(self.asked.text)
            speaking = spoken(voice, sentences)
            async with aclosing(_in_time(speaking, gateway)) as chunks:
                async for chunk in chunks:
                    self._spoke = True
                    self.seconds += chunk.samples.size / chunk.rate
                    yield chunk

    async def _voice(self) -> Voice:
        voice = await self._chosen()
        style = style_in(self.asked.instructions, styles_of(voice))
        return await self._chosen(style) if style else voice

    async def _chosen(self, style: str = "") -> Voice:
        asked, key = self.asked, self._caller.key
        return await self._gateway.voices.chosen(
            asked.voice, asked.language, style, asked.speed, asked.seed, key=key
        )


def style_in(instructions: str, styles: tuple[str, ...]) -> str:
    """The first of a voice's styles that instructions name; empty where they name none."""
    words = (word.strip("-_").lower() for word in _NAME.findall(instructions))
    return next((word for word in words if word in styles), "")


async def _in_time(speaking: Ahead[PcmChunk], gateway: Gateway) -> AsyncGenerator[PcmChunk, None]:
    """The chunks, as long as they are waited for no longer than `request_s` and what they last.

    Closes them. Raises `DeadlineExceeded`.
    """
    clock, left_s = gateway.clock, gateway.settings.request_s
    try:
        while True:
            began = clock.now()
            found = await in_time(following(speaking), clock, began + left_s)
            if found is None:
                return
            (chunk,) = found
            left_s += chunk.samples.size / chunk.rate - (clock.now() - began)
            yield chunk
    finally:
        await speaking.aclose()
