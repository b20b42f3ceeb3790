"""End-pointing: when speech begins, may have ended, goes on, has ended."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.messages import Heard, Speaking, SpeechResumed, SpeechStarted, Utterance
from voxturn.runtime.turn.listen import WINDOW, Endpointer, Endpointing

from tests.conftest import FakeTurn, fed, tone


def all_heard(
    pattern: str, options: Endpointing | None = None, finished: float | None = None
) -> list[Heard]:
    """`s` a window of speech, `?` one that may be, `.` one of silence; each window holds its own
    number."""
    endpointer = Endpointer(options or Endpointing())
    out: list[Heard] = []
    for number, kind in enumerate(pattern):
        window = np.full(WINDOW, number, np.float32)
        out += endpointer.push(window, {"s": 0.9, "?": 0.2, ".": 0.01}[kind], finished)
    return out + list(endpointer.flush())


def heard(
    pattern: str, options: Endpointing | None = None, finished: float | None = None
) -> list[Heard]:
    """What is heard, without the speech while it goes on."""
    return [
        event for event in all_heard(pattern, options, finished) if not isinstance(event, Speaking)
    ]


def kinds(events: list[Heard]) -> list[str]:
    def name(event: Heard) -> str:
        if isinstance(event, Utterance):
            return ("final" if event.final else "suspected") + ("+" if event.more else "")
        return type(event).__name__

    return [name(event) for event in events]


def test_silence_gives_nothing() -> None:
    assert heard("." * 200) == []


def test_a_click_is_no_speech() -> None:
    assert heard("....s....s....") == []


def test_speech_is_started_suspected_and_final() -> None:
    events = heard("." * 20 + "s" * 30 + "." * 20)
    assert kinds(events) == ["SpeechStarted", "suspected", "final"]
    started, suspected, final = events
    assert isinstance(started, SpeechStarted)
    assert isinstance(suspected, Utterance)
    assert isinstance(final, Utterance)
    assert started.at == 20 * WINDOW
    assert suspected.start == final.start == (20 - 6) * WINDOW  # 192 ms before the speech
    assert final.samples is suspected.samples  # what was begun on suspicion stays valid
    assert final.samples[0] == final.start / WINDOW
    assert final.samples[-1] == 52  # three silent windows


@pytest.mark.parametrize(("doubtful", "kept"), [(0, 6), (1, 7), (12, 18), (31, 36), (60, 36)])
def test_what_is_heard_begins_before_the_first_doubt(doubtful: int, kept: int) -> None:
    events = heard("." * 80 + "?" * doubtful + "s" * 30 + "." * 20)
    started, final = events[0], events[-1]
    assert isinstance(started, SpeechStarted)
    assert isinstance(final, Utterance)
    assert started.at == (80 + doubtful) * WINDOW
    assert started.at - final.start == kept * WINDOW


def test_a_doubt_that_passed_is_not_heard() -> None:
    _, final = heard("." * 20 + "?" * 20 + "." * 20 + "s" * 30)
    assert isinstance(final, Utterance)
    assert final.start == (60 - 6) * WINDOW


def test_speech_that_resumes_voids_the_suspicion() -> None:
    events = heard("s" * 10 + "." * 5 + "s" * 10 + "." * 20)
    assert kinds(events) == ["SpeechStarted", "suspected", "SpeechResumed", "suspected", "final"]
    resumed, last = events[2], events[-1]
    assert isinstance(resumed, SpeechResumed)
    assert isinstance(last, Utterance)
    assert resumed.at == 15 * WINDOW
    assert last.samples.size == 28 * WINDOW


def test_the_end_of_the_input_is_the_end_of_the_utterance() -> None:
    assert kinds(heard("s" * 10)) == ["SpeechStarted", "final"]
    assert kinds(heard("s" * 10 + "." * 4)) == ["SpeechStarted", "suspected", "final"]


def test_long_speech_is_cut_at_a_pause_and_goes_on() -> None:
    options = Endpointing(cut_s=1.0, max_s=2.0)
    events = heard("s" * 40 + "." + "s" * 20 + "." * 20, options)
    assert kinds(events) == ["SpeechStarted", "final+", "suspected", "final"]
    first, last = events[1], events[-1]
    assert isinstance(first, Utterance)
    assert isinstance(last, Utterance)
    assert first.start + first.samples.size == last.start


def test_long_speech_without_a_pause_is_cut_anywhere() -> None:
    events = heard("s" * 200, Endpointing(cut_s=1.0, max_s=2.0))
    sizes = [event.samples.size / 16000 for event in events if isinstance(event, Utterance)]
    assert len(sizes) > 2
    assert max(sizes) <= 2.0 + WINDOW / 16000


def test_silence_after_a_cut_ends_in_an_empty_utterance() -> None:
    events = heard("s" * 40 + "." * 30, Endpointing(cut_s=1.0, max_s=2.0))
    last = events[-1]
    assert isinstance(last, Utterance)
    assert kinds(events) == ["SpeechStarted", "final+", "suspected", "final"]
    assert last.samples.size == 0


def test_every_window_of_speech_gives_the_speech_so_far() -> None:
    events = all_heard("." * 20 + "s" * 10 + "." * 5 + "s" * 2 + "." * 20)
    speech = [event for event in events if isinstance(event, Speaking)]
    assert len(speech) == 10  # the first two make the beginning certain
    assert {event.start for event in speech} == {14 * WINDOW}
    assert [int(event.samples[-1]) for event in speech] == [*range(22, 30), 35, 36]
    final = events[-1]
    assert isinstance(final, Utterance)
    assert all(
        np.array_equal(event.samples, final.samples[: event.samples.size]) for event in speech
    )
    resumed = next(i for i, event in enumerate(events) if isinstance(event, SpeechResumed))
    assert isinstance(
        events[resumed + 1], Speaking
    )  # what was suspected is void before speech is heard again


def silences(finished: float | None, options: Endpointing) -> int:
    """How many silent windows end an utterance."""
    return next(
        n
        for n in range(200)
        if kinds(heard("s" * 10 + "." * n + "s" * 9, options, finished)).count("final") > 1
    )


def test_the_wait_depends_on_whether_the_words_are_finished() -> None:
    options = Endpointing(finished_ms=256, end_ms=384, unfinished_ms=960)
    assert [silences(f, options) for f in (1.0, None, 0.5, 0.0)] == [8, 12, 12, 30]
    assert 8 < silences(0.8, options) < 12 < silences(0.2, options) < 30


def test_eager_halves_the_wait_and_its_opposite_doubles_it() -> None:
    for eager, count in ((0.0, 24), (0.5, 12), (1.0, 6)):
        assert silences(None, Endpointing(end_ms=384, eager=eager)) == count
    assert (
        silences(1.0, Endpointing(suspect_ms=96, finished_ms=96, eager=1.0)) == 3
    )  # never before it is suspected


def test_what_is_known_later_shortens_a_wait_that_has_begun() -> None:
    endpointer = Endpointer(Endpointing(finished_ms=256, end_ms=384))
    pattern = "s" * 10 + "." * 30
    knowing = [None] * 16 + [1.0] * 24  # after six silent windows
    ended = [
        number
        for number, (kind, finished) in enumerate(zip(pattern, knowing, strict=True))
        for event in endpointer.push(
            np.zeros(WINDOW, np.float32), 0.9 if kind == "s" else 0.01, finished
        )
        if isinstance(event, Utterance) and event.final
    ]
    assert ended == [10 + 8 - 1]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_wait_falls_with_what_is_finished_and_with_eagerness(
    low: float, high: float, eager: float
) -> None:
    low, high = sorted((low, high))
    options = Endpointing(eager=eager)
    assert options.suspect_ms <= options.wait_ms(high) <= options.wait_ms(low)
    assert Endpointing(eager=high).wait_ms(eager) <= Endpointing(eager=low).wait_ms(eager)


@given(st.text(alphabet="s.", max_size=400))
@settings(max_examples=200)
def test_any_pattern_ends_every_utterance_and_covers_all_speech(pattern: str) -> None:
    events = heard(pattern)
    utterances = [e for e in events if isinstance(e, Utterance) and e.final]
    assert kinds(events).count("SpeechStarted") == sum(not u.more for u in utterances)
    covered = {int(x) for u in utterances for x in u.samples[::WINDOW]}
    runs = [i for i in range(len(pattern) - 1) if pattern[i : i + 2] == "ss"]
    assert {i for run in runs for i in (run, run + 1)} <= covered


@pytest.mark.parametrize("frame", [160, 320, 512, 4001, 16000])
async def test_any_frame_size_gives_the_same_utterance(fake_turn: FakeTurn, frame: int) -> None:
    samples = np.concatenate([np.zeros(8000, np.float32), tone(1.0, 1.0)])
    stream = fake_turn.stages.listen(fed(samples, frame))
    events = [event async for event in stream if not isinstance(event, Speaking)]
    assert kinds(events) == ["SpeechStarted", "suspected", "final"]
    final = events[-1]
    assert isinstance(final, Utterance)
    assert final.start % WINDOW == 0
    assert np.array_equal(final.samples, samples[final.start : final.start + final.samples.size])
