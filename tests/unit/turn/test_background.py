"""Who speaks to the microphone, and who talks behind him: levels and probabilities in, as a
detector gives them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.turn.background import Background

WINDOW = 512
PER_S = 16000 // WINDOW


def window(db: float) -> np.ndarray:
    signs = np.where(np.arange(WINDOW) % 2 == 0, 1.0, -1.0)
    return (10 ** (db / 20) * signs).astype(np.float32)


def heard(*parts: tuple[float, float, float]) -> list[float]:
    """What becomes of parts of so many seconds, dB and probability."""
    background = Background()
    return [
        background.foreground(window(db), probability)
        for seconds, db, probability in parts
        for _ in range(round(seconds * PER_S))
    ]


def test_talk_behind_a_speaker_is_none_and_he_is_heard() -> None:
    out = heard((4.0, -34, 0.8), (2.0, -24, 0.95), (1.0, -34, 0.8))
    begin, end = 4 * PER_S, 6 * PER_S
    assert not any(out[3 * PER_S + 5 : begin])
    assert out[begin + 1 : end] == [0.95] * (2 * PER_S - 1)
    assert not any(out[end + 7 :])


def test_the_soft_end_of_a_word_is_the_speaker_s() -> None:
    behind, word, end = (4.0, -34, 0.8), (0.5, -24, 0.95), (0.12, -33, 0.9)
    assert all(heard(behind, word, end, word, end)[4 * PER_S + 1 :])


def test_silence_and_steady_noise_change_nothing() -> None:
    for behind_db, probability in ((-90, 0.01), (-30, 0.1)):
        parts = [
            (2.0, behind_db, probability),
            (3.0, -26, 0.9),
            (1.0, -24, 0.6),
            (1.0, behind_db, 0.02),
        ]
        expected = [p for seconds, _, p in parts for _ in range(round(seconds * PER_S))]
        assert heard(*parts) == expected


def test_a_speaker_who_begins_at_once_is_heard() -> None:
    assert heard((1.9, -24, 0.9)) == [0.9] * 59


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(-90, 0), st.floats(0, 1)), max_size=60))
def test_nothing_becomes_more_likely(parts: list[tuple[float, float]]) -> None:
    background = Background()
    for db, probability in parts:
        assert background.foreground(window(db), probability) in (0.0, probability)
