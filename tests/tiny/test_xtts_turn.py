"""A spoken turn whose voice is XTTS: real ears and a real reply, a synthetic voice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.decode.service import engine_of
from voxturn.runtime.families.windowed import Progress
from voxturn.runtime.families.xtts.family import as_xtts
from voxturn.runtime.families.xtts.plans import IN_TURN
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import PcmChunk, TurnDone
from voxturn.runtime.profile import Engine, Profile, SpeakEngine, load_profile

from tests.e2e.conftest import demo_models as demo_models
from tests.tiny.conftest import SHORT_CODES, Tiny

QUESTION = Path(__file__).parents[2] / "runtime" / "demo" / "question.wav"
pytestmark = pytest.mark.usefixtures("demo_models")


def profile(tiny: Tiny) -> Profile:
    speak = SpeakEngine(str(tiny.short), "onnx", "int8")
    return replace(
        load_profile("demo"), speak=speak, vocode=Engine(str(tiny.short), "openvino", "int8")
    )


async def test_a_turn_with_xtts_speaks_every_clause_and_its_trace_says_what_ran(tiny: Tiny) -> None:
    async with Assistant.load(profile(tiny)) as assistant:
        voice = as_xtts(assistant.stages.voice)
        # what the first window needs, and no more
        urgent = np.zeros((voice.speech.urgent, 1), np.float32)
        assert voice.vocoder.next_window(Progress([urgent])) == (0, IN_TURN[0].first)
        assert voice.vocoder.next_window(Progress([urgent[:-1]])) is None
        await assistant.warm()
        turn = assistant.conversation().turn(frames_from(str(QUESTION)), whole_input=True)
        async with turn:
            events = [event async for event in turn]
    assert isinstance(events[-1], TurnDone)
    assert "Paris" in events[-1].reply
    chunks = [event for event in events if isinstance(event, PcmChunk)]
    clauses = {chunk.sentence.index for chunk in chunks}
    assert len(clauses) == 1 + max(clauses)
    assert sum(c.samples.size for c in chunks) <= len(clauses) * SHORT_CODES * 1115
    trace = turn.trace.to_dict()
    assert trace["stages"]["speak"]["synthetic"]
    assert (
        trace["stages"]["speak"]["artifact_sha256"] == trace["stages"]["vocode"]["artifact_sha256"]
    )
    assert trace["stages"]["vocode"]["executor"] == "openvino"


async def test_barge_in_while_xtts_speaks_frees_its_slot_and_the_next_turn_works(
    tiny: Tiny,
) -> None:
    async with Assistant.load(profile(tiny)) as assistant:
        await assistant.warm()
        for number in range(3):
            turn = assistant.conversation().turn(frames_from(str(QUESTION)), whole_input=True)
            async with turn:
                async for event in turn:
                    if isinstance(event, PcmChunk) and number < 2:
                        break
            assert len(asyncio.all_tasks()) == 1
        assert turn.trace.outcome == "done"
        engine = engine_of(as_xtts(assistant.stages.voice).service)
        assert engine is not None
        for _ in range(400):
            if not engine.running and not any(slot.busy for slot in engine.cache.slots):
                break
            await asyncio.sleep(0.005)
        else:
            raise AssertionError("a slot is still held")
