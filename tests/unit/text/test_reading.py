"""Which ids of a text are which of its words: all of them, or none."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.text.frontend.symbols import Reading, SymbolReader
from voxturn.runtime.text.phonemes import EspeakPhonemizer
from voxturn.runtime.text.reading import words_of

WORDS = st.lists(st.text("abc,!", min_size=1), min_size=1)
SYMBOLS = {symbol: i for i, symbol in enumerate("_ abc,!^$")}
BLANK, ENDS = SYMBOLS["_"], [SYMBOLS["^"], SYMBOLS["$"]]


def reader(blank: int | None, ends: list[int] | None) -> SymbolReader:
    text: dict[str, Any] = {
        "symbols": SYMBOLS, "cleaner": "", "phonemizers": {}, "blank": blank, "ends": ends,
    }  # fmt: skip
    return SymbolReader(Reading.of(text))


@given(WORDS, st.sampled_from([None, BLANK]), st.sampled_from([None, ENDS]))
def test_the_ids_of_each_word_are_its_letters(
    words: list[str], blank: int | None, ends: list[int] | None
) -> None:
    read = reader(blank, ends).read(" ".join(words))
    if not read.ids:
        return
    assert len(read.words) == len(words)
    for word, (begin, end) in zip(words, read.words, strict=True):
        ids = [i for i in read.ids[begin:end] if i != BLANK]
        assert ids == [SYMBOLS[letter] for letter in word]
        assert begin == 0 or blank is not None or read.ids[begin - 1] in (SYMBOLS[" "], ENDS[0])


@given(st.text("ab xyz\n"))
def test_words_are_all_known_or_none(text: str) -> None:
    read = reader(BLANK, None).read(text)
    assert len(read.words) in (0, len(text.split()))
    flat = [place for pair in read.words for place in pair]
    assert flat == sorted(set(flat))
    assert all(0 <= place <= len(read.ids) for place in flat)


def test_phonemes_that_say_two_words_as_one_have_no_words() -> None:
    assert words_of("of the day", "ʌvðə deɪ", [(i, i + 1) for i in range(8)]) == ()


def test_phonemes_of_piper() -> None:
    ids = {symbol: [i] for i, symbol in enumerate("_^$ abdeiklmnoprstuvwzæðŋɐɑɔəɚɛɜɡɪʃʊʌʒˈˌː,.")}
    text = "Tell me, when?"
    read = EspeakPhonemizer("en-us", ids | {"l": [99, 98]}).read(text)
    assert len(read.words) == 3
    begin, end = read.words[0]
    assert begin == 2  # behind ^ and _
    assert list(read.ids[begin:end])[-2:] == [99, 98]
