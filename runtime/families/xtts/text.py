"""XTTS v2's text: ids from its `vocab.json`, and texts of any length cut into what the model takes
at once."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from voxturn.runtime.errors import CorruptModel, EmptyText, ExecutorUnavailable, UnsupportedLanguage
from voxturn.runtime.text.language import find, is_auto
from voxturn.runtime.text.normalize import LANGUAGES, normalize, spoken
from voxturn.runtime.text.normalize.characters import clean
from voxturn.runtime.text.split import filled
from voxturn.runtime.text.tokenizer import read_tokenizer

CHAR_LIMITS = {
    "en": 250, "de": 253, "fr": 273, "es": 239, "it": 213, "pt": 203, "pl": 224, "zh-cn": 82, "ar": 166, "cs": 186,
    "ru": 182, "nl": 251, "tr": 226, "ja": 71, "hu": 224, "ko": 95, "hi": 150,
}  # fmt: skip
"""The most characters of written text that the model speaks without breaking off, by language;
coqui-tts's."""

MAX_TOKENS = 400
"""Of the official model: its 402 text positions, less start and stop."""

_OTHER_LIMIT = 250
"""That of a language which the official model does not speak; coqui-tts's."""

LANGUAGE_TAG = re.compile(r"\[([a-z]{2,3}(?:-[a-z]{2,8})?)\]")
"""The token of a language in a vocabulary."""

_LOG = logging.getLogger(__name__)


class XttsTokenizer:
    """Text to the ids of XTTS v2.

    `vocabulary` is the checkpoint's `vocab.json`, a file of Hugging Face's `tokenizers`.
    `diacritics=False` takes the vowel marks out of Arabic. `max_tokens`: how many the checkpoint
    takes at once. Raises ExecutorUnavailable without `tokenizers`, CorruptModel where the file is
    none. Thread-safe.
    """

    def __init__(
        self, vocabulary: Path, *, diacritics: bool = True, max_tokens: int = MAX_TOKENS
    ) -> None:
        try:
            self._loaded = read_tokenizer(vocabulary, "xtts")
        except ExecutorUnavailable:
            raise
        except Exception as exc:  # the library raises a bare Exception
            raise CorruptModel(
                f"{vocabulary}: not a vocabulary of XTTS ({exc}); pull the model again"
            ) from exc
        self._diacritics = diacritics
        self._max_tokens = max_tokens
        self.languages = _languages(self._loaded.get_vocab())
        self._tag = re.compile(rf"\[({'|'.join(self.languages)})\]")
        self._plain: set[str] = set()
        if not self.languages or self._loaded.token_to_id("[SPACE]") is None:
            raise CorruptModel(
                f"{vocabulary}: no language tags or no [SPACE] in it; not a vocabulary of XTTS"
            )

    @property
    def size(self) -> int:
        """How many ids there are; every id is smaller."""
        size: int = self._loaded.get_vocab_size()
        return size

    def encode(self, text: str, language: str) -> list[int]:
        """The ids of `text`, its language's tag first, without start and stop. Not cut: see
        `split`.

        Raises EmptyText where nothing in it is spoken, UnsupportedLanguage.
        """
        known = self.known(language)
        ids = self._ids(text, known)
        if not ids:
            raise EmptyText("there is nothing in the text that can be spoken")
        return ids

    def split(self, text: str, language: str) -> list[str]:
        """`text` in pieces that `encode` takes and the model speaks whole: under `CHAR_LIMITS` and
        `max_tokens`.

        As few as follow from filling each with whole sentences. A sentence that is too long is cut
        at a pause, else at a space, else anywhere. The pieces hold every character but the spaces
        around them and stretches in which nothing is spoken; of a text without speech there is
        none. Linear in the text's length.
        """
        known = self.known(language)
        return list(self._pieces(text, known, CHAR_LIMITS.get(known, _OTHER_LIMIT)))

    def _pieces(self, text: str, language: str, limit: int) -> Iterator[str]:
        for piece in filled(text, limit, language):
            tokens = len(self._ids(piece, language))
            if tokens > self._max_tokens and len(piece) > 1:
                yield from self._pieces(piece, language, (len(piece) + 1) // 2)
            elif tokens:
                yield piece

    def _ids(self, text: str, language: str) -> list[int]:
        """The ids of a text in a known language; none where nothing is spoken."""
        words = self._words(text, language) if spoken(text) else ""
        if not words:
            return []
        # a tag in the text would change the language that is spoken
        words = self._tag.sub(r"(\1)", words)
        ids: list[int] = self._loaded.encode(f"[{language}]{words}".replace(" ", "[SPACE]")).ids
        return ids

    def _words(self, text: str, language: str) -> str:
        """The text as the model reads it.

        Of a language that has no rules here: cleaned, in lower case.
        """
        if language in LANGUAGES:
            return normalize(text, language, diacritics=self._diacritics)
        if language not in self._plain:
            self._plain.add(language)
            _LOG.warning(
                "no rules for %r: its numbers, dates and abbreviations are spoken as they are written",
                language,
            )
        return " ".join(clean(text, language, diacritics=self._diacritics).lower().split())

    def known(self, language: str) -> str:
        """A language by the name that the vocabulary has for it: of `auto`, its first.

        Raises UnsupportedLanguage.
        """
        if is_auto(language):
            return self.languages[0]
        name = language.strip().lower().replace("_", "-")
        if name in self.languages:  # a fine-tune's may be no tag
            return name
        if code := find(language, self.languages.__contains__):
            return code
        raise UnsupportedLanguage(
            f"this vocabulary has no {language!r}; it knows {', '.join(self.languages)}"
        )


def _languages(vocabulary: Iterable[str]) -> tuple[str, ...]:
    """The languages that a vocabulary has tags of: the official ones, then those that a fine-tune
    added."""
    tags = {match[1] for token in vocabulary if (match := LANGUAGE_TAG.fullmatch(token))}
    return (
        *(name for name in LANGUAGES if name in tags),
        *sorted(tags.difference(LANGUAGES)),
    )
