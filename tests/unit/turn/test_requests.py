"""What a service needs of a session: answers that are asked for, text alone, calls that are handed
over, and stages that change between turns."""

from __future__ import annotations

from dataclasses import replace

import pytest
from voxturn.runtime.families.fake import FakeReplier
from voxturn.runtime.messages import (
    Interrupted,
    Message,
    PcmChunk,
    ReplyToken,
    SpeechEnded,
    SpeechStarted,
    ToolCall,
    Transcript,
    TurnDone,
)
from voxturn.runtime.turn.interrupt.after_ms import AfterMs
from voxturn.runtime.turn.interrupt.base import Strategy
from voxturn.runtime.turn.interrupt.never import Never
from voxturn.runtime.turn.interrupt.speech import AtOnce
from voxturn.runtime.turn.session import Session, SessionOptions
from voxturn.runtime.turn.tools import Tool, Toolbox
from voxturn.runtime.turn.turn import Conversation, Request

from tests.dialogues import ABOUT_ROME, QUESTION, ROME, WHOLE, Room, silence, sound

WEATHER = Tool("weather", "The weather.", {"type": "object"})
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


async def test_the_dialogue_is_answered_as_it_is() -> None:
    room = Room({})
    async with room.open() as session:
        session.messages = [Message("user", ROME)]
        session.respond(Request())
        await room.settle()
        assert session.request == Request()
        assert session.trace is not None
        assert room.said == [("user", ROME), ("assistant", ABOUT_ROME)]
        assert room.of(Transcript) == []
    assert len(room.of(TurnDone)) == 1


async def test_a_request_has_its_own_dialogue_question_and_stages() -> None:
    room = Room({})
    conversation = room.conversation()
    stages = replace(conversation.stages, aloud=False)
    async with room.open() as session:
        session.respond(Request([Message("system", "Shout.")], ROME, stages))
        await room.settle()
    assert room.replier.dialogues[-1] == [Message("system", "Shout."), Message("user", ROME)]
    assert room.of(PcmChunk) == []
    assert type(room.events[0]) is Transcript


async def test_an_answer_that_stays_text_takes_no_time() -> None:
    room = Room({})
    async with room.open() as session:
        session.change(stages=replace(room.conversation().stages, aloud=False))
        await room.ask_aloud()
        assert room.said == WHOLE
        assert room.of(PcmChunk) == []
        await room.hear(silence(0.5), sound(0.4, 1.0), silence(0.5))
        assert room.said == [*WHOLE, ("user", ROME), ("assistant", ABOUT_ROME)]
    assert room.of(Interrupted) == []


async def test_what_is_heard_may_be_written_down_alone() -> None:
    room = Room({})
    async with room.open() as session:
        stages = room.conversation().stages
        session.change(stages=replace(stages, answers=False))
        await room.ask_aloud()
        await room.hear(silence(0.5))
        assert room.said == [("user", QUESTION)]
        assert room.names() == ["SpeechStarted", "Transcript", "TurnDone"]
        session.respond(Request(stages=stages))
        await room.settle()
        assert room.said == WHOLE


async def test_an_answer_has_as_many_tokens_as_it_may() -> None:
    room = Room({})
    async with room.open() as session:
        session.change(stages=replace(room.conversation().stages, max_tokens=4))
        await room.ask_aloud()
    assert len(room.of(ReplyToken)) == 4


async def test_calls_are_handed_to_whoever_reads_the_events() -> None:
    room = Room({})
    replier = FakeReplier(CALL)
    stages = replace(room.conversation().stages, replier=replier)
    request = Request([Message("user", "?")], "", stages, Toolbox([WEATHER], handed=True))
    async with room.open() as session:
        session.respond(request)
        await room.settle()
        [call] = room.of(ToolCall)
        assert (call.name, call.arguments) == ("weather", {"city": "Rome"})  # type: ignore[attr-defined]
        assert len(room.of(TurnDone)) == 1
        assert len(replier.dialogues) == 1
    assert [run.outcome for run in room.traces[0].tools] == ["handed"]


async def test_a_turn_need_not_add_to_the_dialogue() -> None:
    room = Room({})
    stages = room.conversation().stages
    conversation = Conversation(stages, room.conversation().setup, "Be brief.", remembers=False)
    async with Session(conversation) as session:
        session.respond(Request(question=ROME))
        async for event in session:
            if isinstance(event, TurnDone):
                break
        session.cancel()
    assert session.messages == [Message("system", "Be brief.")]


async def test_the_certain_end_of_speech_is_told_before_its_words() -> None:
    room = Room({})
    options = SessionOptions(end_of_speech=True)
    async with Session(room.conversation(), options) as room.session:
        room.session.push(sound(0.3, 1.0))
        room.session.push(silence(2.0))
        events = []
        async for event in room.session:
            events.append(event)
            if isinstance(event, Transcript):
                break
    kinds = [SpeechStarted, SpeechEnded, Transcript]
    assert [type(event) for event in events if type(event) in kinds] == kinds
    [end] = [event.at for event in events if isinstance(event, SpeechEnded)]
    assert 16000 <= end <= 18000


async def test_what_is_being_said_may_be_forgotten() -> None:
    room = Room({})
    async with room.open() as session:
        await room.hear(sound(0.4, 0.5))
        session.forget()
        await room.hear(silence(1.5))
        assert room.said == []
        await room.ask_aloud()
        session.forget()  # it is being answered
        await room.hear(silence(2.5))
        assert room.said == WHOLE


async def test_what_is_just_being_said_is_said_over_the_answer_that_is_asked_for() -> None:
    room = Room({})
    async with room.open() as session:
        await room.hear(sound(0.4, 0.5))
        session.respond(Request(question="Why?"))
        await room.settle()
        await room.hear(sound(0.4, 1.0), silence(0.5))
        assert room.of(Interrupted)
        assert ROME in room.said[-2][1]
    assert len(room.of(SpeechStarted)) == 2


async def test_an_answer_that_was_given_counts_as_heard_when_the_next_one_is_asked_for() -> None:
    room = Room({})
    async with room.open() as session:
        await room.ask_aloud()
        session.respond(Request(question=ROME))
        await room.settle()
        assert room.said == [*WHOLE, ("user", ROME), ("assistant", ABOUT_ROME)]
    assert room.of(Interrupted) == []


async def test_a_request_that_has_not_begun_is_cancelled() -> None:
    room = Room({})
    async with room.open() as session:
        session.respond(Request(question=ROME))
        assert session.asked == Request(question=ROME)
        session.cancel()
        assert session.asked is None
        await room.settle()
    assert room.replier.dialogues == []


@pytest.mark.parametrize("before", [AfterMs(5000), Never()])
async def test_another_strategy_holds_at_once(before: Strategy) -> None:
    room = Room({})
    async with room.open() as session:
        session.change(strategy=before)
        await room.ask_aloud()
        await room.hear(sound(0.4, 0.5))
        assert not room.of(Interrupted)
        session.change(strategy=AtOnce())
        await room.hear(sound(0.4, 0.1))
        assert room.of(Interrupted)
