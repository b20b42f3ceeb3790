"""Pipecat's own realtime service against the gateway, with the aggregators of an application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from clients.conftest import ASKED, LONG, RATE, Pcm, heard, words
from clients.pipecat_line import Line, running, sound_of
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    FunctionCallResultFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMRunFrame,
    LLMTextFrame,
    ProposedUserStartedSpeakingFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService


def dialogue(
    url: str, detection: Any = None, text: bool = False, instructions: str | None = None
) -> OpenAIRealtimeLLMService:
    """The realtime service, as an application makes it."""
    heard_by = events.AudioInput(
        transcription=events.InputAudioTranscription(), turn_detection=detection
    )
    properties = events.SessionProperties(
        audio=events.AudioConfiguration(input=heard_by),
        output_modalities=["text"] if text else None,
    )
    settings = OpenAIRealtimeLLMService.Settings(
        system_instruction=instructions, session_properties=properties
    )
    socket = url.replace("http", "ws", 1) + "/realtime"
    return OpenAIRealtimeLLMService(base_url=socket, api_key="none", settings=settings)


@asynccontextmanager
async def talking(service: OpenAIRealtimeLLMService, context: LLMContext) -> AsyncIterator[Line]:
    """A dialogue with the aggregators that keep its context."""
    pair = LLMContextAggregatorPair(context)
    async with running(service, [pair.user()], [pair.assistant()]) as line:
        yield line


def texts_of(context: LLMContext) -> list[tuple[str, str]]:
    messages = [each for each in context.get_messages() if isinstance(each, dict)]
    return [(each["role"], words(str(each.get("content")))) for each in messages]


@pytest.mark.parametrize(
    "detection",
    [None, events.TurnDetection(silence_duration_ms=400), events.SemanticTurnDetection()],
    ids=["default", "by-silence", "by-meaning"],
)
async def test_a_question_is_heard_and_answered_aloud(
    base_url: str, question: Pcm, detection: Any
) -> None:
    context = LLMContext([{"role": "user", "content": "What is the capital of Italy?"}])
    async with talking(dialogue(base_url, detection), context) as line:
        await line.worker.queue_frame(LLMRunFrame())
        await line.until(TTSStoppedFrame)
        await line.worker.queue_frame(BotStoppedSpeakingFrame())  # it was played to its end
        await line.say(np.concatenate([question, np.zeros(4 * RATE, np.int16)]))
        await line.until(TTSStoppedFrame, 2)
    assert [words(frame.text) for frame in line.of(TranscriptionFrame)] == [ASKED]
    assert "rome" in line.said
    assert "paris" in line.said
    assert await heard(base_url, sound_of(line.frames)) == line.said
    assert len(line.of(TTSStartedFrame)) == 2
    roles = [role for role, _ in texts_of(context)]
    assert roles == ["user", "assistant", "user", "assistant"]
    assert texts_of(context)[2] == ("user", ASKED)


async def test_speaking_over_the_answer_cuts_it(base_url: str, question: Pcm) -> None:
    service = dialogue(base_url, events.TurnDetection(silence_duration_ms=400))
    items: list[str] = []

    @service.event_handler("on_conversation_item_created")
    async def _created(service: Any, item_id: str, item: events.ConversationItem) -> None:
        if item.role == "assistant":
            items.append(item_id)

    context = LLMContext([{"role": "user", "content": LONG}])
    async with talking(service, context) as line:
        await line.worker.queue_frame(LLMRunFrame())
        while len(sound_of(line.frames)) < 2 * 2 * RATE:
            await line.until(TTSAudioRawFrame, len(line.of(TTSAudioRawFrame)) + 1)
        await line.say(question, pace=True)
        await line.until(TTSStartedFrame, 2)
        began = line.frames.index(line.of(TTSStartedFrame)[1])
        first = [frame for frame in line.frames[:began] if isinstance(frame, TTSTextFrame)]
        said = words("".join(frame.text for frame in first))
        kept = await service.retrieve_conversation_item(items[0])
        await line.worker.queue_frame(InterruptionFrame())
    assert line.of(ProposedUserStartedSpeakingFrame)
    assert [words(frame.text) for frame in line.of(TranscriptionFrame)] == [ASKED]
    transcript = words(kept.content[0].transcript or "") if kept.content else ""
    assert transcript
    assert said.startswith(transcript)
    assert items[1:]


async def test_turns_that_the_client_ends(base_url: str, question: Pcm) -> None:
    async with running(dialogue(base_url, detection=False)) as line:
        for turn in (1, 2):
            await line.worker.queue_frames([InterruptionFrame(), UserStartedSpeakingFrame()])
            await line.say(question)
            await line.worker.queue_frame(UserStoppedSpeakingFrame())
            await line.until(TTSStoppedFrame, turn)
    assert [words(frame.text) for frame in line.of(TranscriptionFrame)] == [ASKED, ASKED]
    assert "paris" in line.said


async def test_a_dialogue_of_text(base_url: str) -> None:
    service = dialogue(base_url, text=True, instructions="Give short answers.")
    context = LLMContext([{"role": "user", "content": "What is the capital of France?"}])
    async with talking(service, context) as line:
        await line.worker.queue_frame(LLMRunFrame())
        await line.until(LLMFullResponseEndFrame)
        with pytest.raises(Exception, match="nothing"):
            await service.retrieve_conversation_item("nothing")
    assert "Paris" in "".join(frame.text for frame in line.of(LLMTextFrame))
    assert line.of(TTSAudioRawFrame) == []


async def test_tools_are_called_and_their_results_answered(calling_url: str) -> None:
    asked: list[Any] = []

    async def weather(params: FunctionCallParams) -> None:
        asked.append(params.arguments)
        await params.result_callback("Sunny.")

    city = {"city": {"type": "string"}}
    tool = FunctionSchema("weather", "The weather of a city", city, ["city"])
    context = LLMContext(
        [{"role": "user", "content": "How is the weather in Paris?"}],
        tools=ToolsSchema(standard_tools=[tool]),
    )
    service = dialogue(calling_url, text=True)
    service.register_function("weather", weather)
    async with talking(service, context) as line:
        await line.worker.queue_frame(LLMRunFrame())
        await line.until(FunctionCallResultFrame)
        await line.until(LLMFullResponseEndFrame, 2)
    assert asked[0] == {"city": "Paris"}
    assert [role for role, _ in texts_of(context)][:3] == ["user", "assistant", "tool"]
