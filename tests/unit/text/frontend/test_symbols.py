"""Texts to ids: unknown symbols fall out, blanks and ends are put in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.text.frontend.symbols import Reading, SymbolReader

TEXT: dict[str, Any] = {
    "symbols": {"_": 0, " ": 1, "a": 2, "b": 3, "!": 4, "<BLNK>": 5, "^": 6, "$": 7},
    "cleaner": "basic_cleaners",
    "phonemizers": {},
    "blank": None,
    "ends": None,
}


def ids(text: str, **changes: Any) -> list[int]:
    return list(SymbolReader(Reading.of(TEXT | changes)).read(text, "en").ids)


def test_known_symbols_have_ids_and_others_fall_out() -> None:
    assert ids("AbZ, b!") == [2, 3, 1, 3, 4]


def test_blanks_between_all_and_ends_around_them() -> None:
    assert ids("ab", blank=5) == [5, 2, 5, 3, 5]
    assert ids("ab", ends=[6, 7]) == [6, 2, 3, 7]
    assert ids("ab", blank=5, ends=[6, 7]) == [6, 5, 2, 5, 3, 5, 7]


@pytest.mark.parametrize("text", ["", "  ", "!!", "xyz"])
def test_what_has_no_sound_has_no_ids(text: str) -> None:
    assert ids(text, blank=5, ends=[6, 7]) == []


def test_phonemes_are_those_of_the_language() -> None:
    phonemizers = {"en": {"name": "espeak", "voice": "en-us"}}
    symbols = {symbol: i for i, symbol in enumerate("ɑːfˈ ")}
    reader = SymbolReader(Reading.of(TEXT | {"symbols": symbols, "phonemizers": phonemizers}))
    assert reader.known("far", "en") == ["f", "ˈ", "ɑ", "ː"]
    assert reader.known("far", "de") == ["f"]  # a language without a phonemizer is read as written


@given(st.text())
def test_ids_are_those_of_the_vocabulary_whatever_the_text(text: str) -> None:
    assert set(ids(text, blank=5)) <= set(TEXT["symbols"].values())


@pytest.mark.parametrize(
    "changes",
    [
        {"symbols": None},
        {"symbols": {"a": "x"}},
        {"cleaner": "washing"},
        {"phonemizers": {"en": {"name": "tongue", "voice": "en"}}},
        {"phonemizers": {"en": {}}},
        {"ends": [1]},
    ],
)
def test_a_damaged_property_raises_what_reading_an_artifact_catches(changes: Any) -> None:
    with pytest.raises((LookupError, TypeError, ValueError, AttributeError)):
        Reading.of(TEXT | changes)
