"""The plugin for Pipecat against the gateway, in pipelines as an application runs them."""

from __future__ import annotations

import pytest
from clients.conftest import ASKED, RATE, TEXT, Pcm, heard, words
from clients.pipecat_line import running, sound_of
from pipecat.frames.frames import (
    ErrorFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from voxturn.runtime.errors import UsageError
from voxturn.runtime.plugins.pipecat import VoxturnSTTService, VoxturnTTSService


async def test_speech_is_written_down_with_the_times_of_its_words(
    address: str, question: Pcm
) -> None:
    async with running(VoxturnSTTService(url=address)) as line:
        for turn in (1, 2):
            await line.say(question, pace=True)
            await line.until(TranscriptionFrame, turn)
    assert [words(frame.text) for frame in line.of(TranscriptionFrame)] == [ASKED, ASKED]
    assert line.of(InterimTranscriptionFrame)
    assert line.of(ProposedUserStartedSpeakingFrame)
    assert line.of(ProposedUserStoppedSpeakingFrame)
    for turn, frame in enumerate(line.of(TranscriptionFrame)):
        begins = [word["begin_s"] for word in frame.result["words"]]
        assert len(begins) == len(ASKED.split())
        assert begins == sorted(begins)
        assert begins[0] >= turn * question.size / RATE - 0.5
        assert frame.result["words"][-1]["end_s"] <= (turn + 1) * question.size / RATE + 0.5


async def test_a_text_is_said_word_by_word(address: str, base_url: str) -> None:
    async with running(VoxturnTTSService(url=address)) as line:
        await line.worker.queue_frame(TTSSpeakFrame(TEXT))
        await line.until(TTSStoppedFrame)
    told = line.of(TTSTextFrame)
    assert len(told) == len(TEXT.split())
    assert words(" ".join(frame.text for frame in told)) == words(TEXT)
    times = [frame.pts for frame in told]
    assert times == sorted(times)
    pcm = sound_of(line.frames)
    assert (times[-1] - times[0]) / 1e9 < len(pcm) / 2 / RATE
    assert await heard(base_url, pcm) == words(TEXT)


async def test_an_interruption_leaves_the_connection_open(address: str, base_url: str) -> None:
    voice = VoxturnTTSService(url=address)
    async with running(voice) as line:
        await line.worker.queue_frame(TTSSpeakFrame(f"{TEXT} " * 10))
        await line.until(TTSAudioRawFrame)
        socket = voice._websocket
        await line.worker.queue_frame(InterruptionFrame())
        await line.until(InterruptionFrame)
        line.frames.clear()
        await line.worker.queue_frame(TTSSpeakFrame(TEXT))
        await line.until(TTSStoppedFrame)
        assert voice._websocket is socket
    assert await heard(base_url, sound_of(line.frames)) == words(TEXT)


async def test_a_style_is_passed(address: str) -> None:
    voice = VoxturnTTSService(url=address, settings=VoxturnTTSService.Settings(style="furious"))
    with pytest.raises(AssertionError):
        async with running(voice) as line:
            await line.worker.queue_frame(TTSSpeakFrame(TEXT))
            await line.until(ErrorFrame)
    assert "style" in line.of(ErrorFrame)[0].error


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(UsageError, match="http://localhost"):
        VoxturnTTSService(url="localhost:8080")
