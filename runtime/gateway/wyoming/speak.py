"""Text to speech: a whole text, or one that is still being written."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from voxturn.runtime.audio.encode import to_int16
from voxturn.runtime.errors import TextTooLong
from voxturn.runtime.families.base import Voice
from voxturn.runtime.families.pipe import spoken
from voxturn.runtime.flow.handoff import Handoff
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.wyoming.about import voice_name
from voxturn.runtime.messages import ReplyToken, Sentence
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.tts import SynthesizeVoice

_WIDTH = 2
_PIECE_S = 0.5
_PIECES_AHEAD = 64
Send = Callable[..., Awaitable[None]]


async def chosen(gateway: Gateway, asked: SynthesizeVoice | None) -> Voice:
    """The voice that a client names. Raises as `Voices.chosen`."""
    if asked is None:
        return await gateway.voices.chosen()
    words = (asked.speaker, asked.name, asked.language)
    if not all(isinstance(word, str | None) for word in words):
        raise ApiError(400, "a voice is named by texts", "invalid_event", "voice")
    name = asked.speaker or asked.name or ""
    if name == voice_name(gateway.assistant):
        name = ""
    return await gateway.voices.chosen(name, asked.language or "")


async def say(
    gateway: Gateway, voice: Voice, sentences: AsyncIterator[Sentence], send: Send
) -> None:
    """Sentences as `audio-start`, chunks and `audio-stop`, as they are made."""
    began_s, samples = gateway.clock.now(), 0
    await send(AudioStart(voice.rate, _WIDTH, 1, timestamp=0))
    piece = max(1, round(_PIECE_S * voice.rate))
    async with aclosing(spoken(voice, sentences)) as chunks:
        async for chunk in chunks:
            if not samples:
                first_s = gateway.clock.now() - began_s
                gateway.metrics.first_audio.labels("wyoming").observe(first_s)
            for begin in range(0, chunk.samples.size, piece):
                part = chunk.samples[begin : begin + piece]
                at_ms = 1000 * samples // chunk.rate
                await send(AudioChunk(chunk.rate, _WIDTH, 1, to_int16(part), timestamp=at_ms))
                samples += part.size
    await send(AudioStop(timestamp=1000 * samples // voice.rate))


class WrittenText:
    """A text that comes in pieces, wherever they are cut. `most` characters in all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pieces: Handoff[str] = Handoff(_PIECES_AHEAD)
        self.size = 0

    async def add(self, piece: str) -> None:
        """More of it; waits while too much of it is unread. Raises `TextTooLong`,
        `StreamClosed`."""
        self.size += len(piece)
        check_length(self.size, self._most)
        await self._pieces.put(piece)

    def end(self) -> None:
        """That was all."""
        self._pieces.close()

    def drop(self) -> None:
        """Nobody reads it any more."""
        self._pieces.abandon()

    async def tokens(self) -> AsyncGenerator[ReplyToken, None]:
        """The pieces, as what cuts texts into sentences wants them."""
        async for piece in self._pieces:
            yield ReplyToken(piece)


def check_length(characters: int, most: int) -> None:
    """Raise `TextTooLong` for more characters than there may be."""
    if characters > most:
        raise TextTooLong(f"the text has more than {most} characters")
