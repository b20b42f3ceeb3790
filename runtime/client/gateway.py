"""`VoiceClient` for a gateway: the same methods, over `/ws/voice` and HTTP."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

import numpy as np
from voxturn.runtime.audio.encode import from_int16, to_int16
from voxturn.runtime.client.gateway_chat import chat_items, chat_request
from voxturn.runtime.client.gateway_http import Requests
from voxturn.runtime.client.gateway_session import GatewaySession
from voxturn.runtime.client.session import Opening
from voxturn.runtime.client.voice import ClientTurn, VoiceClient
from voxturn.runtime.errors import ServerDied, UsageError
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
    SessionError,
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
    `conversation` names a dialogue that the gateway keeps; `deadline_s`: how long the gateway may
    say nothing while it answers by HTTP, 0: for ever.

    What a client of Triton does and this one refuses with `UsageError`: a `profile` (the gateway
    has its own), `reference` of `say` (add the voice at `/v1/audio/voices`, with its speaker's
    consent, and name it), `on_trace`, the `call` of a tool and the setting of `messages` in a
    session: its turns are driven there.
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
        self._key = key
        self._requests = Requests(parts, key, deadline_s)
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
        async with self._requests.answer("/v1/audio/transcriptions", data, kind) as answer:
            told = json.loads(await answer.whole())
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
        async with session, aclosing(_events(session, _frames(pieces))) as events:
            async for event in events:
                if isinstance(event, Partial | Transcript):
                    yield event
                if isinstance(event, Transcript):
                    return

    async def reply(
        self, *messages: tuple[str, str] | Message, tools: Sequence[ToolSpec] = ()
    ) -> AsyncGenerator[ReplyToken | ToolCall, None]:
        """The answer to (role, text) pairs or messages, by `/v1/chat/completions`, which keeps none.

        With `tools` it may have calls. The gateway makes none: ask again with a message of the role
        tool for each.
        """
        dialogue = [each if isinstance(each, Message) else Message(*each) for each in messages]
        data = json.dumps(chat_request(dialogue, tools)).encode()
        async with self._requests.answer("/v1/chat/completions", data) as answer:
            while line := await answer.line():
                told = line.decode().strip().removeprefix("data:").strip()
                if told == "[DONE]":
                    return
                for item in chat_items(json.loads(told)) if told else ():
                    yield item
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

        Raises `UsageError` for a recording, which `/v1/audio/speech` does not take.
        """
        if reference is not None:
            raise UsageError(
                "reference: a gateway speaks in voices that it has; add one by /v1/audio/voices, "
                "with its speaker's consent, and give its name as `voice`"
            )
        body: dict[str, Any] = {"input": text, "response_format": "pcm"}
        body |= {"model": model} if model else {}
        body |= {"voice": voice} if voice else {}
        body |= {"language": language} if language else {}
        body |= {"instructions": style} if style else {}
        body |= {"speed": speed} if speed != 1.0 else {}
        body |= {"seed": seed} if seed is not None else {}
        start, carry, sentence = 0, b"", Sentence(text, 0)
        data = json.dumps(body).encode()
        async with self._requests.answer("/v1/audio/speech", data) as answer:
            while block := await answer.some(_BLOCK):
                block = carry + block
                whole = len(block) // 2 * 2
                carry = block[whole:]
                samples = from_int16(block[:whole])
                yield PcmChunk(samples, _SPOKEN_RATE, start, sentence)
                start += samples.size

    async def aclose(self) -> None:
        """Stop what is under way, in the gateway, too, and close the connections."""
        self._requests.stop()
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
        whole, spoken_s = isinstance(source, np.ndarray), 0.0
        async with session, aclosing(_events(session, frames, whole)) as events:
            async for event in events:
                if isinstance(event, PcmChunk):
                    spoken_s += event.samples.size / event.rate
                if isinstance(event, TurnDone):
                    session.played(1000 * spoken_s + 1000)  # the dialogue keeps all of it
                yield event
                if isinstance(event, TurnDone):
                    return


async def _events(
    session: GatewaySession, frames: AsyncIterator[AudioFrame], whole: bool = True
) -> AsyncGenerator[Any, None]:
    """A session's events while it hears frames; an error ends it. `whole`: the end of the frames is
    that of the question."""

    async def hear() -> None:
        await session.feed(frames)
        if whole:
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
