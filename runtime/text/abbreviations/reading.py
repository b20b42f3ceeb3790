"""Abbreviations in full. Pure."""

from __future__ import annotations

import re
from functools import cache

from voxturn.runtime.text.abbreviations.table import (
    REACH,
    Abbreviations,
    Following,
    abbreviations,
)


def written_out(text: str, language: str, *, trained: bool = False) -> str:
    """`text` with the abbreviations of `language` (a code) in full.

    One that ends a sentence leaves it its full stop. What is written as an abbreviation and is a
    word where it stands stays. `trained`: with the readings that XTTS v2 learnt, in lower case.
    """
    table = abbreviations(language)
    if "." not in text and not any(word in text for word in table.undotted):
        return text
    return _pattern(language).sub(lambda match: _read(match, table, trained), text)


def _read(match: re.Match[str], table: Abbreviations, trained: bool) -> str:
    text, written = match.string, match["key"]
    key = "".join(written.split())
    following = Following.at(text, match.end())
    after = text[match.end() : match.end() + 1]
    before = text[max(0, match.start() - REACH) : match.start()]
    entry = table.here(key, before, following)
    if entry is None or not _complete(match, key, following, table):
        return match[0]
    ends = bool(match["stop"]) and table.ends_sentence(before + written, following)
    if table.measured(entry, before):
        # the passes for times take the full stop for the abbreviation's own
        return f"{match[0]}." if ends and "." in key and not following.nothing else match[0]
    reading = table.reading(entry, before, following)
    if trained:
        reading = table.trained.get(entry.key, reading).lower()
    if not reading:
        return match[0]
    stop = "." if ends or (match["stop"] and after == ".") else ""
    return f"{reading}{stop} " if after.isalnum() else f"{reading}{stop}"


def _complete(match: re.Match[str], key: str, following: Following, table: Abbreviations) -> bool:
    """Whether it is written as abbreviations are: with its last full stop, or as one that may be
    without."""
    after = match.string[match.end() : match.end() + 1]
    if match["stop"]:
        joined = after.isupper() and "." not in key and not table.find(following.word)  # Dr.Smith
        return not after.isalnum() or joined or (after.isalpha() and after.upper() == after.lower())
    if after.isalnum() or after == "_":
        return False
    if "." in key and not any(char.isspace() for char in match["key"]):
        return True
    return match["key"] in table.undotted


@cache
def _pattern(language: str) -> re.Pattern[str]:
    table = abbreviations(language)
    keys = sorted(table.table, key=len, reverse=True)
    written = "|".join(r"\.[^\S\n]?".join(map(re.escape, key.split("."))) for key in keys)
    apart = r"(?<![^\s(\[{\"'“„«‘’¿¡–—\u3000-\u9fff\uac00-\ud7af\uff00-\uff0f])"  # Chinese writes no blanks
    if table.suffixes:
        apart = rf"(?:{apart}|(?<=[^\W\d_])(?=(?:{'|'.join(table.suffixes)})\.))"
    return re.compile(rf"{apart}(?P<key>{written})(?P<stop>\.?)", re.IGNORECASE)
