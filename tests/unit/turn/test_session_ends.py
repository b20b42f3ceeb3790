"""However a session ends, and whatever was under way: no task, no slot and nothing in memory is
left."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.messages import TurnDone
from voxturn.runtime.turn.duplex import DuplexTurn
from voxturn.runtime.turn.session import Session

from tests.conftest import FakeTurn, settled, tone
from tests.dialogues import ANSWER, BROKEN, QUESTION, Room, silence, sound

TEXTS = {0.2: "", 0.25: "Okay.", 0.1: ANSWER, 0.5: BROKEN}


async def no_task_is_left() -> None:
    for _ in range(20):  # what was cancelled needs a moment to end
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


Action = Callable[[Room], object]
ACTIONS: dict[str, Action] = {
    "question": lambda room: room.session.push(sound(0.3, 0.6)),
    "interruption": lambda room: room.session.push(sound(0.4, 0.7)),
    "cough": lambda room: room.session.push(sound(0.2, 0.2)),
    "backchannel": lambda room: room.session.push(sound(0.25, 0.3)),
    "echo": lambda room: room.session.push(sound(0.1, 0.8)),
    "broken": lambda room: room.session.push(sound(0.5, 0.3)),
    "silence": lambda room: room.session.push(silence(0.5)),
    "ask": lambda room: room.session.ask(QUESTION),
    "answer": lambda room: room.session.answer(),
    "cancel": lambda room: room.session.cancel(),
    "played": lambda room: room.session.played(300.0),
    "time": lambda room: room.clock.advance(0.4),
}
STEPS = st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), st.integers(0, 120)), max_size=14)


@settings(max_examples=60)
@given(STEPS)
def test_whatever_happens_when_it_is_closed_no_task_is_left(steps: list[tuple[str, int]]) -> None:
    async def held() -> None:
        room = Room(TEXTS)
        async with room.open():
            for action, ticks in steps:
                ACTIONS[action](room)
                for _ in range(ticks):
                    await asyncio.sleep(0)
        await no_task_is_left()
        roles = [message.role for message in room.session.messages]
        assert all(first != second for first, second in itertools.pairwise(roles))

    asyncio.run(held())


@pytest.mark.slow
@settings(max_examples=25)
@given(STEPS)
def test_whatever_happens_the_next_question_is_answered(steps: list[tuple[str, int]]) -> None:
    async def held() -> None:
        room = Room(TEXTS)
        async with room.open() as session:
            for action, ticks in steps:
                ACTIONS[action](room)
                for _ in range(ticks):
                    await asyncio.sleep(0)
            for _ in range(40):  # what was said before ends
                room.clock.advance(1.0)
                session.push(silence(1.0))
                await room.settle()
            room.events.clear()
            session.ask(QUESTION)
            await room.settle()
            assert room.of(TurnDone)[-1:] == [TurnDone(ANSWER)]

    asyncio.run(held())


async def test_it_can_be_closed_at_every_point() -> None:
    for ticks in range(0, 400, 5):
        room = Room(TEXTS)
        session = Session(room.conversation())
        reader = asyncio.create_task(anext(aiter(session), None))
        session.push(sound(0.3, 0.6))
        session.push(silence(0.5))
        for tick in range(ticks):
            if tick == 150:
                session.push(sound(0.4, 0.7))
            await asyncio.sleep(0)
        closer = asyncio.create_task(session.aclose())
        await asyncio.gather(session.aclose(), closer)
        await reader
        await no_task_is_left()


async def test_who_closes_may_be_cancelled() -> None:
    room = Room(TEXTS)
    session = Session(room.conversation())
    session.ask(QUESTION)
    await asyncio.sleep(0)
    closer = asyncio.create_task(session.aclose())
    await asyncio.sleep(0)
    closer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closer
    await no_task_is_left()
    await session.aclose()


@pytest.mark.slow
async def test_two_hundred_interruptions_leave_nothing(fake_turn: FakeTurn) -> None:
    chosen = random.Random(5)
    async with Session(fake_turn.conversation()) as session:
        events = aiter(session)
        for _ in range(200):
            session.messages = session.messages[:1]
            session.ask("Why?")
            for _ in range(chosen.randrange(40)):
                await anext(events)
        gc.collect()
        held = [each for each in gc.get_objects() if type(each) is DuplexTurn]
        assert len(held) <= 3
    await settled(fake_turn)


async def test_a_session_on_real_engines_hears_answers_and_is_interrupted(
    fake_turn: FakeTurn,
) -> None:
    async with Session(fake_turn.conversation()) as session:
        session.push(tone(1.0, 2.0))
        async for event in session:
            if isinstance(event, TurnDone):
                break
        assert event == TurnDone(fake_turn.reply_text)
        session.cancel()
        session.push(tone(1.0, 2.0))
        async for event in session:
            if isinstance(event, TurnDone):
                break
        assert event.reply == fake_turn.reply_text
    assert [m.role for m in session.messages][:2] == ["system", "user"]
    await no_task_is_left()
