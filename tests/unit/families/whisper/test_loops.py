"""Whether what a hypothesis repeats was said: by the sound that each time has of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.families.whisper.loops import (
    Repetition,
    divided,
    repetitions,
    sounding,
    without_audio,
)

FASTEST = 9.0


def runs(text: str) -> list[tuple[int, int, int]]:
    return [(run.start, run.period, run.stop) for run in repetitions(text.split())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("one", []),
        ("I would like to sing and I would like to dance", []),
        ("no no no", [(0, 1, 3)]),
        ("No, no, no. I said no.", [(0, 1, 3)]),
        ("whatever they were, whatever they were.", [(0, 3, 6)]),
        ("say one two one two one", [(1, 2, 6)]),
        ("a b c d e f g h a b c d e f g h", [(0, 8, 16)]),
        ("by the old grey sea we sat by the old grey sea", [(0, 7, 12)]),
        ("by the sea we sat by the sea", []),
        ("की का की का", [(0, 2, 4)]),
        ("की का", []),
    ],
)
def test_what_is_said_again(text: str, expected: list[tuple[int, int, int]]) -> None:
    assert runs(text) == expected


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("", []),
        ("a", ["a"]),
        ("banana", ["banana"]),
        ("aaaaa", ["aaaaa"]),
        ("aaaaaa", ["a"] * 6),
        ("hahahahaha", ["hahahahaha"]),
        ("xhahahahahahah", ["x", *["ha"] * 6, "h"]),
        ("abcabcabcabcabcabcdef", [*["abc"] * 6, "def"]),
        ("aaaaaabbbbbb", [*"aaaaaabbbbbb"]),
    ],
)
def test_a_word_that_says_itself_again_is_divided(word: str, parts: list[str]) -> None:
    assert divided(tuple(map(ord, word))) == [tuple(map(ord, part)) for part in parts]


@given(st.lists(st.integers(0, 3), max_size=60).map(tuple))
def test_a_divided_word_has_all_its_tokens(word: tuple[int, ...]) -> None:
    assert tuple(token for part in divided(word) for token in part) == word


def test_the_times_of_a_repetition() -> None:
    assert Repetition(1, 2, 6).times() == [(1, 3), (3, 5), (5, 6)]


def missing(text: str, seconds: Sequence[float], silent: Sequence[int] = ()) -> list[str]:
    """The words that were not said; a word lasts so many seconds, in those of `silent` nothing
    sounds."""
    words = text.split()
    begins = [round(50 * sum(seconds[:n])) for n in range(len(words) + 1)]
    sounds = np.ones(begins[-1], np.bool_)
    for word in silent:
        sounds[begins[word] : begins[word + 1]] = False
    found = without_audio(repetitions(words), list(range(len(words) + 1)), begins, sounds, FASTEST)
    return [" ".join(words[begin:end]) for begin, end in found]


@given(
    st.integers(1, 8),
    st.integers(2, 5),
    st.lists(st.floats(0.2, 0.45), min_size=40, max_size=40),
)
@settings(max_examples=60)
def test_of_what_was_said_each_time_nothing_is_missing(
    period: int, times: int, seconds: list[float]
) -> None:
    text = " ".join(f"w{n}" for n in range(period))
    assert missing(" ".join([text] * times), seconds[: period * times]) == []


@given(st.integers(1, 8), st.integers(2, 5), st.floats(0.2, 0.5))
@settings(max_examples=60)
def test_of_a_loop_all_but_the_time_that_was_said_is_missing(
    period: int, times: int, length: float
) -> None:
    text = " ".join(f"w{n}" for n in range(period))
    seconds = [length] * period + [0.02] * (period * (times - 1))
    assert missing(" ".join([text] * times), seconds) == [text] * (times - 1)


def test_it_does_not_matter_which_time_has_the_audio() -> None:
    assert missing("go on go on", [0.02, 0.02, 0.3, 0.3]) == ["go on"]


def test_a_loop_in_the_silence_after_speech_has_no_sound() -> None:
    text = "by the sea by the sea"
    assert missing(text, [0.3] * 6) == []
    assert missing(text, [0.3] * 6, silent=(3, 4, 5)) == ["by the sea"]


def test_what_is_faster_than_anybody_speaks_was_said_less_often() -> None:
    assert missing("go on go on go on", [0.04] * 6) == ["go on", "go on"]
    assert missing("go on go on go on", [0.08] * 6) == ["go on"]  # twice at the most


def test_sound_is_what_is_louder_than_the_background_and_near_the_loudest() -> None:
    random = np.random.default_rng(0)
    quiet, loud = (a * random.standard_normal(16000).astype(np.float32) for a in (0.001, 0.1))
    sounds = sounding(np.concatenate([quiet, loud, quiet]))
    assert sounds.size == 150
    assert sounds[50:100].all()
    assert not sounds[:50].any()
    assert not sounds[100:].any()


@pytest.mark.parametrize("level", [0.001, 0.5])
def test_steady_sound_sounds(level: float) -> None:
    assert sounding(np.full(16000, level, np.float32)).all()


def test_silence_does_not_sound() -> None:
    assert not sounding(np.full(16000, 1 / 32768, np.float32)).any()
    assert not sounding(np.zeros(16000, np.float32)).any()


def test_no_samples_have_no_positions() -> None:
    assert sounding(np.zeros(0, np.float32)).size == 0
    assert sounding(np.ones(321, np.float32)).size == 2
