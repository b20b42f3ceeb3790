"""OpenAI's own realtime client against the gateway."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import pytest
from clients.conftest import ASKED, LONG, Pcm, heard, words
from openai import AsyncOpenAI

_FRAME = 480
_MOST_S = 60.0
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


class Talk:
    """A realtime session and the events that have come."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._coming = aiter(connection)  # which reconnects; `recv` does not
        self.events: list[Any] = []

    async def until(self, wanted: str | Callable[[Any], bool]) -> Any:
        """The next event of a type, or one that is wanted."""
        async with asyncio.timeout(_MOST_S):
            while True:
                event = await anext(self._coming)
                self.events.append(event)
                if event.type == wanted or (callable(wanted) and wanted(event)):
                    return event

    async def say(self, sound: Pcm, pace_s: float = 0.0) -> None:
        """Append sound, in frames of 20 ms; as fast as somebody speaks where `pace_s` is that."""
        for begin in range(0, sound.size, _FRAME):
            audio = base64.b64encode(sound[begin : begin + _FRAME].tobytes()).decode()
            await self.connection.input_audio_buffer.append(audio=audio)
            if pace_s:
                await asyncio.sleep(pace_s)

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]

    @property
    def audio(self) -> bytes:
        return b"".join(base64.b64decode(e.delta) for e in self.of("response.output_audio.delta"))

    @property
    def said(self) -> str:
        deltas = self.of("response.output_audio_transcript.delta")
        return "".join(event.delta for event in deltas)


@asynccontextmanager
async def talking(url: str, **session: Any) -> AsyncIterator[Talk]:
    client = AsyncOpenAI(base_url=url, api_key="none")
    async with client, client.realtime.connect(model="gpt-realtime") as connection:
        talk = Talk(connection)
        created = await talk.until("session.created")
        assert created.session.id
        await connection.session.update(session={"type": "realtime", **session})
        await talk.until("session.updated")
        yield talk


def alike(first: str, second: str) -> bool:
    """Whether two texts differ by a letter or two: small recognisers hear "is" as "'s"."""
    return SequenceMatcher(None, first, second).ratio() > 0.93


async def test_server_vad_hears_answers_and_says_it(base_url: str, question: Pcm) -> None:
    heard_as = {"input": {"transcription": {"model": "whisper-1"}}}
    async with talking(base_url, audio=heard_as) as talk:
        await talk.say(question)
        done = await talk.until("response.done")
    assert done.response.status == "completed"
    kinds = [event.type for event in talk.events]
    order = (
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.done",
    )
    places = [kinds.index(kind) for kind in order]
    assert places == sorted(places)
    heard_event = talk.of("conversation.item.input_audio_transcription.completed")[0]
    assert words(heard_event.transcript) == ASKED
    assert "paris" in words(talk.said)
    assert alike(await heard(base_url, talk.audio), words(talk.said))
    assert done.response.usage.total_tokens > 0


async def test_push_to_talk(base_url: str, question: Pcm) -> None:
    async with talking(base_url, audio={"input": {"turn_detection": None}}) as talk:
        await talk.say(question)
        await talk.connection.input_audio_buffer.commit()
        await talk.until("input_audio_buffer.committed")
        await talk.connection.response.create()
        done = await talk.until("response.done")
        assert done.response.status == "completed"
        assert "paris" in words(talk.said)
        await talk.connection.response.cancel()
        error = await talk.until("error")
        assert error.error.code == "response_cancel_not_active"
        await talk.connection.input_audio_buffer.commit()
        error = await talk.until("error")
        assert error.error.code == "input_audio_buffer_commit_empty"


async def test_typed_text_is_answered_as_text(base_url: str) -> None:
    async with talking(base_url, output_modalities=["text"]) as talk:
        await talk.connection.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "What is the capital of France?"}],
            }
        )
        await talk.until("conversation.item.added")
        await talk.connection.response.create()
        await talk.until("response.done")
    text = "".join(event.delta for event in talk.of("response.output_text.delta"))
    assert "Paris" in text
    assert talk.of("response.output_audio.delta") == []


