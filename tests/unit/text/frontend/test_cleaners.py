"""Cleaners by name; upstream's own are compared in `tests/tiny/test_coqui_text.py`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.text.frontend.cleaners import CLEANERS, clean


@pytest.mark.parametrize(
    ("text", "cleaner", "language", "cleaned"),
    [
        ("  Hello,\n WORLD ", "basic_cleaners", "en", "hello, world"),
        ("IĞDIR", "basic_turkish_cleaners", "tr", "ığdır"),
        ("a; b: c-d & <e>", "multilingual_cleaners", "en-us", "a, b, c d and e"),
        ("a; b & c", "multilingual_cleaners", "fr-fr", "a, b et c"),
        ("l'avi; diguem-ho & jo", "multilingual_cleaners", "ca", "lavi, diguemho i jo"),
        ("τι;", "multilingual_cleaners", "el", "τι;"),
        ("Say (this)", "phoneme_cleaners", "en", "Say this"),
        ("a\nb", "no_cleaners", "en", "ab"),
        ("a\u0301", "chinese_mandarin_cleaners", "zh-cn", "á"),
        ("  as it is ", "", "en", "  as it is "),
    ],
)
def test_what_a_cleaner_leaves(text: str, cleaner: str, language: str, cleaned: str) -> None:
    assert clean(text, cleaner, language) == cleaned


@given(st.text(), st.sampled_from(sorted(CLEANERS)), st.sampled_from(["en", "ca", "el", "pt-br"]))
def test_what_is_clean_stays_as_it_is(text: str, cleaner: str, language: str) -> None:
    once = clean(text, cleaner, language)
    if "lower" not in {step.__name__ for step in CLEANERS[cleaner]}:  # İ has no single lower case
        assert clean(once, cleaner, language) == once
    assert "\n" not in once or cleaner == "chinese_mandarin_cleaners"
