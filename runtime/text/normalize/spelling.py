"""Text in two spellings, so that rules for lower case leave alone what they do not match. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

_OPENERS = frozenset("([{«“„‘¿¡\"'")
_CLOSERS = frozenset(".,;:!?)]}»”’…،؛؟۔।。\"'")


class Spelling(str):
    """Text as the rules read it; `written` is the text as it came in, character for character."""

    written: str

    def __new__(cls, text: str, written: str) -> Spelling:
        assert len(text) == len(written)
        self = super().__new__(cls, text)
        self.written = written
        return self


def substitute(
    pattern: re.Pattern[str], replacement: str | Callable[[re.Match[str]], str], text: str
) -> str:
    """`pattern.sub(replacement, text)`; of a `Spelling`, what is not matched stays as it came in.

    A `Spelling` also gets no space beside another, nor between a bracket or a mark and its word.
    """
    if not isinstance(text, Spelling):
        return pattern.sub(replacement, text)
    read: list[str] = []
    written: list[str] = []
    end = 0
    for match in pattern.finditer(text):
        words = replacement if isinstance(replacement, str) else replacement(match)
        if words == match[0]:
            continue
        between = text[end : match.start()]
        before = between[-1:] or (read[-1][-1:] if read else "")
        words = _close(before, words, text[match.end() : match.end() + 1])
        read += filter(None, (between, words))
        written += [text.written[end : match.start()], words]
        end = match.end()
    if not end and not read:
        return text
    read.append(text[end:])
    written.append(text.written[end:])
    return Spelling("".join(read), "".join(written))


def _close(before: str, words: str, after: str) -> str:
    """`words` without outer spaces that the neighbours (a character or none) make needless."""
    if not before or before.isspace() or before in _OPENERS:
        words = words.lstrip(" ")
    if not after or after.isspace() or after in _CLOSERS:
        words = words.rstrip(" ")
    return words
