"""The words of a text for comparisons: without case, marks and accents."""

from __future__ import annotations

import unicodedata

from voxturn.runtime.text.scripts import script_of

_TATWEEL = "\u0640"
_QUESTION_ENDS = ("?", "؟", "？", "፧")
_UNSPACED = ("Han", "Hiragana", "Katakana")


def bare_words(text: str) -> list[str]:
    """The words of a text in small letters, without marks, accents and Arabic's letter variants.

    Of scripts that put no spaces between words, every character is a word.
    """
    chars: list[str] = []
    for char in unicodedata.normalize("NFKD", text.casefold()):
        kind = unicodedata.category(char)
        if char in "'’" or char == _TATWEEL or kind in ("Mn", "Cf"):
            continue
        if kind[0] not in "LMN":
            chars.append(" ")
        elif script_of(char) in _UNSPACED:
            chars.append(f" {char} ")
        else:
            chars.append(char)
    return "".join(chars).split()


def ends_with_question(text: str) -> bool:
    """Whether a text ends with a question mark, whatever brackets and quotes come after it."""
    return text.rstrip(" \n\"'”’»)]）」").endswith(_QUESTION_ENDS)
