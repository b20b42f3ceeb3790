"""Sentences as a voice's symbols, in pieces that one call can take."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from voxturn.runtime.messages import Sentence
from voxturn.runtime.text.language import find
from voxturn.runtime.text.reading import ReadText
from voxturn.runtime.text.split import filled

_LONGEST_TEXT, _MOST_IDS = 1000, 500
"""Characters and symbols that are encoded at once: 15 s of speech, a long sentence. Nothing can
interrupt a call, and its time grows faster than its length."""


class TextReader(Protocol):
    """Text in a language to the voice's symbols; no ids for text that has no sound."""

    def read(self, text: str, language: str) -> ReadText: ...


def language_of(sentence: Sentence, languages: Sequence[str], usual: str) -> str:
    """The voice's own code of the sentence's language, or the one that it is set to."""
    known = find(sentence.language, languages.__contains__) if sentence.language else ""
    return known or usual


def pieces_of(text: str) -> deque[str]:
    """A text in pieces that are not too long."""
    return deque(_cut(text, _LONGEST_TEXT))


def next_text(reader: TextReader, texts: deque[str], language: str) -> ReadText:
    """The first text as it is read, of which what is too much for one call goes back."""
    text = texts.popleft()
    while len((read := reader.read(text, language)).ids) > _MOST_IDS and len(text) > 1:
        text, *rest = _cut(text, (len(text) + 1) // 2)
        texts.extendleft(reversed(rest))
    return read


def _cut(text: str, limit: int) -> list[str]:
    """A text in pieces of at most `limit` characters, of whole sentences where they fit; what is
    short enough as it is."""
    return [text] if len(text) <= limit else list(filled(text, limit))
