"""End-pointing: when speech begins, may have ended, goes on, has ended."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.messages import Heard, SpeechResumed, SpeechStarted, Utterance
from voxturn.runtime.stages.listen import WINDOW, Endpointer, Endpointing

from tests.conftest import FakeTurn, fed, tone


def heard(pattern: str, options: Endpointing | None = None) -> list[Heard]:
    """`s` a window of speech, `.` one of silence; each window holds its own number."""
    endpointer = Endpointer(options or Endpointing())
    out: list[Heard] = []
    for number, kind in enumerate(pattern):
        window = np.full(WINDOW, number, np.float32)
        out += endpointer.push(window, 0.9 if kind == "s" else 0.01)
    return out + list(endpointer.flush())


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


@given(st.text(alphabet="s.", max_size=400))
@settings(deadline=None, max_examples=200)
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
    events = [event async for event in fake_turn.stages.listen(fed(samples, frame))]
    assert kinds(events) == ["SpeechStarted", "suspected", "final"]
    final = events[-1]
    assert isinstance(final, Utterance)
    assert final.start % WINDOW == 0
    assert np.array_equal(final.samples, samples[final.start : final.start + final.samples.size])
