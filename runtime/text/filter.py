"""The content filter: what may pass into the model and out of the loudspeaker.

Pluggable; the default is a word list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from voxturn.runtime.errors import ExecutorUnavailable, UnsupportedLanguage
from voxturn.runtime.text.language import find

_LANGUAGES = {
    "ar": "arabic", "zh": "chinese", "cs": "czech", "da": "danish", "nl": "dutch", "en": "english",
    "fi": "finnish", "fr": "french", "de": "german", "hi": "hindi", "hu": "hungarian", "it": "italian", "ja": "japanese",
    "ko": "korean", "no": "norwegian", "fa": "persian", "pl": "polish", "pt": "portuguese", "ru": "russian",
    "es": "spanish", "sv": "swedish", "th": "thai", "tr": "turkish",
}  # fmt: skip


def _listed(language: str) -> str:
    """The code of a language's list; that of English for one that has none, and where the model is
    to tell the language."""
    try:
        return find(language, _LANGUAGES.__contains__) or "en"
    except UnsupportedLanguage:
        return "en"


@dataclass(frozen=True)
class Filtered:
    """The text that may pass and, for the trace, what was done to it (one entry a word)."""

    text: str
    actions: tuple[str, ...] = ()


class ContentFilter(Protocol):
    """Looks at a whole transcript (`direction` "in") or a whole clause ("out"). `language` is its
    tag; empty where it is not known."""

    name: str

    def check(self, text: str, direction: str, language: str = "") -> Filtered: ...


class PassAll:
    """No filter."""

    name = "off"

    def check(self, text: str, direction: str, language: str = "") -> Filtered:
        return Filtered(text)


class WordListFilter:
    """Takes listed words out: the list of the glin-profanity library for the language, and the
    user's own.

    A word that is taken out is replaced by an ellipsis, which is not spoken. Transcripts and
    replies are treated alike.
    """

    name = "words"

    def __init__(self, language: str, own_words: Sequence[str] = ()) -> None:
        try:
            from glin_profanity import Filter
        except ImportError as exc:
            raise ExecutorUnavailable(
                "the content filter needs glin-profanity: pip install 'voxturn[embedded]', or set filter.kind = \"off\""
            ) from exc
        known = _LANGUAGES[_listed(language)]
        self._filter = Filter({"languages": [known], "custom_words": list(own_words)})

    def check(self, text: str, direction: str, language: str = "") -> Filtered:
        found = self._filter.check_profanity(text)
        words = sorted(set(found["profane_words"]), key=len, reverse=True)
        if not words:
            return Filtered(text)
        pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", re.IGNORECASE)
        clean, count = pattern.subn("…", text)
        if count == 0 or self._filter.check_profanity(clean)["profane_words"]:
            clean = (
                ""  # one is left in a disguise that cannot be cut out: nothing of the text passes
            )
        return Filtered(clean, tuple(f"{direction}: removed {len(word)} letters" for word in words))
