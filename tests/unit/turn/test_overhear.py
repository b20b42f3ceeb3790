"""What is said over an answer: what becomes of the answer, why, and what the dialogue holds
afterwards."""

from __future__ import annotations

import pytest
from voxturn.runtime.messages import (
    Interrupted,
    Paused,
    PcmChunk,
    Resumed,
    SessionError,
    TurnDone,
)
from voxturn.runtime.text.filter import Filtered, PassAll
from voxturn.runtime.turn.interrupt.after_ms import AfterMs
from voxturn.runtime.turn.interrupt.base import Strategy
from voxturn.runtime.turn.interrupt.never import Never
from voxturn.runtime.turn.interrupt.speech import AtOnce
from voxturn.runtime.turn.interrupt.words import AfterWords
from voxturn.runtime.turn.memory import heard_text

from tests.dialogues import (
    ABOUT_ROME,
    ANSWER,
    BROKEN,
    COUGH,
    QUESTION,
    ROME,
    WHOLE,
    Room,
    silence,
    sound,
)

ECHO = {
    round(0.11 + 0.01 * number, 2): word
    for number, word in enumerate(
        ["paris", "is", "the", "capitol.", "It", "lies", "on", "the", "sane"]
    )
}
"""What is heard of the answer, word by word."""


async def test_an_interruption_pauses_then_cuts_and_is_heard_from_its_beginning() -> None:
    room = Room({})
    async with room.open():
        await room.ask_aloud()
        await room.hear(silence(0.7), sound(0.4, 1.2), silence(2.5))
        assert room.said == [
            ("user", QUESTION),
            ("assistant", "Paris is the"),
            ("user", ROME),
            ("assistant", ABOUT_ROME),
        ]
    assert room.of(Paused) == [Paused()]
    assert room.of(Resumed) == []
    assert room.of(Interrupted) == [Interrupted("Paris is the", "5 words")]
    assert room.decisions == [("paused", "100 ms of speech"), ("cut", "5 words")]
    assert room.questions == [QUESTION, ROME]
    assert len(room.of(TurnDone)) == 2


async def test_what_was_heard_is_what_had_been_played_when_it_was_paused() -> None:
    room = Room({})
    async with room.open():
        await room.ask_aloud()
        await room.hear(silence(0.9), sound(0.4, 1.0), silence(0.1))
        chunks = [event for event in room.events if isinstance(event, PcmChunk)]
    paused, cut = room.traces[0].interruptions
    assert paused.sample == cut.sample
    told = room.traces[0].to_dict()["interruptions"]
    assert [(each["what"], each["heard"]) for each in told] == [("paused", ""), ("cut", ROME)]
    assert told[1]["at_ms"] - told[0]["at_ms"] == pytest.approx(1000 * (cut.at_s - paused.at_s))
    assert room.of(Interrupted)[0].heard == heard_text(chunks, cut.sample) != ""  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "language", "reason"),
    [
        (COUGH, "en", "no words"),
        ("Mhm.", "en", "backchannel"),
        ("Okay, okay.", "en", "backchannel"),
        ("أها.", "ar", "backchannel"),
        ("Paris is the", "en", "own voice"),
    ],
)
async def test_what_is_no_interruption_lets_the_answer_go_on(
    text: str, language: str, reason: str
) -> None:
    room = Room({0.2: text}, language=language)
    async with room.open():
        await room.ask_aloud()
        await room.hear(silence(0.5), sound(0.2, 0.5), silence(3.0))
        assert room.said == WHOLE
    assert room.decisions[:2] == [("paused", "100 ms of speech"), ("resumed", reason)]
    assert set(room.decisions[2:]) <= {("ignored", reason)}
    assert room.of(Resumed) == [Resumed(room.traces[0].interruptions[0].sample)]
    assert room.of(Interrupted) == []
    assert room.questions == [QUESTION]
    assert len(room.of(TurnDone)) == 1


