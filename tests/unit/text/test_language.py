"""Language tags, whoever gives them and whichever model gets them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.errors import UnsupportedLanguage
from voxturn.runtime.text.language import base_code, codes_of, find, is_auto
from voxturn.runtime.text.normalize import LANGUAGES, language_of

WHISPER = {"en", "zh", "de", "es", "pt", "ar", "he", "no", "nn", "jw", "tl", "yue", "sr"}


@pytest.mark.parametrize(
    ("tag", "whisper", "xtts"),
    [
        ("en", "en", "en"),
        ("EN", "en", "en"),
        ("en-US", "en", "en"),
        ("en_gb", "en", "en"),
        (" pt-BR ", "pt", "pt"),
        ("zh", "zh", "zh-cn"),
        ("zh-cn", "zh", "zh-cn"),
        ("zh_TW", "zh", "zh-cn"),
        ("zh-Hant-TW", "zh", "zh-cn"),
        ("cmn", "zh", "zh-cn"),
        ("ar-EG", "ar", "ar"),
        ("arb", "ar", "ar"),
        ("deu", "de", "de"),
        ("es-419", "es", "es"),
        ("yue", "yue", ""),
        ("jv", "jw", ""),
        ("jw", "jw", ""),
        ("fil", "tl", ""),
        ("nb-NO", "no", ""),
        ("iw", "he", ""),
        ("sr-Latn", "sr", ""),
        ("tlh", "", ""),
    ],
)
def test_a_tag_is_every_model_s_own_code(tag: str, whisper: str, xtts: str) -> None:
    assert find(tag, WHISPER.__contains__) == whisper
    assert find(tag, LANGUAGES.__contains__) == xtts


def test_the_most_exact_code_is_taken() -> None:
    assert find("pt-BR", {"pt", "pt-br"}.__contains__) == "pt-br"
    assert find("pt-PT", {"pt", "pt-br"}.__contains__) == "pt"
    assert find("pt", {"pt-br"}.__contains__) == "pt-br"


@pytest.mark.parametrize(
    "tag", ["", " ", "-", "english", "en us", "en-", "französisch", "a", "12", "en1", "und"]
)
def test_what_is_no_tag_is_refused_in_one_line(tag: str) -> None:
    for call in (codes_of, lambda each: find(each, WHISPER.__contains__)):
        with pytest.raises(
            UnsupportedLanguage, match="is no language tag; write it as en, pt-BR"
        ) as caught:
            call(tag)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize("tag", ["english", "tlh", "auto", ""])
def test_xtts_refuses_what_it_does_not_speak(tag: str) -> None:
    with pytest.raises(UnsupportedLanguage) as caught:
        language_of(tag)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tag", "base"),
    [("pt-BR", "pt"), ("zh_TW", "zh"), ("cmn", "zh"), ("nb", "nb"), ("no", "no"), ("iw", "he"), ("EN", "en"), ("en-gb-x-rp", "en"),
     ("qdb", "qdb"), ("", ""), ("x-pig-latin", "x"), ("auto", "auto")],
)  # fmt: skip
def test_the_base_is_the_language_alone_and_of_what_is_no_tag_itself(tag: str, base: str) -> None:
    assert base_code(tag) == base


def test_auto_is_no_tag() -> None:
    assert is_auto("auto")
    assert is_auto(" Auto ")
    assert not is_auto("en")


@given(st.text(max_size=12))
def test_any_text_is_a_tag_or_refused(text: str) -> None:
    try:
        codes = codes_of(text)
    except UnsupportedLanguage:
        return
    assert codes
    assert all(code == code.lower() for code in codes)
