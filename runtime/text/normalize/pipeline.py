"""The passes, in upstream's order."""

from __future__ import annotations

import unicodedata

from voxturn.runtime.errors import UnsupportedLanguage
from voxturn.runtime.text.abbreviations import written_out
from voxturn.runtime.text.normalize import chinese
from voxturn.runtime.text.normalize.characters import clean, legible
from voxturn.runtime.text.normalize.dates import dates, times
from voxturn.runtime.text.normalize.lexicon import Lexicon, language_of, lexicon
from voxturn.runtime.text.normalize.measures import measures, prices
from voxturn.runtime.text.normalize.romanize import romanize
from voxturn.runtime.text.normalize.rules import (
    lower,
    numbers,
    ranges,
    separate_groups,
    symbols,
)
from voxturn.runtime.text.normalize.spelling import Spelling


def normalize(text: str, language: str, *, diacritics: bool = True) -> str:
    """`text` in the words of `language`, one line; empty where nothing in it is said.

    `diacritics=False` takes the vowel marks out of Arabic. Raises UnsupportedLanguage; ExecutorUnavailable where a library
    of the language is missing.
    """
    words = lexicon(language_of(language))
    # capitals tell abbreviations from words, therefore first; what stands after numbers is left for the end
    text = written_out(
        clean(text, words.language, diacritics=diacritics), words.language, trained=True
    )
    text = _passes(lower(text, words.language), words)
    text = written_out(text, words.language, trained=True)
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
    composed = unicodedata.normalize("NFC", text)
    body = composed.strip()
    spelling = legible(written_out(body, rules.language))
    lowered = "".join(_lower(char, rules.language) for char in spelling)
    words = _passes(Spelling(lowered, spelling.written), rules)
    assert isinstance(words, Spelling)
    written = written_out(words.written, rules.language)
    if written == body:
        return text
    start = composed.index(body)
    return composed[:start] + written + composed[start + len(body) :]


def _lower(char: str, language: str) -> str:
    """`char` in lower case, one character for one: İ, which becomes two outside Turkish, stays."""
    lowered = lower(char, language)
    return lowered if len(lowered) == 1 else char


def _passes(text: str, words: Lexicon) -> str:
    """`text`, in lower case, through the passes."""
    text = ranges(separate_groups(text, words), words)
    for step in (dates, times, prices, measures, numbers, symbols):
        text = step(text, words)
    return text
