"""`/ws/hear`: what is said, written down while it is said, and answered by nobody here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.websockets import WebSocket
from voxturn.runtime.errors import VoxturnError
from voxturn.runtime.families.options import HearingOptions
from voxturn.runtime.flow.event import Event
from voxturn.runtime.flow.handoff import Handoff, cancel_and_wait
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.decoding import message
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller, subprotocol_of
from voxturn.runtime.gateway.streams import messages as wire
from voxturn.runtime.gateway.streams.line import Line, held
from voxturn.runtime.gateway.voice.connection import MOST_TEXT
from voxturn.runtime.gateway.voice.incoming import RawPcm
from voxturn.runtime.gateway.voice.messages import Partial, SpeechStarted, Word
from voxturn.runtime.messages import (
    AudioFrame,
    Samples,
    Speaking,
    Transcript,
    Utterance,
)
from voxturn.runtime.messages import SpeechResumed as HeardResumed
from voxturn.runtime.messages import SpeechStarted as HeardStarted
from voxturn.runtime.turn.listen import RATE
from voxturn.runtime.turn.recognise import Partials
from voxturn.runtime.turn.suspicion import Suspicion

_PIECES_AHEAD = 500
PROTOCOL = "voxturn.hear"
"""The subprotocol of browsers, which show their key beside it."""


async def serve(gateway: Gateway, socket: WebSocket, caller: Caller) -> None:
    """A connection from its handshake to its end; errors are told as events."""
    await socket.accept(subprotocol_of(socket, PROTOCOL))
    line, quiet = Line(gateway, socket), Event()
    quiet.set()

    async def hear() -> None:
        with gateway.limits.session(caller):
            start = await _start(line)
            if start is not None:
                await Ear(gateway, line, start, quiet).run()

    await held(gateway, socket, quiet.wait, hear())


async def _start(line: Line) -> wire.HearStart | None:
    """The first message; None where the client is gone. Raises `ApiError`."""
    data = await line.next()
    if data is None:
        return None
    start = message(data, wire.hear_messages, MOST_TEXT) if isinstance(data, str) else None
    if not isinstance(start, wire.HearStart):
        raise ApiError(400, "the first message must be hear.start", "start_expected", "type")
    if start.version != wire.VERSION:
        known = f"version {start.version}: this server speaks version {wire.VERSION}"
        raise ApiError(400, known, "unsupported_version", "version")
    return start


class Ear:
    """What comes in over one connection, utterance by utterance. `quiet`: nobody speaks, or what
    was said is written down.

    Raises `UsageError` or `UnsupportedLanguage` for a language that the recogniser has not.
    """

    def __init__(self, gateway: Gateway, line: Line, start: wire.HearStart, quiet: Event) -> None:
        stages = gateway.assistant.stages
        self._stages = stages
        self._recogniser = stages.recogniser
        if start.language:
            self._recogniser = stages.recogniser.using(HearingOptions(start.language))
        self._clock = gateway.clock
        self._line = line
        self._quiet = quiet
        self._pcm = RawPcm(start.rate, start.encoding, self._put)
        self._pieces: Handoff[Samples | None] = Handoff(_PIECES_AHEAD)
        self._ended = False
        self._at = 0
        """Samples at 16 kHz that were listened to."""
        self._begin = 0
        """The sample at which the stretch began that is listened to."""
        self._language = ""
        self._suspected: _Suspected | None = None

    async def run(self) -> None:
        """Hear until the client leaves. Raises what hearing raises."""
        await self._line.send(wire.HearStarted())
        reading = asyncio.create_task(self._read())
        try:
            while not self._ended:
                await self._stretch()
                if not self._ended:
                    await self._line.send(wire.Flushed())
            await reading
        finally:
            self._pieces.abandon()
            await cancel_and_wait(reading)

    async def _read(self) -> None:
        """Take what the client sends."""
        try:
            while (data := await self._line.next()) is not None:
                try:
                    await self._take(data)
                except (ApiError, VoxturnError) as exc:
                    await self._line.refuse(exc)
        except Exception as exc:
            self._pieces.fail(exc)
            raise
        self._pieces.close()

    async def _take(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            await self._pcm.write(data)
        elif isinstance(message(data, wire.hear_messages, MOST_TEXT), wire.Flush):
            await self._pieces.put(None)
        else:
            raise ApiError(400, "it was started already", "session_started")

    async def _put(self, samples: Samples) -> None:
        await self._pieces.put(samples)

    async def _frames(self) -> AsyncGenerator[AudioFrame, None]:
        """What comes, to the next flush."""
        async for samples in self._pieces:
            if samples is None:
                return
            yield AudioFrame(samples, RATE, self._at, self._clock.now())
            self._at += samples.size
        self._ended = True

    async def _stretch(self) -> None:
        """Listen to the next flush, or to the end."""
        self._begin = self._at
        partials = self._hear()
        listened = self._stages.listen(self._frames(), self._finished)
        try:
            async with aclosing(listened):
                async for heard in listened:
                    match heard:
                        case HeardStarted(at):
                            self._quiet.clear()
                            sample = self._begin + at
                            at_ms = round(1000 * sample / RATE, 1)
                            await self._line.send(SpeechStarted(at_ms=at_ms, at=sample))
                        case Speaking():
                            await self._show(partials, heard)
                        case HeardResumed(at):
                            await self._drop()
                            await self._line.send(wire.SpeechResumed(at_s=self._seconds(at)))
                        case Utterance(final=False):
                            await partials.stop()
                            await self._drop()
                            self._suspected = _Suspected(self, partials, heard)
                        case Utterance():
                            await partials.aclose()
                            await self._finish(partials, heard)
                            if not heard.more:
                                self._quiet.set()
                            partials = self._hear()
        finally:
            try:
                await partials.aclose()
            finally:
                await self._drop()

    def _hear(self) -> Partials:
        hearing = self._recogniser.hear(self._language)
        return Partials(hearing, self._stages.partial_share, self._clock)

    async def _show(self, partials: Partials, speaking: Speaking) -> None:
        partial = partials.offer(speaking)
        if partial is None:
            return
        event = Partial(
            stable=partial.stable,
            unstable=partial.unstable,
            language=partial.language,
            start=self._begin + partial.start,
        )
        await self._line.send(event)

    async def _finish(self, partials: Partials, utterance: Utterance) -> None:
        """An utterance has ended: tell its words."""
        if not utterance.more:
            end = utterance.start + utterance.samples.size
            await self._line.send(wire.SpeechEnded(at_s=self._seconds(end)))
        if self._suspected is not None:
            self._suspected.certain = True
            transcript = await self._suspected.transcript()
        else:
            transcript = await partials.hearing.final(utterance.samples, words=True)
        await self._drop()
        if transcript.text:
            self._language = transcript.language
        event = wire.HeardTranscript(
            **self._said(transcript, utterance),
            filtered=list(transcript.filtered),
            more=utterance.more,
        )
        await self._line.send(event)

    async def suspect(self, transcript: Transcript, utterance: Utterance) -> None:
        """Tell what was said, if this is its end."""
        await self._line.send(wire.Suspected(**self._said(transcript, utterance)))

    def _said(self, transcript: Transcript, utterance: Utterance) -> dict[str, Any]:
        """What both events of an utterance tell."""
        begin_s = self._seconds(utterance.start)
        return {
            "text": transcript.text,
            "language": transcript.language,
            "begin_s": begin_s,
            "end_s": self._seconds(utterance.start + utterance.samples.size),
            "confidence": transcript.confidence,
            "words": words_of(transcript, begin_s),
        }

    def judge(self, samples: Samples) -> Suspicion:
        """What says whether a speaker is done."""
        return Suspicion(self._stages.end_of_turn, self._stages.sound_of_end, samples)

    def _finished(self) -> float | None:
        return self._suspected.chance() if self._suspected is not None else None

    async def _drop(self) -> None:
        suspected, self._suspected = self._suspected, None
        if suspected is not None:
            await suspected.aclose()

    def _seconds(self, sample: int) -> float:
        return round((self._begin + sample) / RATE, 3)


class _Suspected:
    """A suspected end of speech: its words, told as soon as they are known. Close it when done."""

    def __init__(self, ear: Ear, partials: Partials, utterance: Utterance) -> None:
        self._ear = ear
        self._partials = partials
        self._utterance = utterance
        self.certain = False
        self._judge = ear.judge(utterance.samples)
        self._task = asyncio.create_task(self._write_down())

    async def transcript(self) -> Transcript:
        """What was said. Raises what hearing it raised."""
        return await self._task

    def chance(self) -> float | None:
        """How likely the speaker is done; None where nothing judges that."""
        known = self._task.done() and not self._task.cancelled()
        return self._judge.chance(self._task.result() if known else None)

    async def aclose(self) -> None:
        """The suspicion is over."""
        try:
            await cancel_and_wait(self._task)
        finally:
            await self._judge.aclose()

    async def _write_down(self) -> Transcript:
        transcript = await self._partials.hearing.final(self._utterance.samples, words=True)
        if transcript.text and not self.certain:
            await self._ear.suspect(transcript, self._utterance)
        return transcript


def words_of(transcript: Transcript, begin_s: float) -> list[Word]:
    """The words of an utterance that began at `begin_s`, in seconds of the whole input."""
    return [
        Word(each.text, round(begin_s + each.begin_s, 3), round(begin_s + each.end_s, 3))
        for each in transcript.words
    ]