async def test_a_listener_who_goes_on_to_speak_interrupts() -> None:
    room = Room({0.2: "Okay,", 0.25: "but what about Rome?"})
    async with room.open():
        await room.ask_aloud()
        await room.hear(silence(0.5), sound(0.2, 0.4), sound(0.25, 0.8), silence(0.5))
    assert room.of(Interrupted) != []
    assert room.questions == [QUESTION, "Okay, but what about Rome?"]


async def test_a_first_word_that_is_not_understood_keeps_the_answer_paused() -> None:
    room = Room({0.2: COUGH, 0.4: ROME})
    async with room.open():
        await room.ask_aloud()
        await room.hear(silence(0.9), sound(0.2, 0.3), silence(0.15), sound(0.4, 1.0), silence(0.1))
    assert [what for what, _ in room.decisions] == ["paused", "cut"]
    assert room.of(Resumed) == []


async def test_a_loudspeaker_in_the_microphone_chops_one_answer_and_asks_nothing() -> None:
    room = Room(ECHO)
    async with room.open():
        for _ in range(3):
            await room.ask_aloud()
            await room.hear_the_loudspeaker(4.0)
        assert room.said == WHOLE * 3
    assert len(room.of(Paused)) == len(room.of(Resumed)) <= 2
    reasons = {reason for what, reason in room.decisions if what != "paused"}
    assert reasons <= {"own voice", "no words"}
    assert room.questions == [QUESTION] * 3


async def test_who_speaks_over_the_own_voice_interrupts() -> None:
    room = Room(ECHO)
    async with room.open():
        await room.ask_aloud()
        await room.hear_the_loudspeaker(1.5)
        assert room.of(Interrupted) == []
        await room.hear(sound(0.4, 1.5), silence(2.5))
        assert room.said[-2:] == [("user", room.questions[-1]), ("assistant", ANSWER)]
    assert len(room.of(Interrupted)) == 1
    assert room.questions[-1].endswith(ROME)


async def test_each_false_pause_makes_the_next_one_later() -> None:
    room = Room({0.2: COUGH}, {QUESTION: ANSWER * 3})
    async with room.open():
        await room.ask_aloud()
        await room.hear(sound(0.2, 0.24), silence(0.5), sound(0.2, 0.1), silence(0.5))
        await room.hear(sound(0.2, 0.45), silence(9.0))
    assert room.decisions == [
        ("paused", "100 ms of speech"),
        ("resumed", "no words"),
        ("ignored", "no words"),
        ("paused", "150 ms of speech"),
        ("resumed", "no words"),
    ]


@pytest.mark.parametrize(
    ("strategy", "seconds", "reason"),
    [
        (AtOnce(), 0.3, "speech"),
        (AfterMs(400), 1.0, "400 ms of speech"),
        (AfterMs(400, pause_ms=0), 1.0, "400 ms of speech"),
        (AfterMs(400), 0.25, ""),
        (AfterWords(5), 1.0, "5 words"),
        (AfterWords(6), 1.0, ""),
        (Never(), 1.0, ""),
    ],
)
async def test_each_strategy(strategy: Strategy, seconds: float, reason: str) -> None:
    room = Room({})
    async with room.open(strategy):
        await room.ask_aloud()
        await room.hear(silence(0.4), sound(0.4, seconds), silence(4.0))
        assert len(room.said) == (4 if reason else 2)
    assert [event.reason for event in room.of(Interrupted)] == [reason] * bool(reason)  # type: ignore[attr-defined]
    assert bool(room.of(Paused)) == (strategy.pause_ms > 0)


async def test_without_partials_the_words_are_judged_when_the_speech_pauses() -> None:
    room = Room({})
    async with room.open(share=0.0):
        await room.ask_aloud()
        await room.hear(silence(0.4), sound(0.4, 1.2), silence(2.0))
    assert room.decisions == [("paused", "100 ms of speech"), ("cut", "5 words")]
    assert room.questions == [QUESTION, ROME]


