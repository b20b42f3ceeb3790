"""Durations of symbols as times of words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.families.vits.word_times import word_times

SYMBOLS = {symbol: i for i, symbol in enumerate(["<BLNK>", *" abcdefghijklmnopqrstuvwxyz.,'ˈ"])}


def ids(text: str, blanks: bool = False) -> list[int]:
    found = [SYMBOLS[char] for char in text]
    return [0, *(each for i in found for each in (i, 0))] if blanks else found


def test_words_lie_between_spaces() -> None:
    text = "ab c."
    words = word_times(text, ids(text), [1, 2, 4, 3, 2], SYMBOLS, 0.01)
    assert [(w.text, w.begin_s, w.end_s) for w in words] == [
        ("ab", 0.0, pytest.approx(0.03)),
        ("c.", pytest.approx(0.07), pytest.approx(0.12)),
    ]


def test_blanks_count_with_the_word_that_they_stand_at() -> None:
    words = word_times("a b", ids("a b", blanks=True), [1] * 7, SYMBOLS, 1.0)
    assert [(w.begin_s, w.end_s) for w in words] == [(0, 3), (4, 7)]


def test_marks_alone_are_no_words_and_phonemes_are_the_texts() -> None:
    words = word_times("To be , here", ids("tˈa bi , hia"), [1] * 12, SYMBOLS, 1.0)
    assert [w.text for w in words] == ["To", "be", "here"]


def test_words_that_a_phonemizer_has_joined_have_no_times() -> None:
    assert word_times("of the sea", ids("ofthe sea"), [1] * 9, SYMBOLS, 1.0) == ()


@given(st.lists(st.text("abcdef.,'", min_size=1, max_size=6), max_size=6), st.data())
def test_times_rise_and_end_with_the_sound(words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    frames = data.draw(st.lists(st.integers(1, 9), min_size=len(text), max_size=len(text)))
    times = word_times(text, ids(text), frames, SYMBOLS, 0.5)
    assert [w.text for w in times] == [w for w in words if any(c.isalnum() for c in w)]
    ends = [moment for w in times for moment in (w.begin_s, w.end_s)]
    assert ends == sorted(ends)
    assert not ends or ends[-1] <= sum(frames) * 0.5
