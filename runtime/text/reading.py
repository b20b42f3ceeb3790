"""A text as a voice reads it: the ids of its symbols, and which of them are which word. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

Ranges = tuple[tuple[int, int], ...]
"""Ids `[begin, end)`, one after the other."""


@dataclass(frozen=True)
class ReadText:
    """`ids` of the symbols; empty for a text that has no sound. `words`: those of each of its words;
    empty where they are not known."""

    ids: Sequence[int]
    words: Ranges = ()


def words_of(text: str, symbols: Sequence[str], ids: Sequence[tuple[int, int]]) -> Ranges:
    """The ids of each word of a text, of its `symbols` and the ids `[begin, end)` of each symbol.

    Words are what lies between spaces. Phonemes may have them elsewhere than the text has: where
    there are not as many words, there are none.
    """
    found = []
    for space, pairs in groupby(zip(symbols, ids, strict=True), lambda pair: pair[0].isspace()):
        if not space:
            ranges = [each for _, each in pairs]
            found.append((ranges[0][0], ranges[-1][1]))
    return tuple(found) if len(found) == len(text.split()) else ()
