"""Signs of listening in 17 languages, and words that are none."""

from __future__ import annotations

import pytest
from voxturn.runtime.text.backchannels import is_backchannel, languages
from voxturn.runtime.text.normalize.lexicon import LANGUAGES
from voxturn.runtime.text.words import bare_words


def test_every_language_of_the_voices_has_its_list() -> None:
    assert set(LANGUAGES) <= set(languages())


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Mhm.", "en"),
        ("Mm-hmm.", "en"),
        ("Hmmmm...", "en"),
        ("Okay, okay. I see.", "en-GB"),
        ("Uh-huh, yeah", "en"),
        ("أها", "ar"),
        ("آها، طيّب", "ar-EG"),
        ("نعم نعم", "ar"),
        ("D'accord.", "fr"),
        ("Genau!", "de"),
        ("sí, sí", "es"),
        ("Ага, понятно.", "ru"),
        ("嗯嗯", "zh"),
        ("はい、なるほど。", "ja"),
        ("네, 그렇군요.", "ko"),
        ("हाँ, ठीक है।", "hi"),
        ("Mhm", ""),
        ("Okay", "auto"),
        ("Okay", "xx-no-tag-at-all-whatever"),
    ],
)
def test_signs_of_listening(text: str, language: str) -> None:
    assert is_backchannel(text, language)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", "en"),
        ("...", "en"),
        ("No.", "en"),
        ("Stop.", "en"),
        ("Okay, but why?", "en"),
        ("Ohm", "en"),
        ("Yeah", ""),
        ("لا", "ar"),
        ("أها لكن لماذا", "ar"),
        ("停", "zh"),
        ("Nein", "de"),
    ],
)
def test_other_words(text: str, language: str) -> None:
    assert not is_backchannel(text, language)


def test_bare_words() -> None:
    assert bare_words("It's FOUR o’clock, Élodie!") == ["its", "four", "oclock", "elodie"]
    assert bare_words("أَهْـلًا") == bare_words("اهلا") == ["اهلا"]
    assert bare_words("好的 OK") == ["好", "的", "ok"]
    assert bare_words(" … ") == []
