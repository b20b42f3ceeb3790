"""The stop guard on scripted traces: it ends what was missed, and cuts nothing that goes on with
reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.families.xtts.stop_guard import GuardOptions, SilenceGuard, StopGuard

OPTIONS = GuardOptions()


def ends_at(trace: Sequence[tuple[int, float]], tokens: int = 20) -> tuple[int, str]:
    """Before which code the guard ends a trace of codes and stop probabilities; -1 if it does not."""
    guard = StopGuard(tokens)
    for i, (code, probability) in enumerate(trace):
        if reason := guard.reason(code, probability):
            return i, reason
    return -1, ""


def test_an_ordinary_end_is_left_to_the_stop_token() -> None:
    assert ends_at([(i, 0.001) for i in range(60)] + [(61, 0.2), (62, 0.85)]) == (-1, "")


def test_a_missed_stop_ends_within_a_few_codes() -> None:
    at, reason = ends_at([(i, 0.001) for i in range(60)] + [(i, 0.7) for i in range(200)])
    assert 62 <= at <= 65
    assert "the stop was missed" in reason


def test_a_pause_that_looks_like_an_end_is_not_one() -> None:
    """One step that was nearly a stop, in the middle of a sentence, as the speaking checkpoint has
    it."""
    assert ends_at(
        [(i, 0.0) for i in range(9)] + [(9, 0.6)] + [(i, 0.0) for i in range(61)] + [(1, 0.9)]
    ) == (-1, "")


def test_low_probabilities_over_a_long_text_are_no_end() -> None:
    assert ends_at([(i % 900, 0.005) for i in range(600)], tokens=300) == (-1, "")


def test_speech_without_any_stop_ends_by_its_length() -> None:
    at, reason = ends_at([(i % 700, 0.0) for i in range(600)], tokens=3)
    assert at == OPTIONS.codes_spare + 3 * OPTIONS.codes_per_token
    assert "no stop within" in reason


def test_codes_in_a_circle_end_once_an_end_was_likely() -> None:
    at, reason = ends_at(
        [(i, 0.0) for i in range(20)] + [(20, 0.4)] + [(i % 3, 0.0) for i in range(100)]
    )
    assert 50 <= at <= 56
    assert "circle" in reason


def test_codes_in_a_circle_before_any_end_are_a_long_vowel() -> None:
    assert ends_at([(i % 3, 0.0) for i in range(150)])[0] == -1


def test_silence_ends_once_an_end_was_likely_and_where_it_does_not_end() -> None:
    rate, loud, quiet = 1000, np.full(500, 0.5, np.float32), np.zeros(500, np.float32)
    pause = SilenceGuard(rate)
    assert [pause.keeps(part, 0.0) for part in (loud, quiet, quiet, loud, quiet)] == [None] * 5
    end = SilenceGuard(rate)
    assert [end.keeps(part, 0.4) for part in (loud, quiet)] == [None, None]
    assert end.keeps(quiet, 0.4) == 0  # a second of silence: more than the tail was heard already
    late = SilenceGuard(rate)
    assert late.keeps(np.concatenate([loud, quiet, quiet]), 0.4) == 500 + int(OPTIONS.tail_s * rate)
    dead = SilenceGuard(rate)
    kept = [dead.keeps(quiet, 0.0) for _ in range(int(OPTIONS.dead_s * 2))]
    assert kept == [*[None] * (len(kept) - 1), 0]


@given(st.lists(st.tuples(st.integers(0, 1023), st.floats(0, 1)), max_size=300), st.integers(1, 60))
def test_a_sentence_is_cut_only_for_a_reason_that_its_trace_has(
    trace: list[tuple[int, float]], tokens: int
) -> None:
    at, reason = ends_at(trace, tokens)
    goes_on = 1.0
    for _, probability in trace[: max(at, 0)]:
        goes_on *= 1.0 - probability
    if "missed" in reason:
        assert 1.0 - goes_on >= OPTIONS.sure
    elif "circle" in reason:
        assert 1.0 - goes_on >= OPTIONS.likely
    elif reason:
        assert at == OPTIONS.codes_spare + OPTIONS.codes_per_token * tokens
    else:
        assert at == -1
        assert len(trace) <= OPTIONS.codes_spare + OPTIONS.codes_per_token * tokens or not trace
