"""LiveKit's own plugin for OpenAI against the gateway: its voice and its ear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from clients.conftest import ASKED, MOST_S, MP3_FRAME_S, RATE, TEXT, Pcm, heard, pieces, words
from livekit import rtc
from livekit.agents import inference, stt, utils
from livekit.plugins import openai


def frames(sound: Pcm) -> list[rtc.AudioFrame]:
    """Sound as a microphone's frames of 20 ms."""
    return [rtc.AudioFrame(piece, RATE, 1, len(piece) // 2) for piece in pieces(sound)]


@pytest.mark.parametrize(
    "options",
    [{}, {"response_format": "pcm"}, {"model": "tts-1"}],
    ids=["mp3-in-events", "pcm-in-events", "mp3"],
)
async def test_speech_says_its_text_and_is_whole(
    base_url: str, whole_s: float, options: dict[str, Any]
) -> None:
    voice = openai.TTS(base_url=base_url, api_key="none", **options)
    try:
        frame = await voice.synthesize(TEXT).collect()
    finally:
        await voice.aclose()
    assert whole_s - 0.001 <= frame.duration <= whole_s + 2 * MP3_FRAME_S
    pcm = frame.data.tobytes()
    assert await heard(base_url, pcm, frame.sample_rate) == words(TEXT)


@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-mini-transcribe", "gpt-transcribe"])
async def test_a_recording_is_recognized(base_url: str, question: Pcm, model: str) -> None:
    ear = openai.STT(base_url=base_url, api_key="none", model=model)
    event = await ear.recognize(frames(question))
    await ear.aclose()
    assert words(event.alternatives[0].text) == ASKED
    assert event.alternatives[0].language == "en"


async def until(
    stream: stt.SpeechStream, wanted: stt.SpeechEventType
) -> tuple[list[stt.SpeechEvent], stt.SpeechEvent]:
    """What a stream tells before the next event of a type, and that event."""
    before: list[stt.SpeechEvent] = []
    async with asyncio.timeout(MOST_S):
        async for event in stream:
            if event.type == wanted:
                return before, event
            before.append(event)
    raise AssertionError(f"the stream ended before {wanted}")


@asynccontextmanager
async def listening(url: str, **options: Any) -> AsyncIterator[stt.SpeechStream]:
    """A stream of transcripts over the realtime connection."""
    async with utils.http_context.open():
        ear = openai.STT(base_url=url, api_key="none", use_realtime=True, **options)
        stream = ear.stream()
        try:
            yield stream
        finally:
            await stream.aclose()
            await ear.aclose()


async def test_speech_is_written_down_while_it_comes(base_url: str, question: Pcm) -> None:
    async with listening(base_url) as stream:
        for turn in range(2):
            for frame in frames(question):
                stream.push_frame(frame)
            before, final = await until(stream, stt.SpeechEventType.FINAL_TRANSCRIPT)
            kinds = [event.type for event in before]
            assert stt.SpeechEventType.START_OF_SPEECH in kinds
            assert stt.SpeechEventType.END_OF_SPEECH in kinds
            if turn == 0:  # the plugin passes on no more than two a second
                assert stt.SpeechEventType.INTERIM_TRANSCRIPT in kinds
            assert words(final.alternatives[0].text) == ASKED
            _, usage = await until(stream, stt.SpeechEventType.RECOGNITION_USAGE)
            assert usage.recognition_usage is not None
            assert 0.5 < usage.recognition_usage.audio_duration < question.size / RATE


@pytest.mark.parametrize("silence_s", [0.25, 0.8])
async def test_a_model_without_endpoints_is_told_them(
    base_url: str, question: Pcm, silence_s: float
) -> None:
    """What these models hear the plugin commits, by a detector of its own; nobody else may."""
    detector = inference.VAD(model="silero", min_silence_duration=silence_s)
    async with listening(base_url, model="gpt-live-transcribe", vad=detector) as stream:
        for _ in range(2):
            for frame in frames(question):
                stream.push_frame(frame)
                await asyncio.sleep(frame.duration / 4)
            _, final = await until(stream, stt.SpeechEventType.FINAL_TRANSCRIPT)
            assert words(final.alternatives[0].text) == ASKED
