"""What a listener says to show that he listens: "mhm", "okay", "أها".

The lists are in `backchannels.toml`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from voxturn.runtime.errors import InvalidRegistry, UnsupportedLanguage
from voxturn.runtime.text.language import find
from voxturn.runtime.text.words import bare_words
from voxturn.runtime.tomlfile import read_toml

_ANY = "any"
_REPEATED = re.compile(r"(.)\1+")


def languages() -> tuple[str, ...]:
    """The languages that have a list."""
    return tuple(language for language in _lists() if language != _ANY)


def is_backchannel(text: str, language: str) -> bool:
    """Whether a text is nothing but signs of listening, one or several.

    `language` is a tag; empty: not known.
    """
    bare = " ".join(_bare(text))
    return bool(bare) and _pattern(_listed(language)).fullmatch(bare) is not None


def _bare(text: str) -> list[str]:
    """The words of a text, each without repeated letters."""
    return [_REPEATED.sub(r"\1", word) for word in bare_words(text)]


def _listed(language: str) -> str:
    """The code of a language's list; that of any language where it has none."""
    try:
        return find(language, lambda code: code != _ANY and code in _lists()) or _ANY
    except UnsupportedLanguage:
        return _ANY


@cache
def _pattern(language: str) -> re.Pattern[str]:
    """Matches listed phrases with spaces between them; within one they may be missing."""
    lists = _lists()
    phrases = {" ?".join(_bare(phrase)) for phrase in [*lists[_ANY], *lists[language]]}
    any_phrase = f"(?:{'|'.join(phrases)})"
    return re.compile(f"{any_phrase}(?: {any_phrase})*")


@cache
def _lists() -> Mapping[str, Sequence[str]]:
    return read_toml(Path(__file__).with_name("backchannels.toml"), InvalidRegistry)
