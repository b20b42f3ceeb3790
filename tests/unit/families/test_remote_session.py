"""A session here whose every stage but the ears runs at a server, behind the real backend."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.messages import (
    Interrupted,
    Message,
    Partial,
    PcmChunk,
    SessionError,
    Transcript,
    TurnDone,
)
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.remote import connection
from voxturn.runtime.remote.contract import SEQUENCE
from voxturn.runtime.remote.tensors import Tensors, of_event, text_tensor
from voxturn.runtime.serving.backend import Backend
from voxturn.runtime.serving.handlers import VoiceHandler
from voxturn.runtime.serving.inputs import Inputs, messages_of

from tests.conftest import tone
from tests.triton_fakes import Utilities
from tests.triton_wire import Wire, WiredServer

QUESTION, ANSWER = "Why is it so?", "Because it is."


class Scripted:
    """A handler without a model."""

    engine = None

    async def warm(self) -> None:
        return None

    def describe(self) -> dict[str, Any]:
        return {"model": "toy", "precision": "fp32", "artifact_sha256": "a" * 64}

    def close(self) -> None:
        return None


class Ears(Scripted):
    """Hears the question in whatever comes."""

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        heard: Partial | Transcript = Transcript(QUESTION, "en")
        if SEQUENCE in inputs:
            heard = Partial("", QUESTION, "en", 0)
        yield {"text": text_tensor(QUESTION), **of_event(heard)}


class Mind(Scripted):
    """Answers; once it fails."""

    def __init__(self) -> None:
        self.asked: list[list[Message]] = []
        self.fails = False

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        self.asked.append(messages_of(inputs))
        if self.fails:
            self.fails = False
            raise InferenceFailed("the mind died")
        for number, word in enumerate(ANSWER.split(" ")):
            yield {
                "text": text_tensor(f" {word}" if number else word),
                "ids": np.array([number], np.int32),
            }


@pytest.fixture
def mind() -> Mind:
    return Mind()


@pytest.fixture
def profile(tmp_path: Path, mind: Mind, monkeypatch: pytest.MonkeyPatch) -> Iterator[Profile]:
    """One whose stages are at a server, but for the ears."""
    fakes = load_profile(write_profile(tmp_path))
    with ExitStack() as stack:
        handlers = {"whisper": Ears(), "qwen3": mind, "vits": VoiceHandler(fakes)}
        backends = {}
        for name, handler in handlers.items():
            backends[name] = Backend(Utilities, name, handler)
            stack.callback(backends[name].close)
        wire = Wire(**backends)
        monkeypatch.setattr(connection, "TritonServer", lambda *_: WiredServer(wire))
        changes = {
            stage: replace(
                fakes.engine(stage), model=model, executor="remote", server="there:1", precision=""
            )
            for stage, model in (("transcribe", "whisper"), ("reply", "qwen3"), ("speak", "vits"))
        }
        yield replace(fakes, **changes)  # type: ignore[arg-type]
        assert not wire.calls


async def test_a_session_on_stages_at_a_server(profile: Profile, mind: Mind) -> None:
    async with Assistant.load(profile) as assistant, assistant.session() as session:
        assert session.rate == 24_000
        session.push(tone(1.0, 2.0))
        events = []
        async for event in session:
            events.append(event)
            if isinstance(event, TurnDone):
                break
        assert event == TurnDone(ANSWER)
        assert {Transcript, PcmChunk} <= {type(each) for each in events}
        session.played(60.0)
        session.push(tone(1.0, 2.0))  # over the answer
        for last in (Interrupted, PcmChunk):
            async for event in session:
                if isinstance(event, last):
                    break
        assert mind.asked[0][-1] == Message("user", QUESTION)
        assert mind.asked[-1][-1].text.endswith(QUESTION)


async def test_what_fails_there_ends_a_turn_alone(profile: Profile, mind: Mind) -> None:
    mind.fails = True
    async with Assistant.load(profile) as assistant, assistant.session() as session:
        session.ask("Why?")
        events = []
        async for event in session:
            events.append(event)
            if isinstance(event, TurnDone):
                break
        (error,) = [each.error for each in events if isinstance(each, SessionError)]
        assert isinstance(error, InferenceFailed)
        assert str(error) == "the mind died"
        session.ask("And why?")
        async for event in session:
            if isinstance(event, TurnDone):
                break
        assert event == TurnDone(ANSWER)