async def test_tools_are_called_and_their_results_answered(calling_url: str) -> None:
    async with talking(calling_url, tools=[WEATHER], output_modalities=["text"]) as talk:
        await talk.connection.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "How is the weather in Paris?"}],
            }
        )
        await talk.connection.response.create()
        call = await talk.until("response.function_call_arguments.done")
        assert (call.name, call.arguments) == ("weather", '{"city": "Paris"}')
        first = await talk.until("response.done")
        assert [item.type for item in first.response.output] == ["function_call"]
        await talk.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."}
        )
        await talk.connection.response.create()
        second = await talk.until("response.done")
    assert second.response.id != first.response.id
    assert second.response.status == "completed"


async def test_truncate_keeps_what_was_heard(base_url: str, question: Pcm) -> None:
    async with talking(base_url) as talk:
        await talk.say(question)
        item = (await talk.until("response.output_item.added")).item
        await talk.until("response.done")
        await talk.connection.conversation.item.truncate(
            item_id=item.id, content_index=0, audio_end_ms=700
        )
        cut = await talk.until("conversation.item.truncated")
        assert (cut.item_id, cut.audio_end_ms) == (item.id, 700)
        await talk.connection.conversation.item.retrieve(item_id=item.id)
        kept = (await talk.until("conversation.item.retrieved")).item
        await talk.connection.conversation.item.truncate(
            item_id=item.id, content_index=0, audio_end_ms=10_000_000
        )
        assert (await talk.until("error")).error.type == "invalid_request_error"
    transcript = kept.content[0].transcript or ""
    assert len(transcript) < len(talk.said)
    assert words(talk.said).startswith(words(transcript))


async def test_speaking_over_the_answer_cuts_it(base_url: str, question: Pcm) -> None:
    async with talking(base_url) as talk:
        await talk.connection.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": LONG}],
            }
        )
        await talk.connection.response.create()
        await talk.until("response.output_audio.delta")
        await talk.say(question, pace_s=0.02)
        first = await talk.until("response.done")
        second = await talk.until("response.done")
    assert first.response.status == "cancelled"
    assert first.response.status_details.reason == "turn_detected"
    assert first.response.usage.output_token_details is not None
    assert second.response.status == "completed"


async def test_transcription_session(base_url: str, question: Pcm) -> None:
    client = AsyncOpenAI(base_url=base_url, api_key="none")
    async with (
        client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        talk = Talk(connection)
        await talk.until("session.created")
        await connection.session.update(
            session={
                "type": "transcription",
                "audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}},
            }
        )
        await talk.until("session.updated")
        await talk.say(question)
        done = await talk.until("conversation.item.input_audio_transcription.completed")
    assert words(done.transcript) == ASKED
    assert talk.of("response.created") == []


async def test_client_secrets_open_a_session(base_url: str) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key="none") as client:
        secret = await client.realtime.client_secrets.create(
            session={"type": "realtime", "instructions": "Be brief."}
        )
    assert secret.value.startswith("ek_")
    async with (
        AsyncOpenAI(base_url=base_url, api_key=secret.value) as client,
        client.realtime.connect(model="gpt-realtime") as connection,
    ):
        created = await Talk(connection).until("session.created")
    assert created.session.instructions == "Be brief."


@pytest.mark.parametrize("form", ["audio/pcmu", "audio/pcma"])
async def test_telephone_audio(base_url: str, question: Pcm, form: str) -> None:
    audio = {"output": {"format": {"type": form}}}
    async with talking(base_url, audio=audio) as talk:
        await talk.say(question)
        await talk.until("response.done")
    assert talk.audio
    seconds = len(talk.audio) / 8000
    assert 0.5 < seconds < 30
    assert len(np.unique(np.frombuffer(talk.audio, np.uint8))) > 16


async def test_the_client_reconnects_by_itself(base_url: str, question: Pcm) -> None:
    tries: list[Any] = []
    async with (
        AsyncOpenAI(base_url=base_url, api_key="none") as client,
        client.realtime.connect(
            model="gpt-realtime",
            on_reconnecting=lambda event: tries.append(event),
            initial_delay=0.05,
        ) as connection,
    ):
        talk = Talk(connection)
        await talk.until("session.created")
        transport = connection._connection.transport
        transport.abort()
        await talk.until("session.created")
        await talk.say(question)
        done = await talk.until("response.done")
    assert tries
    assert done.response.status == "completed"
