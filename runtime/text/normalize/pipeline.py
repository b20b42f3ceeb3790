"""The passes, in upstream's order."""

from __future__ import annotations

import re
import unicodedata

from voxturn.runtime.errors import UnsupportedLanguage
from voxturn.runtime.text.abbreviations import written_out
from voxturn.runtime.text.normalize import chinese
from voxturn.runtime.text.normalize.addresses import addresses
from voxturn.runtime.text.normalize.capitals import capitals
from voxturn.runtime.text.normalize.characters import clean, composed, legible
from voxturn.runtime.text.normalize.dates import dates
from voxturn.runtime.text.normalize.fractions import fractions
from voxturn.runtime.text.normalize.lexicon import Lexicon, language_of, lexicon
from voxturn.runtime.text.normalize.measures import magnitudes, measures, prices
from voxturn.runtime.text.normalize.roman import romans
from voxturn.runtime.text.normalize.romanize import romanize
from voxturn.runtime.text.normalize.rules import (
    joins,
    lower,
    numbers,
    ranges,
    rewrites,
    separate_groups,
    symbols,
)
from voxturn.runtime.text.normalize.spelling import Spelling
from voxturn.runtime.text.normalize.telephones import telephones
from voxturn.runtime.text.normalize.times import times

_DIGIT = re.compile(r"\d")


def normalize(text: str, language: str, *, diacritics: bool = True) -> str:
    """`text` in the words of `language`, one line; empty where nothing in it is said.

    `diacritics=False` takes the vowel marks out of Arabic. Raises UnsupportedLanguage;
    ExecutorUnavailable where a library of the language is missing.
    """
    words = lexicon(language_of(language))
    # capitals tell abbreviations from words, therefore first; what stands after numbers is left for
    # the end
    cleaned = clean(text, words.language, diacritics=diacritics)
    cleaned = written_out(cleaned, words.language, trained=True)
    cased = _cased(_spelling(cleaned, words), words)
    lowered = lower(str(cased), words.language)
    if len(lowered) == len(cased.written):  # a capital says of a letter that it is no unit
        lowered = Spelling(lowered, cased.written)
    read = symbols(str(_counted(lowered, words)), words)
    text = written_out(read, words.language, trained=True)
    if words.language == "zh-cn":
        text = chinese.commas(text)
    text = " ".join(text.split())
    return romanize(text, words.language) if text else ""


def in_words(text: str, language: str) -> str:
    """`text` with its numbers, dates, prices, units, abbreviations, signs as words of `language`.

    All else stays as it was written: case, punctuation, spaces, script. A region (`pt-br`) is
    ignored; text of a language without rules comes back as it is. Raises ExecutorUnavailable where
    a library that reads numbers is missing.
    """
    try:
        rules = lexicon(language_of(language))
    except UnsupportedLanguage:
        return text
    whole = composed(text)
    body = whole.strip()
    plain = legible(written_out(body, rules.language))
    words = _passes(
        _cased(capitals(_spelling(plain, rules, plain.written), rules.language), rules), rules
    )
    assert isinstance(words, Spelling)
    written = written_out(words.written, rules.language)
    if written == body and whole == unicodedata.normalize("NFC", text):
        return text
    start = whole.index(body)
    return whole[:start] + written + whole[start + len(body) :]


def _lower(char: str, language: str) -> str:
    """`char` in lower case, one character for one: İ, which becomes two outside Turkish, stays."""
    lowered = lower(char, language)
    return lowered if len(lowered) == 1 else char


def _spelling(text: str, words: Lexicon, written: str | None = None) -> Spelling:
    """`text` in lower case, and as it is written."""
    lowered = "".join(_lower(char, words.language) for char in text)
    return Spelling(lowered, text if written is None else written)


def _cased(text: Spelling, words: Lexicon) -> Spelling:
    """The passes that ask for capitals."""
    for step in (addresses, romans):
        text = step(text, words)
    return text


def _passes(text: str, words: Lexicon) -> str:
    """`text`, in lower case, through the other passes."""
    return symbols(_counted(text, words), words)


def _counted(text: str, words: Lexicon) -> str:
    """`text` without digits; most of the passes have nothing to do where there are none."""
    if _DIGIT.search(text):
        text = separate_groups(telephones(rewrites(text, words), words), words)
        steps = (ranges, dates, times, fractions, prices, magnitudes, measures, numbers, joins)
        for step in steps:
            text = step(text, words)
    return text
