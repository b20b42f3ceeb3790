"""A session for code without an event loop."""

from __future__ import annotations

from pathlib import Path

import pytest
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.client import SyncSession
from voxturn.runtime.errors import EmptyText, StreamClosed
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.messages import Interrupted, Message, PcmChunk, Transcript, TurnDone

from tests.conftest import tone

ANSWER = "Paris is the capital. It lies on the Seine."


@pytest.fixture
def assistant(tmp_path: Path) -> Assistant:
    return Assistant.load(write_profile(tmp_path, answer=ANSWER))


def test_a_session_without_an_event_loop(assistant: Assistant) -> None:
    with SyncSession(assistant.conversation()) as session:
        session.push(tone(1.0, 2.0))
        kinds = []
        for event in session:
            kinds.append(type(event))
            if isinstance(event, TurnDone):
                break
        assert event == TurnDone(ANSWER)
        assert {Transcript, PcmChunk} <= set(kinds)
        session.played(0.0)
        session.cancel()
        assert isinstance(next(iter(session)), Interrupted)
        session.messages = [Message("user", "Hello?"), Message("assistant", "Hello.")]
        assert [message.text for message in session.messages] == ["Hello?", "Hello."]
        with pytest.raises(EmptyText):
            session.ask(" ")
    with pytest.raises(StreamClosed):
        session.push(tone(0.1))
    assistant.close()


async def test_an_assistant_s_session(assistant: Assistant) -> None:
    async with assistant, assistant.session() as session:
        session.ask("Where is Paris?")
        async for event in session:
            if isinstance(event, TurnDone):
                break
        assert event == TurnDone(ANSWER)
