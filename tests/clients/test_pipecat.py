"""Pipecat's own services against the gateway, each in a pipeline as an application runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import aiohttp
import numpy as np
import pytest
from clients.conftest import ASKED, RATE, TEXT, Pcm, heard, words
from clients.pipecat_line import PARAMS, frames, running, sound_of
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InterimTranscriptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMTextFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.openai.stt import OpenAIRealtimeSTTService, OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.services.xtts.tts import XTTSService
from pipecat.tests.utils import run_test


async def given(service: FrameProcessor, sent: Sequence[Frame]) -> list[Frame]:
    """What a service pushes down the pipeline for some frames; no error may come back up."""
    down, up = await run_test(
        service, frames_to_send=sent, pipeline_params=PARAMS, start_timeout=30.0
    )
    assert [frame for frame in (*down, *up) if isinstance(frame, ErrorFrame)] == []
    return list(down)


async def test_speech_says_its_text_and_is_whole(base_url: str, whole_s: float) -> None:
    voice = OpenAITTSService(
        base_url=base_url,
        api_key="none",
        settings=OpenAITTSService.Settings(voice="alloy"),
    )
    down = await given(voice, [TTSSpeakFrame(TEXT)])
    assert any(isinstance(frame, TTSStoppedFrame) for frame in down)
    pcm = sound_of(down)
    assert len(pcm) / 2 / RATE == pytest.approx(whole_s, abs=0.001)
    assert await heard(base_url, pcm) == words(TEXT)


async def test_the_server_of_xtts_says_its_text(address: str, base_url: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{address}/studio_speakers") as answer:
            speakers = await answer.json()
        with pytest.warns(DeprecationWarning, match="XTTSService"):
            voice = XTTSService(
                base_url=address,
                aiohttp_session=session,
                settings=XTTSService.Settings(voice=next(iter(speakers))),
            )
        down = await given(voice, [TTSSpeakFrame(TEXT)])
    assert await heard(base_url, sound_of(down)) == words(TEXT)


@pytest.mark.parametrize("options", [{}, {"include_prob_metrics": True}], ids=["", "with-logprobs"])
@pytest.mark.parametrize("model", ["gpt-transcribe", "whisper-1"])
async def test_what_was_said_is_transcribed(
    base_url: str, question: Pcm, model: str, options: dict[str, bool]
) -> None:
    ear = OpenAISTTService(
        base_url=base_url,
        api_key="none",
        settings=OpenAISTTService.Settings(model=model),
        **options,
    )
    spoken = [VADUserStartedSpeakingFrame(), *frames(question), VADUserStoppedSpeakingFrame()]
    down = await given(ear, spoken)
    texts = [frame.text for frame in down if isinstance(frame, TranscriptionFrame)]
    assert [words(text) for text in texts] == [ASKED]


async def test_chat_answers(base_url: str) -> None:
    context = LLMContext([{"role": "user", "content": "What is the capital of France?"}])
    model = OpenAILLMService(
        base_url=base_url,
        api_key="none",
        settings=OpenAILLMService.Settings(
            system_instruction="You are a helpful assistant. Give short answers."
        ),
    )
    down = await given(model, [LLMContextFrame(context)])
    assert "Paris" in "".join(frame.text for frame in down if isinstance(frame, LLMTextFrame))
    assert any(isinstance(frame, LLMFullResponseEndFrame) for frame in down)


def hearing(url: str, **options: Any) -> OpenAIRealtimeSTTService:
    socket = url.replace("http", "ws", 1) + "/realtime"
    return OpenAIRealtimeSTTService(base_url=socket, api_key="none", **options)


async def test_speech_is_written_down_while_it_comes(base_url: str, question: Pcm) -> None:
    ear = hearing(
        base_url,
        turn_detection={"type": "server_vad"},
        settings=OpenAIRealtimeSTTService.Settings(model="gpt-transcribe"),
    )
    async with running(ear) as line:
        for turn in (1, 2):
            await line.say(question)
            await line.until(TranscriptionFrame, turn)
    assert [words(frame.text) for frame in line.of(TranscriptionFrame)] == [ASKED, ASKED]
    assert words("".join(f.text for f in line.of(InterimTranscriptionFrame))).startswith(ASKED)
    assert line.of(ProposedUserStartedSpeakingFrame)
    assert line.of(ProposedUserStoppedSpeakingFrame)


async def test_speech_whose_end_the_client_hears(base_url: str, question: Pcm) -> None:
    async with running(hearing(base_url)) as line:
        await line.say(np.zeros(RATE // 2, np.int16), pace=True)  # until the session is set up
        for turn in (1, 2):
            await line.worker.queue_frame(VADUserStartedSpeakingFrame())
            await line.say(question)
            await line.worker.queue_frame(VADUserStoppedSpeakingFrame())
            await line.until(TranscriptionFrame, turn)
    assert [words(frame.text) for frame in line.of(TranscriptionFrame)] == [ASKED, ASKED]
    assert line.of(ProposedUserStartedSpeakingFrame) == []
