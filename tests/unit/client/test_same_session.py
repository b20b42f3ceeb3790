"""Whatever is done to a session, it says the same wherever it is driven: here, or behind the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from voxturn.runtime.client.session import RemoteSession
from voxturn.runtime.messages import Message, PcmChunk, SessionError, SessionEvent
from voxturn.runtime.remote.tensors import Tensors, text_tensor
from voxturn.runtime.serving.sessions import Sessions
from voxturn.runtime.turn.interrupt.base import Strategy
from voxturn.runtime.turn.session import Session, SessionOptions
from voxturn.runtime.turn.voice_session import VoiceSession

from tests.dialogues import Room
from tests.unit.turn.test_session_ends import ACTIONS, TEXTS, Action, no_task_is_left


class Direct:
    """In place of a connection: requests go to `Sessions` in the same loop."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def stream(
        self, model: str, inputs: Mapping[str, Any], endless: bool = False
    ) -> AsyncGenerator[Tensors, None]:
        async with aclosing(self._sessions(as_tensors(inputs))) as answers:
            async for tensors in answers:
                yield tensors

    @asynccontextmanager
    async def line(self, model: str) -> AsyncGenerator[Direct, None]:
        yield self

    async def ask(self, inputs: Mapping[str, Any]) -> Tensors:
        (answer,) = [tensors async for tensors in self._sessions(as_tensors(inputs))]
        return answer


def as_tensors(inputs: Mapping[str, Any]) -> Tensors:
    return {
        name: text_tensor(value) if isinstance(value, str) else value
        for name, value in inputs.items()
    }


class RemoteRoom(Room):
    """A room whose session is driven behind the wire."""

    @asynccontextmanager
    async def open(
        self, strategy: Strategy | None = None, share: float = 1.0, ahead_s: float = 10.0
    ) -> AsyncGenerator[Any, None]:
        def begin(options: SessionOptions) -> Session:
            traced = replace(options, on_trace=self.traces.append)
            return Session(self.conversation(strategy, share), traced)

        sessions = Sessions(begin, self.clock)

        @asynccontextmanager
        async def connect() -> AsyncGenerator[Any, None]:
            yield Direct(sessions)

        remote: Any = RemoteSession(connect, SessionOptions(ahead_s=ahead_s), self.clock)
        async with remote as self.session:
            await remote.opened()
            reader = asyncio.create_task(self._read())
            await self.settle()
            yield remote
        await asyncio.wait_for(reader, 5)
        assert not sessions._places._entries


async def held(room: Room, steps: list[tuple[str, int]]) -> list[Any]:
    """What a room's session says to some actions, and what its dialogue and its traces are."""
    async with room.open():
        for action, _ in steps:
            DONE[action](room)
            await room.settle()
            await room.settle()
        said = room.said
    events = [comparable(event) for event in room.events]
    return [events, said, room.said, room.decisions, [trace.outcome for trace in room.traces]]


def comparable(event: SessionEvent) -> Any:
    if isinstance(event, SessionError):
        return type(event.error), str(event.error)
    if isinstance(event, PcmChunk):
        return replace(event, samples=event.samples.sum())
    return event


def set_messages(room: Room) -> None:
    room.session.messages = [Message("user", "Hello?"), Message("assistant", "Hello.")]


DONE: dict[str, Action] = {
    **ACTIONS,
    "pin": lambda room: room.session.pin("It is so."),
    "messages": set_messages,
}
STEPS = st.lists(st.tuples(st.sampled_from(sorted(DONE)), st.just(0)), max_size=14)
RICH = (
    "pin question silence silence time interruption silence silence time cough silence ask time played "
    "cancel played silence question answer time messages broken silence silence echo backchannel silence"
)


@settings(max_examples=12)
@example([(action, 0) for action in RICH.split()])
@given(STEPS)
def test_whatever_is_done_it_says_the_same(steps: list[tuple[str, int]]) -> None:
    async def both() -> None:
        here = await held(Room(TEXTS), steps)
        there = await held(RemoteRoom(TEXTS), steps)
        for one, other in zip(here, there, strict=True):
            assert one == other
        await no_task_is_left()

    asyncio.run(both())


ONLY_HERE = {"asked", "change", "forget", "position_ms", "request", "respond", "trace"}
"""What a service needs that composes the stages itself: nothing of a session elsewhere."""


def test_it_has_all_that_a_session_here_has() -> None:
    for name in (each for each in dir(Session) if not each.startswith("_")):
        if name in ONLY_HERE:
            continue
        shared = getattr(VoiceSession, name)
        own = getattr(Session, name) is not shared
        assert own == (getattr(RemoteSession, name) is not shared), name
