"""Speech to text: the words of one utterance, whose end the client knows, shown while it is
said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import numpy as np
import soxr
from voxturn.runtime.audio.limits import LEAST_RATE, MOST_RATE
from voxturn.runtime.errors import AudioTooLong, UnsupportedLanguage
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.messages import Samples, Speaking
from voxturn.runtime.turn.recognise import RATE, Partials
from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioFormat
from wyoming.event import Eventable

LONGEST_S = 300.0
_LONGEST_PARTIAL_S = 28.0
"""As much as a turn hears at once (`Endpointing.max_s`): of longer speech the words come at its
end."""
_WIDTH = 2
Send = Callable[..., Awaitable[None]]


class Utterance:
    """From `audio-start` to `audio-stop`. `language`: a tag; empty: the profile's.

    Raises `UnsupportedLanguage` for a language that the profile has not. Close it when done.
    """

    def __init__(self, gateway: Gateway, language: str = "") -> None:
        known = gateway.assistant.profile.languages
        if language and known.tags and not known.tag_of(language):
            raise UnsupportedLanguage(
                f"language {language!r}: must be one of {', '.join(known.tags)}"
            )
        stages = gateway.assistant.stages
        self._hearing = stages.recogniser.hear(language)
        self._partials = Partials(self._hearing, stages.partial_share, gateway.clock)
        self._language = language
        self._pieces: list[Samples] = []
        self._size = 0
        self._shown = ""
        self._started = False
        self._resampler: soxr.ResampleStream | None = None
        self._format = AudioFormat(RATE, _WIDTH, 1)
        self._carry = b""

    def begin(self, form: AudioFormat) -> None:
        """Its audio is of this form. Raises `ApiError` for one that is not read."""
        if not all(isinstance(each, int) for each in (form.rate, form.width, form.channels)):
            raise ApiError(400, "rate, width and channels are whole numbers", "invalid_event")
        if form.width != _WIDTH:
            raise ApiError(400, "audio must have 16 bits (width 2)", "invalid_audio", "width")
        if not 1 <= form.channels <= 8 or not LEAST_RATE <= form.rate <= MOST_RATE:
            raise ApiError(
                400, "audio of such a rate or so many channels is not read", "invalid_audio"
            )
        self._format = form
        if form.rate != RATE:
            self._resampler = soxr.ResampleStream(form.rate, RATE, 1, dtype="float32")

    async def push(self, payload: bytes, send: Send) -> None:
        """More of it; what has become certain of its words is sent. Raises `AudioTooLong`."""
        self._add(self._samples(payload))
        if self._size > LONGEST_S * RATE:
            raise AudioTooLong(f"more than {LONGEST_S:.0f} s at once; send audio-stop")
        if self._size > _LONGEST_PARTIAL_S * RATE:
            return
        partial = self._partials.offer(Speaking(tuple(self._pieces), RATE, 0))
        if partial is not None and partial.stable:
            await self._show(partial.stable, partial.language, send)

    async def finish(self, send: Send) -> None:
        """Send all its words: a transcript, within a streamed one where that was begun."""
        await self._partials.stop()
        if self._resampler is not None:
            self._add(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        text, language = "", self._language
        if self._size:
            heard = await self._hearing.final(np.concatenate(self._pieces))
            text, language = heard.text, heard.language or self._language
        await self._show(text, language, send)
        await send(Transcript(text, language=language or None))
        await send(TranscriptStop())

    async def aclose(self) -> None:
        """Stop what is under way."""
        await self._partials.aclose()

    async def _show(self, text: str, language: str, send: Send) -> None:
        """Send what is new in a text. What was shown stays: where the text begins otherwise by now,
        the transcript at the end has it."""
        events: list[Eventable] = []
        if not self._started:
            self._started = True
            events.append(TranscriptStart(language=language or None))
        if text.startswith(self._shown) and (new := text[len(self._shown) :]):
            self._shown = text
            events.append(TranscriptChunk(new))
        for event in events:
            await send(event)

    def _samples(self, payload: bytes) -> Samples:
        """A payload as 16 kHz; a sample that it ends within waits for the next one."""
        data = self._carry + payload
        frame = _WIDTH * self._format.channels
        whole = len(data) // frame * frame
        self._carry = data[whole:]
        channels = np.frombuffer(data[:whole], "<i2").reshape(-1, self._format.channels)
        samples: Samples = (channels.astype(np.float32).mean(axis=1) / 32768.0).astype(np.float32)
        if self._resampler is None:
            return samples
        resampled: Samples = self._resampler.resample_chunk(samples)
        return resampled

    def _add(self, samples: Samples) -> None:
        if samples.size:
            self._pieces.append(samples)
            self._size += samples.size
