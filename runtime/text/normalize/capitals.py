"""Whole phrases in capitals: WE ARE CLOSED TODAY is said in words, not letter by letter. Pure."""

from __future__ import annotations

import re

from voxturn.runtime.text.abbreviations.table import abbreviations
from voxturn.runtime.text.normalize.spelling import Spelling

_WORD = r"[^\W\d_a-zß-öø-ÿ]+(?:['’-][^\W\d_]+){0,8}"
_PHRASE = re.compile(rf"(?<!\w){_WORD}(?:,? {_WORD})+(?!\w)")
_LETTERS = 10
"""Of three words within other text, from which on they are a phrase: not EU, USA, NASA."""


def capitals(text: Spelling, language: str) -> Spelling:
    """Phrases in capitals as a sentence is written; letters and words alone stay."""
    starters = abbreviations(language).starters
    everything = not any(char.islower() for char in text.written)

    def calm(match: re.Match[str]) -> str:
        phrase = match[0]
        words = phrase.replace(",", "").split()
        if not all(word.isupper() for word in words) or len(phrase.lower()) != len(phrase):
            return phrase
        if "," in phrase and starters.isdisjoint(phrase.lower().replace(",", "").split()):
            return phrase  # HTML, CSS, JSON
        letters = sum(char.isalpha() for char in phrase)
        shouted = len(words) >= 3 and letters >= _LETTERS and max(map(len, words)) >= 4
        if not shouted and not (everything and max(map(len, words)) >= 4):
            return phrase
        start, end = match.span()
        lowered = "".join(
            char if len(word) == 1 else word_text
            for word, word_text, char in _letters(phrase, str(text)[start:end])
        )
        return phrase[0] + lowered[1:]

    return Spelling(str(text), _PHRASE.sub(calm, text.written))


def _letters(phrase: str, lower: str) -> list[tuple[str, str, str]]:
    """Each character's word, its lower case and itself."""
    out: list[tuple[str, str, str]] = []
    for piece in re.finditer(r"[^ ,]+|[ ,]", phrase):
        out += [(piece[0], lower[at], phrase[at]) for at in range(piece.start(), piece.end())]
    return out
