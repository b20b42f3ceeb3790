"""The services as Home Assistant uses them: the events that it sends, in its order.

Source: home-assistant/core, homeassistant/components/wyoming: data.py, stt.py, tts.py,
conversation.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
from voxturn.runtime.audio.encode import to_int16
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.server import Address
from voxturn.runtime.gateway.store import InMemory
from voxturn.runtime.gateway.wyoming.about import info_of
from voxturn.runtime.gateway.wyoming.server import serving_wyoming
from voxturn.runtime.messages import Message, Sentence
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event, Eventable
from wyoming.info import Describe, Info
from wyoming.ping import Ping
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeVoice,
)

from tests.unit.gateway.scripted_voice import ScriptedVoice, speak_with
from tests.wyoming_client import Client, types

FORM = {"rate": 16_000, "width": 2, "channels": 1}
TEXT = "Paris is the capital. It lies on the Seine."


def speech(seconds: float, rate: int = 16_000) -> bytes:
    return to_int16(np.full(round(seconds * rate), 0.3, np.float32))


async def say(client: Client, seconds: float = 2.0, language: str | None = "en") -> None:
    """As stt.py does: the language, the form, 20 ms at a time, the end."""
    await client.tell(Transcribe(language=language), AudioStart(**FORM))
    audio = speech(seconds)
    for begin in range(0, len(audio), 640):
        await client.tell(AudioChunk(**FORM, audio=audio[begin : begin + 640]))
    await client.tell(AudioStop())


def samples_of(events: list[Event]) -> int:
    return sum(len(event.payload or b"") // 2 for event in events if event.type == "audio-chunk")


async def test_it_says_what_is_loaded(client: Client, gateway: Gateway) -> None:
    await client.tell(Describe())
    (event,) = await client.until("info")
    info = Info.from_event(event)
    (asr,), (tts,), (handle,) = info.asr, info.tts, info.handle
    assert asr.installed
    assert asr.models[0].languages == ["en"]
    assert asr.models[0].name == gateway.assistant.setup.info["transcribe"].model
    assert asr.supports_transcript_streaming
    assert tts.supports_synthesize_streaming
    assert [voice.languages for voice in tts.voices] == [["en"]]
    assert handle.supports_handled_streaming
    assert not handle.supports_home_control


async def test_it_tells_of_no_client_s_voice(client: Client, gateway: Gateway) -> None:
    voice = ScriptedVoice()
    voice.speakers = ("Ann", "client-0123456789abcdef-0123456789abcdef")
    speak_with(gateway, voice)
    await client.tell(Describe())
    (event,) = await client.until("info")
    assert [each.name for each in Info.from_event(event).tts[0].voices] == ["Ann"]


async def test_a_ping_is_answered_with_its_text(client: Client) -> None:
    await client.tell(Ping(text="7"))
    (event,) = await client.until("pong")
    assert event.data["text"] == "7"


async def test_speech_becomes_a_transcript(client: Client) -> None:
    await say(client)
    events = await client.until("transcript-stop")
    assert types(events) == [
        "transcript-start",
        "transcript-chunk",
        "transcript",
        "transcript-stop",
    ]
    (transcript,) = [event for event in events if event.type == "transcript"]
    assert transcript.data == {"text": "What is the capital of France?", "language": "en"}
    chunks = "".join(event.data["text"] for event in events if event.type == "transcript-chunk")
    assert chunks == transcript.data["text"]


async def test_silence_is_an_empty_transcript(client: Client) -> None:
    await client.tell(Transcribe(), AudioStart(**FORM))
    await client.tell(AudioChunk(**FORM, audio=bytes(32_000)), AudioStop())
    events = await client.until("transcript-stop")
    assert types(events) == ["transcript-start", "transcript", "transcript-stop"]
    await client.tell(Transcribe(), AudioStart(**FORM), AudioStop())  # nothing at all
    assert (await client.until("transcript-stop"))[1].data["text"] == ""


async def test_a_language_that_is_not_spoken_here_is_an_error_and_the_end(client: Client) -> None:
    await client.tell(Transcribe(language="de"), AudioStart(**FORM))
    (error,) = await client.rest()
    assert (error.type, error.data["code"]) == ("error", "unsupported_language")


async def test_a_whole_text_is_said(client: Client) -> None:
    await client.tell(Synthesize(text=TEXT))
    events = await client.until("audio-stop")
    assert types(events) == ["audio-start", "audio-chunk", "audio-stop"]
    assert events[0].data["rate"] == 24_000
    said = "Paris is the capital.It lies on the Seine."
    assert samples_of(events) == len(said) * 1200  # the fake voice: 50 ms for each character
    assert events[-1].data["timestamp"] == len(said) * 50


async def test_an_utterance_and_then_a_text_on_one_connection(client: Client) -> None:
    await say(client)
    await client.until("transcript-stop")
    await client.tell(Synthesize(text="Yes."))
    assert samples_of(await client.until("audio-stop")) == 4 * 1200


async def test_a_text_is_said_while_it_is_written_and_its_repetition_ignored(
    client: Client, gateway: Gateway
) -> None:
    """As tts.py streams: start, chunks anywhere in words, the whole text for old servers, stop."""
    await client.tell(SynthesizeStart())
    for piece in ("Paris is the ca", "pital. It li"):
        await client.tell(SynthesizeChunk(text=piece))
    first = await client.until("audio-chunk")  # before the text is whole
    assert types(first) == ["audio-start", "audio-chunk"]
    await client.tell(SynthesizeChunk(text="es on the Seine."))
    await client.tell(Synthesize(text=TEXT), SynthesizeStop())
    events = first + await client.until("synthesize-stopped")
    assert types(events) == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]
    assert samples_of(events) == len("Paris is the capital.It lies on the Seine.") * 1200


async def test_a_voice_is_chosen_by_its_name_and_unknown_ones_are_refused(
    wyoming_port: int, gateway: Gateway
) -> None:
    named = gateway.assistant.setup.info["speak"].model
    async with Client("127.0.0.1", wyoming_port) as client:
        await client.tell(Synthesize(text="Yes.", voice=SynthesizeVoice(name=named)))
        assert samples_of(await client.until("audio-stop"))
        await client.tell(Synthesize(text="Yes.", voice=SynthesizeVoice(language="en")))
        assert samples_of(await client.until("audio-stop"))
        await client.tell(Synthesize(text="Yes.", voice=SynthesizeVoice(language="de")))
        assert [event.type for event in await client.rest()] == ["error"]


async def test_a_question_is_answered_and_its_conversation_goes_on(
    wyoming_port: int, gateway: Gateway
) -> None:
    """As conversation.py asks: a connection for each question, left at `handled`."""
    context = {"conversation_id": "01J", "device_id": "d"}
    for text in ("What is the capital?", "And its river?"):
        async with Client("127.0.0.1", wyoming_port) as client:
            await client.tell(Transcript(text, context=context, language="en"))
            events = await client.until("handled")
        assert types(events) == ["handled-start", "handled-chunk", "handled"]
        chunks = "".join(event.data["text"] for event in events if event.type == "handled-chunk")
        assert events[-1].data == {"text": TEXT, "context": context}
        assert chunks == TEXT
    dialogue: list[Message] = gateway.assistant.stages.replier.dialogues[-1]  # type: ignore[attr-defined]
    roles = [(message.role, message.text) for message in dialogue if message.role != "system"]
    assert roles == [
        ("user", "What is the capital?"),
        ("assistant", TEXT),
        ("user", "And its river?"),
    ]


async def test_a_long_conversation_is_kept_from_a_question_on(
    client: Client, gateway: Gateway
) -> None:
    gateway.conversations = InMemory(keep_messages=3)
    for text in ("What is the capital?", "And its river?"):
        await client.tell(Transcript(text, context={"conversation_id": "01J"}))
        await client.until("handled-stop")
    kept = await gateway.conversations.load("wyoming", "01J")
    assert kept is not None
    said = [message.text for message in kept if message.role != "system"]
    assert said == ["And its river?", TEXT]


async def test_without_a_conversation_nothing_is_kept(client: Client, gateway: Gateway) -> None:
    for _ in range(2):
        await client.tell(Transcript("Why?"))
        await client.until("handled-stop")
    dialogue = gateway.assistant.stages.replier.dialogues[-1]  # type: ignore[attr-defined]
    assert [message.text for message in dialogue if message.role != "system"] == ["Why?"]
    await client.tell(Transcript("  "))
    assert (await client.until("not-handled"))[-1].type == "not-handled"


async def test_unknown_events_are_passed_over(client: Client) -> None:
    await client.write_event(Event("select-program", {"name": "voxturn"}))
    await client.write_event(Event("played"))
    await client.tell(Ping())
    assert (await client.read()).type == "pong"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (Event("synthesize", {}), "invalid_event"),
        (Event("synthesize", {"text": 7}), "invalid_event"),
        (Event("synthesize", {"text": "x", "voice": {"name": 7}}), "invalid_event"),
        (Event("synthesize", {"text": "x" * 5000}), "text_too_long"),
        (Event("transcript", {"text": ["x"]}), "invalid_event"),
        (Event("transcript", {"text": "x" * 5000}), "text_too_long"),
        (Event("audio-start", {"rate": "16000", "width": 2, "channels": 1}), "invalid_event"),
        (Event("audio-start", {"rate": 16_000, "width": 4, "channels": 1}), "invalid_audio"),
        (Event("audio-start", {"rate": 16_000, "width": 2, "channels": 99}), "invalid_audio"),
        (Event("audio-start", {}), "invalid_event"),
        (Event("transcribe", {"language": {}}), "invalid_event"),
        (Event("ping", {}, b"x" * (2 << 20)), "event_too_large"),
    ],
)
async def test_what_cannot_be_done_is_a_typed_error_and_the_end(
    wyoming_port: int, event: Event, code: str
) -> None:
    async with Client("127.0.0.1", wyoming_port) as client:
        await client.write_event(event)
        told = await client.rest()
        assert [each.type for each in told] == ["error"]
        assert told[-1].data["code"] == code
    async with Client("127.0.0.1", wyoming_port) as other:  # and it goes on for others
        await other.tell(Ping())
        assert await other.until("pong")


class Holding:
    """A voice that waits; `closed` once it was stopped."""

    def __init__(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go, self.closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        holding = self

        async def wait(
            voice: object, sentences: AsyncIterator[Sentence]
        ) -> AsyncGenerator[object, None]:
            try:
                holding.begun.set()
                await holding.go.wait()
                raise RuntimeError("the engine failed")
                yield
            finally:
                holding.closed.set()

        monkeypatch.setattr(type(gateway.assistant.stages.voice), "__call__", wait)


async def test_a_client_that_leaves_stops_the_voice(
    wyoming_port: int, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = Holding(gateway, monkeypatch)
    async with Client("127.0.0.1", wyoming_port) as client:
        await client.tell(SynthesizeStart(), SynthesizeChunk(text="One. Two. "))
        async with asyncio.timeout(10):
            await voice.begun.wait()
    async with asyncio.timeout(10):
        await voice.closed.wait()


async def test_an_engine_that_fails_is_told_without_its_words(
    client: Client, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = Holding(gateway, monkeypatch)
    voice.go.set()
    await client.tell(SynthesizeStart(), SynthesizeChunk(text="One. Two. "))
    events = await client.rest()
    assert types(events) == ["audio-start", "error"]
    assert events[-1].data["code"] == "internal_error"
    assert "engine failed" not in events[-1].data["text"]


async def test_a_full_house_says_so(gateway: Gateway) -> None:
    async with (
        serving_wyoming(gateway, Address(port=0), most=1) as port,
        Client("127.0.0.1", port) as first,
    ):
        await first.tell(Ping())
        await first.until("pong")
        async with Client("127.0.0.1", port) as second:
            (error,) = await second.rest()
        assert error.data["code"] == "session_limit_reached"


async def test_a_stopping_gateway_takes_nobody(gateway: Gateway, wyoming_port: int) -> None:
    gateway.stopping.set()
    async with Client("127.0.0.1", wyoming_port) as client:
        await client.tell(Synthesize(text="Yes."))
        (error,) = await client.rest()
    assert error.data["code"] == "stopping"


async def test_a_stopping_gateway_hears_nothing(gateway: Gateway, wyoming_port: int) -> None:
    gateway.stopping.set()
    async with Client("127.0.0.1", wyoming_port) as client:
        await client.tell(AudioStart(**FORM))
        (error,) = await client.rest()
    assert error.data["code"] == "stopping"


async def test_whoever_says_nothing_is_sent_away(gateway: Gateway) -> None:
    clock = ManualClock(10.0)
    gateway.clock = clock
    async with (
        serving_wyoming(gateway, Address(port=0)) as port,
        Client("127.0.0.1", port) as client,
    ):
        await client.tell(Ping())
        await client.until("pong")
        clock.advance(gateway.settings.idle_s)
        (error,) = await client.rest()
    assert error.data["code"] == "idle_timeout"


async def test_a_stopping_server_finishes_what_it_says_and_begins_nothing(
    gateway: Gateway,
) -> None:
    gateway.settings = replace(gateway.settings, drain_s=5.0)
    async with serving_wyoming(gateway, Address(port=0)) as port:
        client = Client("127.0.0.1", port)
        await client.connect()
        await client.tell(SynthesizeStart(), SynthesizeChunk(text="One. "))
        await client.until("audio-start")
        gateway.stopping.set()

        async def finish() -> list[Event]:
            await client.tell(SynthesizeChunk(text="Two."), SynthesizeStop())
            return await client.rest()

        finishing = asyncio.create_task(finish())
        await asyncio.sleep(0)
    assert types(await finishing)[-1] == "synthesize-stopped"
    await client.disconnect()


async def test_a_text_that_is_not_ended_ends_with_the_next_request(client: Client) -> None:
    await client.tell(SynthesizeStart(), SynthesizeChunk(text="Yes."), Transcript("Why?"))
    events = await client.until("handled-stop")
    assert types(events)[:4] == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]
    assert types(events)[4:] == ["handled-start", "handled-chunk", "handled", "handled-stop"]


async def test_a_text_that_never_comes_is_not_waited_for_for_ever(gateway: Gateway) -> None:
    clock = ManualClock(10.0)
    gateway.clock = clock
    async with (
        serving_wyoming(gateway, Address(port=0)) as port,
        Client("127.0.0.1", port) as client,
    ):
        await client.tell(SynthesizeStart())
        await client.until("audio-start")
        clock.advance(gateway.settings.idle_s)
        (error,) = await client.rest()
    assert error.data["code"] == "idle_timeout"


@pytest.mark.parametrize(
    ("asked", "last", "what"),
    [
        ([Transcript("Where is Rome?")], "handled", "handle"),
        ([AudioStart(**FORM), AudioStop()], "transcript", "transcribe"),
    ],
)
async def test_who_leaves_with_all_that_he_wanted_was_served(
    asked: list[Eventable], last: str, what: str, gateway: Gateway, wyoming_port: int
) -> None:
    async with Client("127.0.0.1", wyoming_port) as client:
        await client.tell(*asked)
        await client.until(last)
    async with asyncio.timeout(10):
        counted = gateway.metrics.requests
        while not counted.labels(f"wyoming/{what}", "200")._value.get():  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert not counted.labels(f"wyoming/{what}", "499")._value.get()


async def test_speakers_are_told_apart_by_what_is_shown_of_them(gateway: Gateway) -> None:
    voices = info_of(gateway.assistant, ("ana", "ben")).tts[0].voices
    assert [voice.name for voice in voices] == ["ana", "ben"]
    assert all(str(voice.description).startswith(f"{voice.name} (") for voice in voices)
