"""Folded texts: what is one letter, what is gone, and where each letter came from."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.text.filtering.folded import Folding


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Crème BRÛLÉE", "creme brulee"),
        ("cre\u0300me", "creme"),
        ("ｆｕｌｌ 𝐛𝐨𝐥𝐝 ⓒⓘⓡⓒⓛⓔ", "full bold circle"),
        ("zero\u200b wi\u200ddth so\u00adft", "zero width soft"),
        ("сосоа αερο ꜱᴍᴀʟʟ", "cocoa aepo small"),
        ("أحْـمَـد إلى آخرة", "احمد الي اخره"),
        ("ﷺ", "صلي الله عليه وسلم"),
        ("ﾊﾞが", "バが"),
        ("Straße", "strasse"),
        ("zal\u0336\u0310\u0340go", "zalgo"),
    ],
)
def test_what_looks_alike_is_one(text: str, folded: str) -> None:
    assert Folding()(text).text == folded


def test_letters_of_a_language_stay_its_own() -> None:
    assert Folding("ñ")("año, An\u0303o, åño").text == "año, año, año"
    assert Folding()("año").text == "ano"
    assert Folding(letters=["yu"])("yes").text == "ues"


def test_exclamation_marks_are_letters_before_letters_alone() -> None:
    assert Folding()("sh!p! !a !!").kinds == "LLSLx SL xx"


def test_a_letter_takes_what_is_not_seen_behind_it_along() -> None:
    folded = Folding()("ab\u200b\u200bc\u0301\u0301\u0301d")
    assert folded.text == "abcd"
    assert list(folded.starts) == [0, 1, 4, 8]
    assert list(folded.ends) == [1, 4, 8, 9]


@settings(max_examples=40)
@given(st.text())
def test_every_letter_knows_its_place(text: str) -> None:
    folded = Folding()(text)
    assert len(folded.text) == len(folded.kinds) == len(folded.starts) == len(folded.ends)
    assert all(0 <= b < e <= len(text) for b, e in zip(folded.starts, folded.ends, strict=True))
    assert list(folded.starts) == sorted(folded.starts)
    assert list(folded.ends) == sorted(folded.ends)
    for char, begin, end in zip(folded.text, folded.starts, folded.ends, strict=True):
        assert char in Folding()(text[begin:end]).text


@settings(max_examples=40)
@given(st.text(alphabet=st.characters(exclude_categories=["Cf", "Cc", "Cs"])))
def test_case_and_composition_make_no_difference(text: str) -> None:
    """Of letters that have a case of one letter; marks in an order of their own are cut at two."""
    plain = "".join(c for c in text if not unicodedata.combining(c) and c == c.lower())
    assert Folding()(unicodedata.normalize("NFC", plain)).text == Folding()(plain).text
