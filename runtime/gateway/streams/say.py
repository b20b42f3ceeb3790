"""`/ws/say`: one text after the other as audio, with the times of its words, over one connection.

A text that is stopped leaves the connection open for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.websockets import WebSocket
from voxturn.runtime.audio.encode import to_int16
from voxturn.runtime.audio.stream_encode import pieces_of as pieces_of_sound
from voxturn.runtime.errors import EmptyText, TextTooLong, VoxturnError
from voxturn.runtime.families.base import Voice, styles_of
from voxturn.runtime.families.pipe import spoken
from voxturn.runtime.flow.event import Event
from voxturn.runtime.flow.handoff import Ahead, Handoff, Overflow, cancel_and_wait
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.decoding import message
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.keys import Caller, subprotocol_of
from voxturn.runtime.gateway.speeches import PlaceOfText
from voxturn.runtime.gateway.streaming import following, in_time
from voxturn.runtime.gateway.streams import messages as wire
from voxturn.runtime.gateway.streams.line import Line, held
from voxturn.runtime.gateway.streams.words import WordTimes
from voxturn.runtime.gateway.voice.connection import MOST_TEXT
from voxturn.runtime.gateway.voice.events import sentence_of
from voxturn.runtime.gateway.voice.messages import AudioHeader
from voxturn.runtime.messages import PcmChunk, ReplyToken, Sentence
from voxturn.runtime.text.spoken import pieces_of, spoken_text

PROTOCOL = "voxturn.say"
"""The subprotocol of browsers, which show their key beside it."""
_MOST_TEXTS = 16
"""Texts of one connection that are said or wait for it."""


async def serve(gateway: Gateway, socket: WebSocket, caller: Caller) -> None:
    """A connection from its handshake to its end; errors are told as events."""
    await socket.accept(subprotocol_of(socket, PROTOCOL))
    mouth = Mouth(gateway, Line(gateway, socket), caller)
    await held(gateway, socket, mouth.idle.wait, mouth.read(), mouth.speak())


class Mouth:
    """The texts of one connection. `idle`: none is said or waits."""

    def __init__(self, gateway: Gateway, line: Line, caller: Caller) -> None:
        self._gateway = gateway
        self._line = line
        self._caller = caller
        self._texts: dict[str, _Text] = {}
        self._waiting: Handoff[_Text] = Handoff(1, Overflow.GROW)
        self._count = 0
        self.idle = Event()
        self.idle.set()

    async def read(self) -> None:
        """Take what the client sends, until it leaves."""
        while (data := await self._line.next()) is not None:
            try:
                await self._take(data)
            except (ApiError, VoxturnError) as exc:
                await self._line.refuse(exc)

    async def speak(self) -> None:
        """Say one text after the other."""
        async for text in self._waiting:
            try:
                await self._say(text)
            finally:
                del self._texts[text.id]
                if not self._texts:
                    self.idle.set()

    async def _take(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            raise ApiError(400, "audio is not listened to here", "invalid_message")
        told = message(data, wire.say_messages, MOST_TEXT)
        text = self._texts.get(told.id)
        if isinstance(told, wire.CancelText):
            if text is not None:
                text.cancel()
            return
        if text is None:
            text = self._new_text(told)
        text.add(told)

    def _new_text(self, told: wire.Say) -> _Text:
        if self._gateway.stopping.is_set():
            raise ApiError(503, "the gateway is stopping", "stopping")
        if len(self._texts) >= _MOST_TEXTS:
            what = f"{_MOST_TEXTS} texts are said or wait already; wait for one"
            raise ApiError(429, what, "too_many_texts", "id")
        self._count += 1
        text = _Text(told, self._count, self._gateway.settings.longest_text)
        self._texts[told.id] = text
        self.idle.clear()
        self._waiting.put_now(text)
        return text

    async def _say(self, text: _Text) -> None:
        """Say a text to its end, or until it is cancelled; an error is told, and ends it alone."""
        saying = asyncio.create_task(self._spoken(text))
        stopped = asyncio.create_task(text.cancelled.wait())
        try:
            await asyncio.wait([saying, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(stopped)
            await cancel_and_wait(saying)
        if saying.cancelled():
            await self._line.send(wire.SayDone(id=text.id, samples=text.samples, cancelled=True))
        elif (error := saying.exception()) is None:
            await self._line.send(wire.SayDone(id=text.id, samples=text.samples))
        elif isinstance(error, ApiError | VoxturnError):
            told = api_error(error).to_dict()
            code, param = told["code"] or "invalid_request", told["param"] or ""
            failed = wire.SayFailed(id=text.id, code=code, message=told["message"], param=param)
            await self._line.send(failed)
        else:
            raise error

    async def _spoken(self, text: _Text) -> None:
        gateway, asked = self._gateway, text.asked
        voice = await gateway.voices.chosen(
            asked.voice, asked.language, asked.style, asked.speed, key=self._caller.key
        )
        started = wire.SayStarted(id=text.id, number=text.number, rate=voice.rate)
        await self._line.send(started)
        coming = _Coming(voice, PlaceOfText(gateway.speeches, self._caller, gateway.clock))
        sentences = coming.placed(gateway.voices.split(voice)(text.tokens()))
        times, sentence = WordTimes(), -1
        async with aclosing(self._in_time(text, coming, spoken(voice, sentences))) as chunks:
            async for chunk in chunks:
                if chunk.sentence.index != sentence:
                    sentence = chunk.sentence.index
                    await self._line.send(sentence_of(chunk.sentence, text.number))
                await self._send(text, chunk)
                if words := times.add(chunk):
                    await self._line.send(wire.Words(id=text.id, words=words))
                coming.said(chunk)
        if not text.samples:
            raise EmptyText("the text has nothing that can be spoken")

    async def _in_time(
        self, text: _Text, coming: _Coming, chunks: Ahead[PcmChunk]
    ) -> AsyncGenerator[PcmChunk, None]:
        """The chunks, each within `request_s` while there is something to be spoken. Closes them.

        Raises `DeadlineExceeded`.
        """
        clock, settings = self._gateway.clock, self._gateway.settings
        try:
            while True:
                busy = text.whole or coming.place.held
                most_s = settings.request_s if busy else settings.idle_s
                found = await in_time(following(chunks), clock, clock.now() + most_s)
                if found is None:
                    return
                yield found[0]
        finally:
            try:
                await chunks.aclose()
            finally:
                coming.place.leave()

    async def _send(self, text: _Text, chunk: PcmChunk) -> None:
        start = chunk.start
        for piece in pieces_of_sound(chunk.samples, chunk.rate):
            last = chunk.final and start + piece.size == chunk.start + chunk.samples.size
            index, first = chunk.sentence.index, start == 0
            header = AudioHeader(0, text.number, index, start, piece.size, first, last)
            await self._line.send_audio(header, to_int16(piece))
            start += piece.size
            text.samples = start


class _Coming:
    """The sentences of a text, for which it holds a place: not while it only waits for its
    client."""

    def __init__(self, voice: Voice, place: PlaceOfText) -> None:
        self._styles = styles_of(voice)
        self._last = -1
        self.place = place

    async def placed(
        self, sentences: AsyncGenerator[Sentence, None]
    ) -> AsyncGenerator[Sentence, None]:
        """The sentences, each once there is a place for it. Closes them; raises `ApiError` 429."""
        async with aclosing(sentences):
            async for sentence in sentences:
                if spoken_text(sentence.text, self._styles).strip():  # others are left out
                    await self.place.take()
                    self._last = sentence.index
                yield sentence

    def said(self, chunk: PcmChunk) -> None:
        """A piece of their audio was sent."""
        if chunk.final and chunk.sentence.index >= self._last:
            self.place.leave()


class _Text:
    """One text that comes in pieces. `most`: characters in all."""

    def __init__(self, asked: wire.Say, number: int, most: int) -> None:
        self.id = asked.id
        self.asked = asked
        self.number = number
        self.samples = 0
        self.whole = False
        self.cancelled = Event()
        self._most = most
        self._size = 0
        self._pieces: Handoff[str] = Handoff(1, Overflow.GROW)

    def add(self, told: wire.Say) -> None:
        """More of it. What is too long fails the text. Raises `ApiError` after its end."""
        if self.whole:
            raise ApiError(400, f"the text {self.id} was whole already", "text_ended", "id")
        self._size += len(told.text)
        if self._size > self._most:
            self.whole = True
            self._pieces.fail(TextTooLong(f"the text has more than {self._most} characters"))
            return
        self._pieces.put_now(told.text)
        if not told.more:
            self.whole = True
            self._pieces.close()

    def cancel(self) -> None:
        """Stop it, or do not begin."""
        self.whole = True
        self.cancelled.set()
        self._pieces.abandon()

    async def tokens(self) -> AsyncGenerator[ReplyToken, None]:
        """Its pieces, as what cuts texts into sentences wants them."""
        async for piece in self._pieces:
            for part in pieces_of(piece):
                yield ReplyToken(part)
