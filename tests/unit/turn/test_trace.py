"""The trace: playback, marks relative to the end of speech, plain data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.messages import PcmChunk, Sentence
from voxturn.runtime.turn.trace import StageInfo, Trace, play

SENTENCE = Sentence("x", 0)


def chunk(seconds: float, start: float, lead: float = 0.0) -> PcmChunk:
    samples = np.full(int(1000 * seconds), 0.5, np.float32)
    samples[: int(1000 * lead)] = 0.0
    return PcmChunk(samples, 1000, int(1000 * start), SENTENCE)


def test_audio_that_comes_in_time_has_no_underrun() -> None:
    played = play([(10.0, chunk(1.0, 0.0, lead=0.2)), (10.9, chunk(1.0, 1.0))])
    assert (round(played.onset_s or 0, 3), played.underruns, played.stalled_s) == (10.2, 0, 0.0)


def test_audio_that_comes_late_stalls() -> None:
    played = play([(10.0, chunk(1.0, 0.0)), (11.5, chunk(1.0, 1.0)), (12.6, chunk(1.0, 2.0))])
    assert played.underruns == 2
    assert round(played.stalled_s, 3) == 0.6


def test_silent_chunks_have_no_onset() -> None:
    assert play([(1.0, chunk(0.5, 0.0, lead=0.5))]).onset_s is None
    assert play([]).onset_s is None


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0.01, 1)), min_size=1, max_size=20))
def test_stalls_are_exactly_what_playback_lacks(gaps: list[tuple[float, float]]) -> None:
    ready, now, length = [], 0.0, 0.0
    for gap, seconds in gaps:
        now += gap
        ready.append((now, chunk(seconds, 0.0)))
        length += int(1000 * seconds) / 1000
    played = play(ready)
    finish = max(
        r + sum(c.samples.size for _, c in ready[i:]) / 1000 for i, (r, _) in enumerate(ready)
    )
    assert abs(ready[0][0] + length + played.stalled_s - finish) < 1e-4


def test_times_are_relative_to_the_end_of_speech() -> None:
    trace = Trace("p", {"reply": StageInfo("m", "int8", "onnx", "ab", 2)}, "native")
    trace.marks = {"speech_end": 5.0, "endpoint": 5.4}
    trace.call("reply", 5.5, 5.51)
    trace.call("reply", 5.5105, 5.52)
    trace.call("other", 6.0, 6.1)
    trace.chunks = [(5.6, chunk(1.0, 0.0, lead=0.1))]
    data = json.loads(trace.to_json())
    assert data["times_ms"] == {"speech_end": 0.0, "endpoint": 400.0, "audible_onset": 700.0}
    assert data["times_samples"]["endpoint"] == 6400
    assert data["response_ms"] == 300.0
    assert data["endpoint_wait_ms"] == 400.0
    assert data["stages"]["reply"]["spans_ms"] == [[500.0, 520.0]]
    assert data["stages"]["reply"]["calls"] == 2
    assert data["stages"]["reply"]["busy_ms"] == 19.5
    assert data["stages"]["other"]["busy_ms"] == 100.0


def test_an_empty_trace_is_plain_data_too() -> None:
    data = Trace("p", {}, "numpy").to_dict()
    assert (data["outcome"], data["response_ms"], data["audio_ms"], data["times_ms"]) == (
        "open",
        None,
        0,
        {},
    )


def test_styles_that_the_voice_has_not_are_noted_once() -> None:
    trace = Trace("p", {}, "numpy", styles=("happy",))
    for index, style in enumerate(("", "happy", "furious", "merry", "furious")):
        trace.event(Sentence("Yes.", index, style=style), 0.0, 0.0)
    assert trace.to_dict()["unknown_styles"] == ["furious", "merry"]


def test_hours_of_listening_keep_their_sums_and_the_last_calls() -> None:
    trace = Trace("fake", {}, "numpy")
    for number in range(100_000):
        trace.call("listen", number / 31, number / 31 + 0.001)
    assert len(trace.spans) < 5000
    told = trace.to_dict()["stages"]["listen"]
    assert told["calls"] == 100_000
    assert told["busy_ms"] == pytest.approx(100_000)