async def test_speech_before_the_answer_begins_goes_on_with_the_question() -> None:
    room = Room(
        {0.3: "What is the capital"}, {"What is the capital Tell me about Rome instead.": "Rome."}
    )
    async with room.open():
        await room.hear(sound(0.3, 1.0), silence(0.85), sound(0.4, 1.0), silence(2.0))
        assert room.said == [("user", f"What is the capital {ROME}"), ("assistant", "Rome.")]
    assert [event.heard for event in room.of(Interrupted)] == [""]  # type: ignore[attr-defined]


async def test_an_interruption_at_the_end_of_the_answer_is_the_next_question() -> None:
    room = Room({})
    async with room.open():
        await room.ask_aloud()
        await room.hear(silence(1.92), sound(0.4, 1.2), silence(2.5))
        assert room.said == [*WHOLE, ("user", ROME), ("assistant", ABOUT_ROME)]
    assert room.of(Paused) == room.of(Interrupted) == []
    assert room.decisions == [("cut", "5 words")]
    assert room.questions == [QUESTION, ROME]


async def test_an_error_in_what_is_overheard_leaves_the_answer_alone() -> None:
    room = Room({0.2: BROKEN})
    async with room.open():
        await room.ask_aloud()
        await room.hear(silence(0.2), sound(0.2, 0.8), silence(3.0))
        assert room.said == WHOLE
        await room.ask_aloud()
        await room.hear(silence(2.5))
        assert room.said == WHOLE * 2
    assert room.decisions == [("paused", "100 ms of speech"), ("resumed", "error")]
    assert len(room.of(SessionError)) == 1
    assert len(room.of(TurnDone)) == 2


async def test_a_pause_that_nobody_ends_is_ended() -> None:
    room = Room({})
    async with room.open():
        await room.ask_aloud()
        await room.hear(silence(0.3), sound(0.4, 0.3))  # then the microphone is gone
        assert len(room.of(Paused)) == 1
        for _ in range(30):
            room.clock.advance(0.5)
            await room.settle()
        assert room.of(Resumed) != []


class _Masking(PassAll):
    """A filter that takes one word out, as it does with words of its list."""

    def check(self, text: str, direction: str, language: str = "") -> Filtered:
        masked = text.replace("Blast", "…")
        return Filtered(masked, ("masked",) if masked != text else ())


async def test_a_word_that_the_filter_takes_out_is_a_word() -> None:
    room = Room({0.2: "Blast!"})
    room.filter_with(_Masking())
    async with room.open(AfterWords(1)):
        await room.ask_aloud()
        await room.hear(silence(0.7), sound(0.2, 0.6), silence(1.0))
    assert room.decisions[-1] == ("cut", "1 word")


async def test_yeah_to_a_question_is_an_answer_and_yeah_to_a_statement_is_not() -> None:
    asks, says = "Shall I book the train to Rome?", "I have booked the train to Rome."
    for answer, questions in ((asks, [QUESTION, "Yeah."]), (says, [QUESTION])):
        room = Room({0.2: "Yeah."}, {QUESTION: answer})
        async with room.open():
            await room.ask_aloud()
            await room.hear(silence(1.0), sound(0.2, 0.4), silence(2.0))
        assert room.questions == questions, answer


async def test_one_answer_that_is_not_heard_says_that_the_far_end_has_no_echo_any_more() -> None:
    room = Room(ECHO, {QUESTION: ANSWER * 2})
    async with room.open():
        await room.ask_aloud()
        await room.hear_the_loudspeaker(6.0)
        assert room.session._hears_itself  # as the next turn begins with
        await room.ask_aloud()
        await room.hear(silence(6.0))
        assert not room.session._hears_itself


async def test_a_pause_before_an_error_has_its_end() -> None:
    room = Room({}, {QUESTION: BROKEN})
    async with room.open():
        await room.ask_aloud()
        await room.hear(sound(0.4, 0.3), silence(2.0))
    assert len(room.of(Paused)) <= len(room.of(Resumed)) + len(room.of(Interrupted))
