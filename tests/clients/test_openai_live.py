"""OpenAI's own client of its Live API against the gateway."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from clients.conftest import ASKED, Pcm, wav_of, words
from clients.test_openai_realtime import alike
from openai import AsyncOpenAI

_FRAME = 480
_FRAME_S = 0.02
_MOST_S = 60.0
_QUIET_S = 1.0


class Call:
    """A Live session to which audio is sent as a microphone does, all the time."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []
        self.sound = np.zeros(0, np.int16)

    async def until(self, kind: str) -> Any:
        """The next event of a type."""
        async with asyncio.timeout(_MOST_S):
            while True:
                event = await self.connection.recv()
                self.events.append(event)
                assert event.type != "error" or kind == "error", event
                if event.type == kind:
                    return event

    async def quiet(self) -> None:
        """Until nothing has come for a second."""
        while True:
            try:
                async with asyncio.timeout(_QUIET_S):
                    self.events.append(await self.connection.recv())
            except TimeoutError:
                return

    async def speak(self) -> None:
        """Send `sound`, and silence after it."""
        while True:
            frame, self.sound = self.sound[:_FRAME], self.sound[_FRAME:]
            raw = np.pad(frame, (0, _FRAME - frame.size)).tobytes()
            audio = base64.b64encode(raw).decode()
            await self.connection.session.input_audio.append(audio=audio)
            await asyncio.sleep(_FRAME_S)

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]

    def text(self, way: str) -> str:
        return "".join(event.delta for event in self.of(f"session.{way}_transcript.delta"))

    @property
    def audio(self) -> bytes:
        return b"".join(base64.b64decode(e.delta) for e in self.of("session.output_audio.delta"))


@asynccontextmanager
async def calling(url: str, **session: Any) -> AsyncIterator[Call]:
    async with (
        AsyncOpenAI(base_url=url, api_key="none") as client,
        client.live.connect() as connection,
    ):
        call = Call(connection)
        await connection.session.start(session={"model": "gpt-live-1", **session})
        started = await call.until("session.started")
        assert started.session.id
        assert started.session.status == "active"
        microphone = asyncio.create_task(call.speak())
        try:
            yield call
        finally:
            microphone.cancel()


async def test_a_question_is_answered(base_url: str, question: Pcm) -> None:
    async with calling(base_url, instructions="Be brief.") as call:
        call.sound = question
        await call.until("session.output_audio.delta")
        await call.quiet()
        await call.connection.session.close()
        closed = await call.until("session.closed")
    assert closed.reason == "close_requested"
    assert closed.usage.seconds >= 3
    assert words(call.text("input")) == ASKED
    assert "paris" in words(call.text("output"))
    async with AsyncOpenAI(base_url=base_url, api_key="none") as client:
        answer = await client.audio.transcriptions.create(
            file=("answer.wav", wav_of(call.audio)), model="whisper-1"
        )
    assert alike(words(answer.text), words(call.text("output")))


async def test_speech_stops_an_answer(base_url: str, question: Pcm) -> None:
    instructions = "Tell a long story, whatever you are asked."
    async with calling(base_url, instructions=instructions) as call:
        call.sound = question
        await call.until("session.output_audio.delta")
        call.sound = question
        await call.until("session.usage.updated")
        await call.until("session.output_audio.delta")
        await call.quiet()
    assert words(call.text("input")) == f"{ASKED} {ASKED}"


async def test_context_and_mute(base_url: str) -> None:
    async with calling(base_url) as call:
        session = call.connection.session
        await session.input_audio.mute(event_id="m")
        assert (await call.until("session.input_audio.muted")).client_event_id == "m"
        await session.input_audio.unmute()
        await call.until("session.input_audio.unmuted")
        await session.instructions.append(content="Be kind.", delegation_id=None)
        await session.thinking.append(content="It is late.", delegation_id=None)
        told = await call.until("session.thinking.appended")
        assert 0 <= told.start_ms <= told.end_ms
        await session.commentary.append(content="It rains in Paris.", delegation_id=None)
        await call.until("session.commentary.appended")
        await call.until("session.output_audio.delta")
        await session.update(session={"delegation": {"type": "decisions"}}, event_id="d")
        error = await call.until("error")
    assert error.error.code == "unsupported"
    assert error.error.client_event_id == "d"
