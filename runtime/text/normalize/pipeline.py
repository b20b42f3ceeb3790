"""The passes, in upstream's order."""

from __future__ import annotations

from voxturn.runtime.text.normalize import chinese
from voxturn.runtime.text.normalize.characters import clean
from voxturn.runtime.text.normalize.dates import dates, times
from voxturn.runtime.text.normalize.lexicon import language_of, lexicon
from voxturn.runtime.text.normalize.measures import measures, prices
from voxturn.runtime.text.normalize.romanize import romanize
from voxturn.runtime.text.normalize.rules import (
    abbreviations,
    lower,
    numbers,
    ranges,
    separate_groups,
    symbols,
)


def normalize(text: str, language: str, *, diacritics: bool = True) -> str:
    """`text` in the words of `language`, one line; empty where nothing in it is said.

    `diacritics=False` takes the vowel marks out of Arabic. Raises UnsupportedLanguage; ExecutorUnavailable where a library
    of the language is missing.
    """
    words = lexicon(language_of(language))
    text = lower(clean(text, words.language, diacritics=diacritics), words.language)
    text = ranges(separate_groups(text, words), words)
    for step in (dates, times, prices, measures, numbers, abbreviations, symbols):
        text = step(text, words)
    if words.language == "zh-cn":
        text = chinese.commas(text)
    text = " ".join(text.split())
    return romanize(text, words.language) if text else ""
