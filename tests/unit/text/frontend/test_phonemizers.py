"""Punctuation around phonemes, and phonemizers that are not here."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.errors import ExecutorUnavailable, UnsupportedLanguage
from voxturn.runtime.text.frontend.phonemizers import load_phonemizer, phonemized


def shout(text: str) -> str:
    return text.upper()


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("so, what?", "SO, WHAT?"),
        ("  “is it” — really … ", "“IS IT” — REALLY …"),
        ("...", "..."),
        ("", ""),
        ("no marks at all", "NO MARKS AT ALL"),
    ],
)
def test_punctuation_stays_as_it_stood(text: str, out: str) -> None:
    assert phonemized(text, shout) == out


@given(st.text(alphabet="ab ,.;!?…", max_size=40))
def test_only_what_is_between_punctuation_is_phonemized(text: str) -> None:
    pieces: list[str] = []

    def noted(piece: str) -> str:
        pieces.append(piece)
        return piece

    assert phonemized(text, noted) == text.strip()
    assert all(piece == piece.strip() and not set(piece) & set(",.;!?…") for piece in pieces)


@pytest.mark.parametrize(
    ("name", "module", "extra"), [("espeak", "piper", "vits"), ("gruut", "gruut", "gruut")]
)
def test_a_phonemizer_that_is_not_installed_is_named_with_its_extra(
    name: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    says = rf"this voice needs the phonemes of {name}; pip install 'voxturn\[{extra}\]'"
    with pytest.raises(ExecutorUnavailable, match=says):
        load_phonemizer(name, "en-us")


def test_espeaks_phonemes_are_without_marks_of_other_languages() -> None:
    phonemize = load_phonemizer("espeak", "fr-fr")
    assert "(" not in phonemize("le football")
    assert load_phonemizer("espeak", "en")("sea") == "sˈiː"


def test_a_voice_that_espeak_has_not() -> None:
    with pytest.raises(UnsupportedLanguage, match="espeak-ng has no voice 'xx-none'"):
        load_phonemizer("espeak", "xx-none")


def word(text: str, phonemes: list[str] | None, is_break: bool = False) -> SimpleNamespace:
    return SimpleNamespace(text=text, phonemes=phonemes, is_break=is_break)


@pytest.fixture
def gruut(monkeypatch: pytest.MonkeyPatch) -> None:
    """gruut's interface, for one sentence."""
    module: Any = ModuleType("gruut")
    words = [word("go", ["ˈg", "oʊ"]), word(",", None, True), word("x", None), word("a", ["ˌə"])]
    module.sentences = lambda text, lang: [words]
    module.is_language_supported = lambda language: language == "en-us"
    module.get_supported_languages = lambda: ["en-us"]
    monkeypatch.setitem(sys.modules, "gruut", module)


def test_gruuts_phonemes_have_no_stress_and_upstreams_g(gruut: None) -> None:
    assert load_phonemizer("gruut", "en-us")("go, x a") == "ɡoʊ, ə"


def test_a_language_that_gruut_has_not(gruut: None) -> None:
    with pytest.raises(UnsupportedLanguage, match="gruut has no 'fi' here; it has en-us"):
        load_phonemizer("gruut", "fi")
