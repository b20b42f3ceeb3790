"""Word errors: jiwer's counts are those of the Levenshtein distance that earlier results were made
with."""

from __future__ import annotations

import importlib
import re
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.bench import words as word_errors
from voxturn.bench.words import error_rate, errors, runaway, words
from voxturn.runtime.errors import ExecutorUnavailable

WORDS = [
    "the",
    "The",
    "a",
    "cat's",
    "dog",
    "it's",
    "'tis",
    "3.50",
    "$",
    "–",
    ",",
    "naïve",
    "İ",
    "ß",
    "١٢",
    "مرحبا",
    "你好",
    "வாக்கு",
    "x_y",
    "don’t",
]
TEXTS = st.one_of(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), st.text(max_size=40))
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5)


def expected_words(text: str) -> list[str]:
    marks = "".join(sorted({c for c in text.lower() if unicodedata.category(c).startswith("M")}))
    return re.findall(rf"[\w'{re.escape(marks)}]+", text.lower())


def test_vowel_signs_belong_to_their_word() -> None:
    assert words("காலை வணக்கம்.") == ["காலை", "வணக்கம்"]


def expected_errors(reference: str, transcript: str) -> tuple[int, int]:
    """The Levenshtein distance over words, row by row."""
    a, b = expected_words(reference), expected_words(transcript)
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1], len(a)


@pytest.mark.slow
@settings(max_examples=500)
@given(TEXTS, TEXTS)
def test_a_pair_has_the_levenshtein_distance(reference: str, transcript: str) -> None:
    assert words(reference) == expected_words(reference)
    assert errors(reference, transcript) == expected_errors(reference, transcript)


@pytest.mark.slow
@settings(max_examples=200)
@given(PAIRS)
def test_a_rate_is_errors_of_all_over_words_of_all(pairs: list[tuple[str, str]]) -> None:
    counts = [expected_errors(*pair) for pair in pairs]
    total = sum(count for _, count in counts)
    wrong = sum(wrong for wrong, _ in counts)
    expected = wrong / total if total else wrong
    assert error_rate(*zip(*pairs, strict=True)) == expected


def test_figures_by_hand() -> None:
    assert errors("The cat sat.", "the cat, sat down") == (1, 3)
    assert errors("", "a b") == (2, 0)
    assert errors("a b", "") == (2, 2)
    assert error_rate(["one two three four", "five"], ["one too three", "five"]) == 2 / 5
    with pytest.raises(ValueError, match="lengths must match"):
        error_rate(["a", "b"], ["a"])


def test_a_runaway_has_many_more_words_than_were_spoken() -> None:
    assert not runaway("one two", "a b c d e f g")
    assert runaway("one two", "a b c d e f g h")
    assert runaway("", "no no no no no")


def test_without_jiwer_the_extra_is_named_when_the_benchmark_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(ExecutorUnavailable, match=r"pip install 'voxturn\[bench\]'"):
        importlib.reload(word_errors)
