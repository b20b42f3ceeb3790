"""The word lists: those of the glin-profanity library, and what `lists.toml` knows better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from voxturn.runtime.errors import ExecutorUnavailable, InvalidRegistry
from voxturn.runtime.text.filtering.matching import Spelling
from voxturn.runtime.tomlfile import build, read_toml

ENGLISH = "en"
LANGUAGES = {
    "ar": "arabic", "zh": "chinese", "cs": "czech", "da": "danish", "nl": "dutch", "en": "english",
    "fi": "finnish", "fr": "french", "de": "german", "hi": "hindi", "hu": "hungarian", "it": "italian", "ja": "japanese",
    "ko": "korean", "no": "norwegian", "fa": "persian", "pl": "polish", "pt": "portuguese", "ru": "russian",
    "es": "spanish", "sv": "swedish", "th": "thai", "tr": "turkish",
}  # fmt: skip
"""The library's name of each language that it has a list of."""
_OTHER_SCRIPTS = frozenset({"ar", "fa", "hi", "ja", "ko", "ru", "th", "zh"})
"""Languages that are not written in Latin letters: what is written in them is often English."""


@dataclass(frozen=True)
class WordList(Spelling):
    """A table of `lists.toml`: how a language spells, and what to do with the library's list.

    Where there is `only`, entries are taken that have one of these in them. `alias`: long words
    count without their marks as well.
    """

    only: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    alias: bool = False


def spelling_of(language: str) -> Spelling:
    """How a language of `LANGUAGES` writes its words."""
    return _list_of(language)


@cache
def words_of(language: str) -> tuple[str, ...]:
    """The listed words and phrases of a language of `LANGUAGES`.

    Raises `ExecutorUnavailable` where the library is not installed.
    """
    try:
        from glin_profanity.data.dictionary import dictionary
    except ImportError as exc:
        raise ExecutorUnavailable(
            "the content filter needs glin-profanity: pip install 'voxturn[embedded]', or set filter.kind = \"off\""
        ) from exc
    notes = _list_of(language)
    harmless = {word.casefold() for word in notes.harmless}
    listed = [
        word.strip()
        for word in dictionary.get_words(LANGUAGES[language])
        if word.strip().casefold() not in harmless and _counts(word, notes.only)
    ]
    words = [*notes.added, *listed]
    if notes.alias:
        words += [bare for word in words if (bare := _bare(word)) != word and len(bare) >= 5]
    if language in _OTHER_SCRIPTS:
        words += words_of(ENGLISH)
    return tuple(dict.fromkeys(words))


def _counts(word: str, only: tuple[str, ...]) -> bool:
    """Whether an entry of the library is taken: not one with marks for letters, which are seen
    through anyway, nor one so short that it is mostly an abbreviation or a syllable."""
    if sum(char.isalpha() for char in word) < (3 if word.isascii() else 2):
        return False
    if "*" in word or any(char.isdecimal() for char in word):
        return False
    return not only or any(root in word.casefold() for root in only)


def _bare(word: str) -> str:
    """A word as those write it who have no keys for its marks."""
    return word.translate(_WITHOUT_MARKS)


_WITHOUT_MARKS = str.maketrans("áéíóúýñçğöşüąćęłńśźżčďěňřšťůž", "aeiouyncgosuacelnszzcdenrstuz")


@cache
def _list_of(language: str) -> WordList:
    table = _tables().get(language, {})
    return build(WordList, table, f"lists.toml: {language}", InvalidRegistry)


@cache
def _tables() -> Mapping[str, object]:
    return read_toml(Path(__file__).with_name("lists.toml"), InvalidRegistry)
