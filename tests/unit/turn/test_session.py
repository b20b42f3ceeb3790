"""Scripted dialogues: who speaks over an answer, what becomes of the answer, and what the dialogue
holds afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from voxturn.runtime.errors import EmptyText, InferenceFailed, StreamClosed, TextError
from voxturn.runtime.messages import (
    AudioFrame,
    Interrupted,
    Message,
    SessionError,
    SpeechStarted,
    TurnDone,
)
from voxturn.runtime.turn.session import Session, SessionOptions
from voxturn.runtime.turn.trace import Trace

from tests.dialogues import ABOUT_ROME, ANSWER, BROKEN, QUESTION, ROME, WHOLE, Room, silence, sound

TURN = ["SpeechStarted", "Transcript", "ReplyToken"]


async def test_a_question_its_answer_and_the_next_question() -> None:
    room = Room({})
    async with room.open():
        for _ in range(2):
            await room.ask_aloud()
            await room.hear(silence(3.0))
        assert room.said == WHOLE * 2
    assert room.names()[:3] == TURN
    assert len(room.of(TurnDone)) == len(room.of(SpeechStarted)) == 2
    assert [trace.outcome for trace in room.traces] == ["done", "done"]
    assert room.decisions == []


async def test_the_next_question_may_follow_the_answer_at_once() -> None:
    room = Room({})
    async with room.open():
        await room.ask_aloud()
        await room.hear(silence(2.1))
        await room.ask_aloud(0.4)
        await room.hear(silence(2.0))
        assert room.said == [*WHOLE, ("user", ROME), ("assistant", ABOUT_ROME)]


@pytest.mark.parametrize(
    ("texts", "answers"),
    [
        ({0.2: BROKEN}, {}),
        ({0.2: "Why?"}, {"Why?": f"Because {BROKEN}"}),
        ({0.2: "Why?"}, {"Why?": f"Because it is {BROKEN}. So it is."}),
    ],
)
async def test_an_error_ends_its_turn_and_the_session_goes_on(
    texts: dict[float, str], answers: dict[str, str]
) -> None:
    room = Room(texts, answers)
    async with room.open():
        await room.ask_aloud(0.2)
        await room.hear(silence(1.0))
        assert [type(event.error) for event in room.of(SessionError)] == [InferenceFailed]  # type: ignore[attr-defined]
        assert len(room.of(TurnDone)) == 1
        await room.ask_aloud()
        await room.hear(silence(2.5))
        assert room.said[-1] == ("assistant", ANSWER)
    assert [trace.outcome for trace in room.traces] == ["error", "done"]


async def test_a_turn_that_cannot_begin_to_listen_ends_the_session() -> None:
    room = Room({})

    def unknown(prior: str = "") -> None:
        raise InferenceFailed("no engine")

    room.recogniser.hear = unknown  # type: ignore[assignment, method-assign]
    async with Session(room.conversation()) as session:
        with pytest.raises(InferenceFailed):
            _ = [event async for event in session]
        with pytest.raises(StreamClosed):
            session.ask("Why?")


async def test_a_prompt_that_is_too_long_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room({})

    def fitted(messages: Sequence[Message]) -> list[Message]:
        if "long" in messages[-1].text:
            raise TextError("too long")
        return list(messages)

    monkeypatch.setattr(room.replier, "fitted", fitted)
    async with room.open() as session:
        session.ask("long")
        await room.settle()
        await room.ask_aloud()
        await room.hear(silence(2.5))
        assert room.said == WHOLE


async def test_cancel_cuts_the_answer_and_nothing_else() -> None:
    room = Room({})
    async with room.open() as session:
        session.cancel()
        await room.ask_aloud()
        await room.hear(silence(0.6))
        session.cancel()
        await room.settle()
        assert room.said == [("user", QUESTION), ("assistant", "Paris is")]
        assert room.of(Interrupted) == [Interrupted("Paris is", "cancelled")]
        session.cancel()
        await room.ask_aloud()
        await room.hear(silence(2.5))
        assert room.said[-1] == ("assistant", ANSWER)
    assert len(room.of(Interrupted)) == 1


async def test_a_question_may_be_typed_while_it_listens_and_while_it_answers() -> None:
    room = Room({})
    async with room.open() as session:
        await room.hear(sound(0.3, 0.5))
        session.ask(ROME)
        await room.settle()
        assert room.said == [("user", ROME), ("assistant", ABOUT_ROME)]  # what was made, so far
        await room.hear(silence(0.45))
        session.ask(QUESTION)
        await room.settle()
        await room.hear(silence(2.5))
        assert room.said == [("user", ROME), ("assistant", "Rome is"), *WHOLE]
    assert room.of(Interrupted) == [Interrupted("Rome is", "asked")]
    assert len(room.of(TurnDone)) == 2


async def test_questions_that_are_typed_at_once_are_one() -> None:
    room = Room({})
    async with room.open() as session:
        session.ask("Where are you?")
        session.ask(" And when? ")
        await room.settle()
        await room.hear(silence(2.5))
        assert room.said == [("user", "Where are you? And when?"), ("assistant", ANSWER)]
        with pytest.raises(EmptyText):
            session.ask("  ")


async def test_a_typed_question_is_kept_when_the_next_one_cuts_its_answer() -> None:
    room = Room({})
    async with room.open() as session:
        session.ask("Where are you?")
        for _ in range(3):
            await asyncio.sleep(0)
        session.ask("And when?")
        await room.hear(silence(2.5))
        assert room.said == [("user", "Where are you? And when?"), ("assistant", ANSWER)]


async def test_an_answer_may_be_asked_for_before_the_silence() -> None:
    room = Room({})
    async with room.open() as session:
        await room.hear(sound(0.3, 0.6))
        session.answer()
        await room.settle()
        assert room.questions == [QUESTION]
        session.answer()  # one is being made
        await room.hear(silence(2.5))
        assert room.said == WHOLE
    assert len(room.of(TurnDone)) == 1


async def test_an_answer_may_be_asked_for_to_the_dialogue_s_last_question() -> None:
    room = Room({})
    async with room.open() as session:
        session.messages = [Message("user", ROME)]
        session.answer()
        await room.settle()
        await room.hear(silence(1.5))
        assert room.said == [("user", ROME), ("assistant", ABOUT_ROME)]
        session.answer()  # the dialogue ends with an answer
        await room.settle()
        assert room.said == [("user", ROME), ("assistant", ABOUT_ROME)]


async def test_what_was_played_decides_what_was_heard() -> None:
    room = Room({})
    async with room.open() as session:
        await room.ask_aloud()
        session.played(530.0)  # half of the first sentence
        session.cancel()
        await room.settle()
        assert room.said == [("user", QUESTION), ("assistant", "Paris is")]
        session.played(800.0)  # more had sounded when the loudspeaker stopped
        assert room.said == [("user", QUESTION), ("assistant", "Paris is the")]
        session.played(0.0)
        assert room.said == [("user", QUESTION)]
        session.played(1050.0)
        assert room.said == [("user", QUESTION), ("assistant", "Paris is the capital.")]


async def test_an_answer_that_was_played_sooner_than_the_clock_says_is_over() -> None:
    room = Room({})
    async with room.open() as session:
        await room.ask_aloud()
        session.played(60_000.0)
        await room.settle()
        await room.ask_aloud(0.4)
        await room.hear(silence(1.0))
        assert room.said[:3] == [*WHOLE, ("user", ROME)]
    assert room.of(Interrupted) == []


async def test_the_dialogue_can_be_saved_and_loaded(tmp_path: Path) -> None:
    room, other = Room({}), Room({})
    async with room.open() as session:
        await room.ask_aloud()
        await room.hear(silence(2.5))
        session.save(tmp_path / "dialogue.json")
        messages = session.messages
        assert messages[-1].ids
    async with other.open() as session:
        session.load(tmp_path / "dialogue.json")
        assert session.messages == messages
        assert [m.ids for m in session.messages] == [m.ids for m in messages]
        for text in ("{}", "[", '[{"role": "user"}]', '[{"role": "bot", "text": ""}]', "\udcff"):
            (tmp_path / "no.json").write_bytes(text.encode("utf-8", "surrogateescape"))
            with pytest.raises(TextError, match=r"no\.json") as caught:
                session.load(tmp_path / "no.json")
            assert "\n" not in str(caught.value)
        assert session.messages == messages


async def test_events_say_where_in_the_session_they_lie() -> None:
    room = Room({})
    async with room.open():
        await room.ask_aloud()
        await room.hear(silence(2.7))
        await room.ask_aloud()
    first, second = (event.at for event in room.of(SpeechStarted))  # type: ignore[attr-defined]
    assert first < 1000
    assert abs(second - 4.0 * 16000) < 1000


async def test_after_it_was_closed_nothing_comes_and_everything_is_refused() -> None:
    room = Room({})
    async with room.open() as session:
        await room.ask_aloud()
    count = len(room.events)
    await session.aclose()
    assert len(room.events) == count
    assert [event async for event in session] == []
    for use in (lambda: session.push(silence(0.1)), session.answer, session.cancel):
        with pytest.raises(StreamClosed):
            use()


async def test_who_does_not_read_holds_up_the_answer_and_can_still_close() -> None:
    room = Room({})
    session = Session(room.conversation(), SessionOptions(ahead_s=2.0))
    room.session = session
    await room.hear(sound(0.3, 1.0), silence(1.0))
    session.push(silence(12.0))
    assert session.dropped_s == pytest.approx(10.0)
    await asyncio.wait_for(session.aclose(), 5)
    assert session.messages[1:] in ([], [Message("user", QUESTION)])


async def test_an_observer_s_error_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    room = Room({})
    room.traces = _Full()
    async with room.open() as session:
        session.ask(QUESTION)
        await room.hear(silence(6.0))
        session.ask(ROME)
        await room.hear(silence(6.0))
    assert len(room.of(TurnDone)) == 2
    assert "could not take its trace" in caplog.text


class _Full(list[Trace]):
    def append(self, trace: Trace) -> None:
        raise OSError("the disk is full")


async def test_messages_that_are_set_during_an_answer_are_the_dialogue() -> None:
    room = Room({})
    ours = [Message("system", "Be kind."), Message("user", "Hello."), Message("assistant", "Hi.")]
    async with room.open() as session:
        session.ask(QUESTION)
        await room.hear(silence(0.5))
        session.messages = ours
        await room.hear(silence(6.0))
        assert session.messages == ours
        session.messages.append(Message("user", "ignored"))
        assert session.messages == ours


async def test_what_feeds_a_session_that_has_ended_is_told() -> None:
    room = Room({})

    async def frames() -> AsyncIterator[AudioFrame]:
        while True:
            yield AudioFrame(silence(0.02), 16000, 0, 0.0)

    async with room.open(ahead_s=0.1) as session:
        feeding = asyncio.create_task(session.feed(frames()))
        await asyncio.sleep(0)
        session._task.cancel()
        with pytest.raises(StreamClosed):
            await asyncio.wait_for(feeding, 5)


async def test_what_was_cut_may_turn_out_to_have_been_heard_whole() -> None:
    room = Room({})
    async with room.open() as session:
        session.ask(QUESTION)
        await room.hear(silence(1.0))
        session.cancel()
        await room.settle()
        assert session.messages[-1].text != ANSWER
        session.played(600_000)
        assert session.messages[-1].text == ANSWER
