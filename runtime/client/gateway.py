"""`VoiceClient` for a gateway: the same methods, over `/ws/voice` and HTTP."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import ssl
import uuid
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

import numpy as np
from voxturn.runtime.audio.encode import from_int16, to_int16
from voxturn.runtime.client.gateway_session import GatewaySession
from voxturn.runtime.client.gateway_wire import error_of
from voxturn.runtime.client.session import Opening
from voxturn.runtime.client.voice import ClientTurn, VoiceClient
from voxturn.runtime.errors import ServerDied, ServerUnavailable, UsageError
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.messages import (
    AudioFrame,
    Event,
    Message,
    Partial,
    PcmChunk,
    ReplyToken,
    Samples,
    Sentence,
    ToolCall,
    ToolSpec,
    Transcript,
    TurnDone,
)
from voxturn.runtime.profile import Profile
from voxturn.runtime.turn.interrupt.never import Never
from voxturn.runtime.turn.session import SessionOptions
from voxturn.runtime.turn.voice_session import VoiceSession

_RATE, _SPOKEN_RATE = 16_000, 24_000
_BLOCK = 8192


class GatewayClient(VoiceClient):
    """A dialogue with a gateway: what `VoiceClient("ws://host:port")` makes.

    `key` is shown to it. Its sessions outlive their connections, and are connected again.
    `conversation` names a dialogue that the gateway keeps; `deadline_s` is of each request by HTTP,
    0: none.
    """

    def __init__(
        self,
        address: str,
        conversation: str = "",
        profile: str | Profile = "",
        deadline_s: float = 0.0,
        name: str = "",
        key: str = "",
    ) -> None:
        """Raise `UsageError` for an address or options that are none of a gateway's."""
        if profile:
            raise UsageError("profile: a gateway drives the turns by its own; leave it out")
        parts = urlsplit(address)
        if parts.scheme not in ("ws", "wss") or not parts.hostname or "," in address:
            raise UsageError(f"{address}: a gateway has one address, as ws://localhost:8080")
        self.conversation = conversation or uuid.uuid4().hex
        self._address = address.rstrip("/")
        self._parts = parts
        self._key = key
        self._deadline_s = deadline_s or None
        self._turn: ClientTurn | None = None
        self._sessions: WeakSet[VoiceSession] = WeakSet()

    def turn(self, source: Samples | AsyncIterator[AudioFrame]) -> ClientTurn:
        """One turn on an utterance, 16 kHz float32 `[n]`, or on frames as they come from a
        microphone. The gateway's voice detector finds the end of speech."""
        before, self._turn = self._turn, None
        self._turn = ClientTurn(_after(before, self._driven(source)))
        return self._turn

    def session(self, options: SessionOptions | None = None) -> Opening:
        """A dialogue that listens while it speaks: `async with client.session() as session: …`.

        It goes on with this client's `conversation`. Opening it may raise `ServerUnavailable` or
        `TooManyStreams`; `UsageError` for options that a gateway cannot be told.
        """
        return Opening(self._opened_session(options or SessionOptions(), {}))

    async def transcribe(self, samples: Samples, language: str = "") -> Transcript:
        """The words in 16 kHz samples."""
        body = io.BytesIO()
        with wave.open(body, "wb") as file:
            file.setparams((1, 2, _RATE, 0, "NONE", "not compressed"))
            file.writeframes(to_int16(samples))
        fields = {"response_format": "verbose_json"} | ({"language": language} if language else {})
        data, kind = _form(fields, body.getvalue())
        async with self._answer("/v1/audio/transcriptions", data, kind) as answer:
            told = json.loads(await _whole(answer))
        return Transcript(told["text"], told.get("language") or language)

    async def hear(
        self, pieces: AsyncIterator[Samples]
    ) -> AsyncGenerator[Partial | Transcript, None]:
        """What is said so far while an utterance comes in 16 kHz pieces, then its final transcript.

        It ends with a pause, if the voice detector finds one, or with the pieces.
        """
        options = SessionOptions(interrupt=Never())
        start = {"conversation": None, "audio": {"overflow": "wait"}}
        session = await self._opened_session(options, start)
        async with session, aclosing(_events(session, _frames(pieces), _Ends())) as events:
            async for event in events:
                if isinstance(event, Partial | Transcript):
                    yield event
                if isinstance(event, Transcript):
                    return

    async def reply(
        self, *messages: tuple[str, str] | Message, tools: Sequence[ToolSpec] = ()
    ) -> AsyncGenerator[ReplyToken | ToolCall, None]:
        """The answer to (role, text) pairs or messages, by `/v1/chat/completions`, which keeps none.

        Raises `UsageError` for tools: sessions have them.
        """
        if tools:
            raise UsageError("tools: a gateway's sessions have them; open one")
        dialogue = [each if isinstance(each, Message) else Message(*each) for each in messages]
        body = {
            "messages": [{"role": each.role, "content": each.text} for each in dialogue],
            "stream": True,
        }
        data = json.dumps(body).encode()
        async with self._answer("/v1/chat/completions", data) as answer:
            while line := await asyncio.to_thread(answer.readline):
                told = line.decode().strip().removeprefix("data:").strip()
                if told == "[DONE]":
                    return
                if told and (text := _delta(json.loads(told))):
                    yield ReplyToken(text)
        raise ServerDied("the gateway stopped in the middle of an answer")

    async def say(
        self,
        text: str,
        model: str = "",
        language: str = "",
        voice: str = "",
        reference: Samples | None = None,
        reference_rate: int = 16000,
        speed: float = 1.0,
        seed: int | None = None,
        style: str = "",
    ) -> AsyncGenerator[PcmChunk, None]:
        """A text as audio at 24 kHz, chunk by chunk, in a voice by name.

        Raises `UsageError` for a recording or a seed, which `/v1/audio/speech` does not take.
        """
        if reference is not None or seed is not None:
            raise UsageError("reference, seed: a gateway speaks in voices that it has")
        body: dict[str, Any] = {"input": text, "response_format": "pcm"}
        body |= {"model": model} if model else {}
        body |= {"voice": voice} if voice else {}
        body |= {"language": language} if language else {}
        body |= {"instructions": style} if style else {}
        body |= {"speed": speed} if speed != 1.0 else {}
        start, carry, sentence = 0, b"", Sentence(text, 0)
        async with self._answer("/v1/audio/speech", json.dumps(body).encode()) as answer:
            while block := await asyncio.to_thread(answer.read1, _BLOCK):
                block = carry + block
                whole = len(block) // 2 * 2
                carry = block[whole:]
                samples = from_int16(block[:whole])
                yield PcmChunk(samples, _SPOKEN_RATE, start, sentence)
                start += samples.size

    async def aclose(self) -> None:
        """Stop what is under way and close the connections."""
        await self.interrupt()
        for session in list(self._sessions):
            await session.aclose()

    async def _opened_session(
        self, options: SessionOptions, start: dict[str, Any]
    ) -> GatewaySession:
        asked = {"conversation": self.conversation} | start
        session = GatewaySession(self._address, self._key, options, asked)
        self._sessions.add(session)
        try:
            await session.opened()
        except BaseException:
            await session.aclose()
            raise
        return session

    async def _driven(
        self, source: Samples | AsyncIterator[AudioFrame]
    ) -> AsyncGenerator[Event, None]:
        """A turn in a session of its own, with this client's conversation."""
        options = SessionOptions(interrupt=Never())
        session = await self._opened_session(options, {"audio": {"overflow": "wait"}})
        frames = _frames_of(source) if isinstance(source, np.ndarray) else source
        whole, spoken_s = _Ends(isinstance(source, np.ndarray)), 0.0
        async with session, aclosing(_events(session, frames, whole)) as events:
            async for event in events:
                if isinstance(event, PcmChunk):
                    spoken_s += event.samples.size / event.rate
                if isinstance(event, TurnDone):
                    session.played(1000 * spoken_s + 1000)  # the dialogue keeps all of it
                yield event
                if isinstance(event, TurnDone):
                    return

    @asynccontextmanager
    async def _answer(
        self, path: str, data: bytes, kind: str = "application/json"
    ) -> AsyncGenerator[http.client.HTTPResponse, None]:
        """The answer to a request. Raises what the gateway tells, `ServerUnavailable`,
        `ServerDied`."""
        headers = {"content-type": kind}
        headers |= {"authorization": f"Bearer {self._key}"} if self._key else {}
        connection = self._http()
        try:
            try:
                await asyncio.to_thread(connection.request, "POST", path, data, headers)
                answer = await asyncio.to_thread(connection.getresponse)
            except OSError as exc:
                raise ServerUnavailable(f"{self._address}: no gateway answers there") from exc
            if answer.status >= 400:
                raise _told(await _whole(answer), answer.status)
            yield answer
        except http.client.HTTPException as exc:
            raise ServerDied("the gateway stopped in the middle of an answer") from exc
        finally:
            connection.close()

    def _http(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "wss":
            return http.client.HTTPSConnection(
                host, port, timeout=self._deadline_s, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(host, port, timeout=self._deadline_s)


class _Ends:
    """Whether the end of what is heard is the end of the question."""

    def __init__(self, whole: bool = True) -> None:
        self.whole = whole


async def _events(
    session: GatewaySession, frames: AsyncIterator[AudioFrame], ends: _Ends
) -> AsyncGenerator[Any, None]:
    """A session's events while it hears frames; an error ends it."""
    from voxturn.runtime.messages import SessionError

    async def hear() -> None:
        await session.feed(frames)
        if ends.whole:
            session.answer()

    hearing = asyncio.create_task(hear())
    try:
        async for event in session:
            if isinstance(event, SessionError):
                raise event.error
            yield event
    finally:
        await cancel_and_wait(hearing)


async def _frames(pieces: AsyncIterator[Samples]) -> AsyncGenerator[AudioFrame, None]:
    start = 0
    async for samples in pieces:
        yield AudioFrame(samples, _RATE, start, 0.0)
        start += samples.size


async def _frames_of(samples: Samples) -> AsyncGenerator[AudioFrame, None]:
    yield AudioFrame(samples, _RATE, 0, 0.0)


async def _after(
    previous: ClientTurn | None, events: AsyncGenerator[Event, None]
) -> AsyncGenerator[Event, None]:
    """`events`, once the turn before is over."""
    if previous is not None:
        await previous.interrupt()
    async with aclosing(events):
        async for event in events:
            yield event


async def _whole(answer: http.client.HTTPResponse) -> bytes:
    return await asyncio.to_thread(answer.read)


def _told(body: bytes, status: int) -> Exception:
    """The error in an answer of HTTP."""
    try:
        return error_of(json.loads(body)["error"], status)
    except (ValueError, KeyError, TypeError):
        return error_of({"message": f"the gateway answered with status {status}"}, status)


def _delta(told: dict[str, Any]) -> str:
    """The text of a `chat.completion.chunk`. Raises the error that takes its place."""
    if "error" in told:
        raise error_of(told["error"], 500)
    choices = told.get("choices") or [{}]
    return str(choices[0].get("delta", {}).get("content") or "")


def _form(fields: dict[str, str], wav: bytes) -> tuple[bytes, str]:
    """Fields and a WAV as multipart/form-data, and its content type (RFC 7578)."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = (
        f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="audio.wav"\r\n'
        "content-type: audio/wav\r\n\r\n"
    )
    data = b"".join([*parts, head.encode(), wav, f"\r\n--{boundary}--\r\n".encode()])
    return data, f"multipart/form-data; boundary={boundary}"
