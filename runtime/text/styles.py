"""The names of styles, and the tags that ask for one in a text: `[happy] That is great!` Pure.

A tag is a word in brackets. One of the voice's styles is a tag wherever it stands, in capitals or
not; any other word in small letters is one at the beginning of a sentence alone: models invent
tags, and nobody wants to hear them. What editors put into brackets is text.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from voxturn.runtime.errors import UsageError
from voxturn.runtime.text import thought

NAME = r"[^\W\d_][\w-]{1,31}"
"""A style's: a letter, then letters, digits, `_` and `-`."""
TAGS = rf"(?:\[{NAME}\]){{0,3}}\[({NAME})\](?!\()"
"""Tags one after the other, of which the last counts; a link is none."""
BEGUN_TAGS = rf"(?:\[{NAME}\]){{0,3}}\[(?:{NAME}|[^\W\d_]?)\]?"
"""What may become `TAGS`."""
DEFAULT = "default"
"""The tag that goes back to how the voice was set."""

_NAME = re.compile(NAME)
_WORD = re.compile(r"[^\W\d_]+")
_THOUGHT = re.compile(thought.NAMES, re.IGNORECASE)
_OPENERS = '"“‘«„¿¡*'
_EDITORS = frozenset({"sic", "recte", "redacted", "inaudible", "unintelligible", "citation"})


def style_name(name: str) -> str:
    """A style's name as it is kept: in small letters. Raises `UsageError` for what is none."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"style {name[:80]!r}: use a word of letters, digits, dashes, 2 to 32, a letter first"
        )
    style = name.lower()
    if style == DEFAULT or style in _EDITORS or _THOUGHT.fullmatch(style):
        raise UsageError(
            f"style {name!r}: the tag [{style}] has a meaning of its own; name another"
        )
    return style


def tagged_style(word: str, known: Collection[str], *, begins: bool, after: str) -> str | None:
    """The style that a word in brackets asks for, empty for the voice's own; None: it is text.

    `begins`: a sentence begins with it; `after` is the character that follows, empty at the end.
    """
    style = word.lower()
    if style in known or (style == DEFAULT and known):
        return "" if style == DEFAULT else style
    plain = _WORD.fullmatch(word) and word == style and style not in _EDITORS
    apart = not after.strip() or after in _OPENERS or (after.isalpha() and not after.islower())
    if not (plain and begins and apart):
        return None
    return "" if style == DEFAULT else style
