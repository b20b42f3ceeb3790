"""The plugin for LiveKit agents against the gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from clients.conftest import ASKED, MOST_S, RATE, TEXT, Pcm, heard, pieces, words
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, APIError, stt
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from voxturn.runtime.errors import UsageError
from voxturn.runtime.plugins.livekit import STT, TTS
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as server

ONCE = APIConnectOptions(max_retry=0)


@pytest.fixture
async def voice(address: str) -> AsyncIterator[TTS]:
    """A voice whose rate is the gateway's own."""
    async with TTS(url=address, rate=22_050) as made:
        yield made


async def test_speech_is_written_down_with_the_times_of_its_words(
    address: str, question: Pcm
) -> None:
    ear = STT(url=address)
    events: list[stt.SpeechEvent] = []
    async with asyncio.timeout(MOST_S), ear.stream() as stream:
        for _ in range(2):
            for piece in pieces(question):
                stream.push_frame(rtc.AudioFrame(piece, RATE, 1, len(piece) // 2))
                await asyncio.sleep(0.02)
        stream.end_input()
        events = [event async for event in stream]
    finals = [each for each in events if each.type == stt.SpeechEventType.FINAL_TRANSCRIPT]
    assert [words(each.alternatives[0].text) for each in finals] == [ASKED, ASKED]
    kinds = {each.type for each in events}
    assert {
        stt.SpeechEventType.START_OF_SPEECH,
        stt.SpeechEventType.INTERIM_TRANSCRIPT,
        stt.SpeechEventType.PREFLIGHT_TRANSCRIPT,
        stt.SpeechEventType.END_OF_SPEECH,
    } <= kinds
    begins = [word.start_time for each in finals for word in each.alternatives[0].words or []]
    assert len(begins) == 2 * len(ASKED.split())
    assert begins == sorted(begins)
    assert begins[-1] < 2 * question.size / RATE


async def test_a_text_is_said_with_an_aligned_transcript(voice: TTS, base_url: str) -> None:
    pcm, told = b"", []
    async with asyncio.timeout(MOST_S), voice.stream(conn_options=ONCE) as stream:
        for word in TEXT.split(" "):
            stream.push_text(f"{word} ")
        stream.end_input()
        async for event in stream:
            pcm += event.frame.data.tobytes()
            told += event.frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, [])
    assert words("".join(told)) == words(TEXT)
    begins = [word.start_time for word in told]
    assert begins == sorted(set(begins))
    assert told[-1].end_time <= len(pcm) / 2 / voice.sample_rate + 0.001
    assert await heard(base_url, pcm, voice.sample_rate) == words(TEXT)


async def test_a_text_that_is_stopped_leaves_the_connection_open(voice: TTS, base_url: str) -> None:
    async with asyncio.timeout(MOST_S):
        stream = voice.stream(conn_options=ONCE)
        stream.push_text(f"{TEXT} " * 10)
        stream.end_input()
        await anext(stream)
        socket = voice._socket
        await stream.aclose()
        frame = await voice.synthesize(TEXT, conn_options=ONCE).collect()
        assert voice._socket is socket
    assert await heard(base_url, frame.data.tobytes(), frame.sample_rate) == words(TEXT)


async def test_a_style_is_passed(address: str) -> None:
    async with asyncio.timeout(MOST_S), TTS(url=address, style="furious", rate=22_050) as voice:
        with pytest.raises(APIError, match="style"):
            await voice.synthesize(TEXT, conn_options=ONCE).collect()


async def test_what_the_gateway_cannot_read_ends_the_text(address: str) -> None:
    async with asyncio.timeout(MOST_S), TTS(url=address, speed=5, rate=22_050) as voice:
        with pytest.raises(APIError, match="speed"):
            await voice.synthesize(TEXT, conn_options=ONCE).collect()


async def test_a_gateway_that_is_not_there_is_an_error() -> None:
    async with asyncio.timeout(MOST_S), TTS(url="http://127.0.0.1:9", rate=22_050) as voice:
        with pytest.raises(APIConnectionError):
            await voice.synthesize(TEXT, conn_options=ONCE).collect()


async def test_a_flush_that_was_lost_with_its_connection_is_made_again() -> None:
    flushed = 0

    async def hear(socket: ServerConnection) -> None:
        nonlocal flushed
        async for data in socket:
            if isinstance(data, str) and json.loads(data)["type"] == "flush":
                flushed += 1
                if flushed == 1:
                    return
                await socket.send(json.dumps({"type": "flushed"}))

    again = APIConnectOptions(max_retry=1, retry_interval=0.0)
    async with asyncio.timeout(MOST_S), server(hear, "127.0.0.1", 0) as there:
        port = there.sockets[0].getsockname()[1]
        async with STT(url=f"http://127.0.0.1:{port}").stream(conn_options=again) as stream:
            stream.push_frame(rtc.AudioFrame(bytes(640), RATE, 1, 320))
            stream.end_input()
            assert [event async for event in stream] == []
    assert flushed == 2


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(UsageError, match="http://localhost"):
        STT(url="localhost:8080")
