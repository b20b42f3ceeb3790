"""Home Assistant's three services on the demo's models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.server import Address
from voxturn.runtime.gateway.wyoming.server import serving_wyoming
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop

from tests.wyoming_client import Client, types

TEXT = (
    "The river flows through the capital of France, past towers and bridges that many people visit."
)


@pytest.fixture
async def client(demo_models: None) -> AsyncIterator[Client]:
    async with (
        Assistant.load("demo") as assistant,
        serving_wyoming(Gateway(assistant), Address(port=0)) as port,
        Client("127.0.0.1", port) as connected,
    ):
        yield connected


async def spoken(client: Client) -> list[Event]:
    """A text, said while it comes word by word."""
    await client.tell(SynthesizeStart())
    for word in TEXT.split():
        await client.tell(SynthesizeChunk(text=f"{word} "))
    await client.tell(Synthesize(text=TEXT), SynthesizeStop())
    return await client.until("synthesize-stopped")


async def test_what_it_says_it_writes_down_again(client: Client) -> None:
    said = await spoken(client)
    assert types(said) == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]
    rate = said[0].data["rate"]
    audio = b"".join(event.payload or b"" for event in said)
    await client.tell(Transcribe(language="en"), AudioStart(rate, 2, 1))
    hearing = asyncio.create_task(client.until("transcript-stop"))
    piece = rate // 25 * 2
    for begin in range(0, len(audio), piece):
        await client.tell(AudioChunk(rate, 2, 1, audio[begin : begin + piece]))
    await client.tell(AudioStop())
    events = await hearing
    (transcript,) = [event.data["text"] for event in events if event.type == "transcript"]
    words = {word.strip(".,").lower() for word in transcript.split()}
    wanted = {word.strip(".,").lower() for word in TEXT.split()}
    assert len(words & wanted) >= 0.8 * len(wanted)
    assert types(events)[0] == "transcript-start"


async def test_it_answers_in_words(client: Client) -> None:
    await client.tell(
        Transcript("What is the capital of France?", context={"conversation_id": "1"})
    )
    events = await client.until("handled")
    assert "Paris" in events[-1].data["text"]
    assert types(events) == ["handled-start", "handled-chunk", "handled"]
