"""XTTS v2's text: ids from its `vocab.json`, and texts of any length cut into what the model takes at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from voxturn.runtime.errors import CorruptModel, EmptyText, ExecutorUnavailable, UnsupportedLanguage
from voxturn.runtime.text.normalize import LANGUAGES, language_of, normalize, spoken
from voxturn.runtime.text.split import ClauseSplitter
from voxturn.runtime.text.tokenizer import read_tokenizer

CHAR_LIMITS = {
    "en": 250, "de": 253, "fr": 273, "es": 239, "it": 213, "pt": 203, "pl": 224, "zh-cn": 82, "ar": 166, "cs": 186,
    "ru": 182, "nl": 251, "tr": 226, "ja": 71, "hu": 224, "ko": 95, "hi": 150,
}  # fmt: skip
"""The most characters of written text that the model speaks without breaking off, by language; coqui-tts's."""

MAX_TOKENS = 400
"""Of the official model: its 402 text positions, less start and stop."""

_TAG = re.compile(rf"\[({'|'.join(LANGUAGES)})\]")


class XttsTokenizer:
    """Text to the ids of XTTS v2.

    `vocabulary` is the checkpoint's `vocab.json`, a file of Hugging Face's `tokenizers`. `diacritics=False` takes the
    vowel marks out of Arabic. `max_tokens`: how many the checkpoint takes at once. Raises ExecutorUnavailable without `tokenizers`, CorruptModel where the file is none.
    Thread-safe.
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
        self.languages = tuple(
            name for name in LANGUAGES if self._loaded.token_to_id(f"[{name}]") is not None
        )
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
        """The ids of `text`, its language's tag first, without start and stop. Not cut: see `split`.

        Raises EmptyText where nothing in it is spoken, UnsupportedLanguage.
        """
        known = self._known(language)
        ids = self._ids(text, known)
        if not ids:
            raise EmptyText("there is nothing in the text that can be spoken")
        return ids

    def split(self, text: str, language: str) -> list[str]:
        """`text` in pieces that `encode` takes and the model speaks whole: under `CHAR_LIMITS` and `max_tokens`.

        As few as follow from filling each with whole sentences. A sentence that is too long is cut at a pause, else at
        a space, else anywhere. The pieces hold every character but the spaces around them and stretches in which
        nothing is spoken; of a text without speech there is none. Linear in the text's length.
        """
        known = self._known(language)
        return list(self._pieces(text, known, CHAR_LIMITS[known]))

    def _pieces(self, text: str, language: str, limit: int) -> Iterator[str]:
        for piece in _filled(text, limit, language):
            tokens = len(self._ids(piece, language))
            if tokens > self._max_tokens and len(piece) > 1:
                yield from self._pieces(piece, language, (len(piece) + 1) // 2)
            elif tokens:
                yield piece

    def _ids(self, text: str, language: str) -> list[int]:
        """The ids of a text in a known language; none where nothing is spoken."""
        said = normalize(text, language, diacritics=self._diacritics) if spoken(text) else ""
        if not said:
            return []
        said = _TAG.sub(r"(\1)", said)  # a tag in the text would change the language that is spoken
        ids: list[int] = self._loaded.encode(f"[{language}]{said}".replace(" ", "[SPACE]")).ids
        return ids

    def _known(self, language: str) -> str:
        known = language_of(language)
        if known not in self.languages:
            raise UnsupportedLanguage(
                f"this vocabulary has no {known!r}; it knows {', '.join(self.languages)}"
            )
        return known


def _filled(text: str, limit: int, language: str) -> Iterator[str]:
    """Sentences put together while they fit into `limit` characters, as they stand in `text`."""
    start = end = 0
    for sentence in _sentences(text, limit, language):
        at = text.index(sentence, end)
        if end > start and at + len(sentence) - start > limit:
            yield text[start:end]
            end = start
        if end == start:
            start = at
        end = at + len(sentence)
    if end > start:
        yield text[start:end]


def _sentences(text: str, limit: int, language: str) -> Iterator[str]:
    splitter = ClauseSplitter(
        first_chars=len(text) + 1, min_chars=1, max_chars=limit, language=language
    )
    step = (
        4 * limit
    )  # the splitter copies what waits in it: fed all at once, time would grow with the square
    for at in range(0, len(text), step):
        yield from splitter.push(text[at : at + step])
    yield from splitter.flush()
