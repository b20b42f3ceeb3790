"""The cleaners that a configuration of Coqui's names: what is done with a text before its symbols are
looked up. Pure.

Numbers, times and abbreviations are in words already when a text comes here (`text.normalize`), in
all of their languages; upstream's cleaners write them out in English and Italian. Source: coqui-tts
0.28, `tts/utils/text/cleaners.py`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

Step = Callable[[str, str], str]
"""A text and its language's code without region to the text that is left of it."""

_BRACKETS = re.compile(r'[<>()\[\]"]+')
_AND = {"en": "and", "fr": "et", "it": "e", "pt": "e", "ca": "i"}


def composed(text: str, _: str) -> str:
    """Letters and their accents as one character."""
    return unicodedata.normalize("NFC", text)


def lower(text: str, _: str) -> str:
    """In lower case."""
    return text.lower()


def dotless(text: str, _: str) -> str:
    """The Turkish capital I, whose lower case has no dot."""
    return text.replace("I", "ı")


def symbols(text: str, language: str) -> str:
    """Colons and semicolons as commas, hyphens as spaces, & in words."""
    if language != "el":  # where the semicolon asks
        text = text.replace(";", ",")
    text = text.replace("-", "" if language == "ca" else " ").replace(":", ",")
    if language in _AND:
        text = text.replace("&", f" {_AND[language]} ")
    return text.replace("'", "") if language == "ca" else text


def unbracketed(text: str, _: str) -> str:
    """Without brackets and straight quotes."""
    return _BRACKETS.sub("", text)


def one_line(text: str, _: str) -> str:
    """One space between words."""
    return " ".join(text.split())


def unbroken(text: str, _: str) -> str:
    """Without line breaks."""
    return text.replace("\n", "")


_BASIC = (composed, lower, one_line)
_WRITTEN = (composed, lower, symbols, unbracketed, one_line)
_SPOKEN = (composed, symbols, unbracketed, one_line)

CLEANERS: Mapping[str, tuple[Step, ...]] = {
    "basic_cleaners": _BASIC,
    "transliteration_cleaners": _BASIC,
    "basic_german_cleaners": _BASIC,
    "basic_turkish_cleaners": (composed, dotless, lower, one_line),
    "english_cleaners": _WRITTEN,
    "french_cleaners": _WRITTEN,
    "italian_cleaners": _WRITTEN,
    "portuguese_cleaners": _WRITTEN,
    "multilingual_cleaners": _WRITTEN,
    "phoneme_cleaners": _SPOKEN,
    "multilingual_phoneme_cleaners": _SPOKEN,
    "chinese_mandarin_cleaners": (composed,),
    "no_cleaners": (unbroken,),
}
"""Steps by upstream's names."""


def clean(text: str, cleaner: str, language: str) -> str:
    """A text through a cleaner of `CLEANERS`, or as it is where the name is empty."""
    base = language.split("-")[0]
    for step in CLEANERS[cleaner] if cleaner else ():
        text = step(text, base)
    return text
