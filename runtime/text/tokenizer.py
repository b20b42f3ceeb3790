"""Tokenizers from a `tokenizer.json`, and text from tokens as they arrive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from voxturn.runtime.errors import CorruptModel, ExecutorUnavailable


class Tokenizer(Protocol):
    """Text to ids and back."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    @property
    def size(self) -> int:
        """How many tokens there are, marks included."""
        ...

    def id_of(self, token: str) -> int | None: ...


class JsonTokenizer:
    """Hugging Face's `tokenizers` on a `tokenizer.json`. Special tokens in the text are recognised, none are added."""

    def __init__(self, path: Path) -> None:
        try:
            from tokenizers import Tokenizer as Loaded
        except ImportError as exc:
            raise ExecutorUnavailable(
                "tokenizers is not installed; pip install 'voxturn[embedded]'"
            ) from exc
        try:
            self._loaded = Loaded.from_file(str(path))
        except Exception as exc:  # the library raises a bare Exception
            raise CorruptModel(f"{path}: not a tokenizer ({exc}); pull the model again") from exc

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._loaded.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._loaded.decode(list(ids), skip_special_tokens=True)
        return text

    @property
    def size(self) -> int:
        """How many tokens there are, marks included."""
        size: int = self._loaded.get_vocab_size(with_added_tokens=True)
        return size

    def id_of(self, token: str) -> int | None:
        found: int | None = self._loaded.token_to_id(token)
        return found


class StreamDecoder:
    """Text from the ids of a byte-level tokenizer, one at a time; holds back bytes that are not yet a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._given = self._waiting = 0

    def push(self, token: int) -> str:
        """The text that `token` completes; may be empty."""
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids)
        if not text.endswith("\ufffd"):
            return self._give(text)
        begun = (
            len(text) - 1
        )  # the last character may be the beginning of one: at most three of its four bytes
        self._waiting = self._waiting + 1 if begun == self._given and self._waiting else 1
        if self._waiting == 4:
            return self._give(text)
        out, self._given = text[self._given : begun], begun
        return out

    def flush(self) -> str:
        """What was held back, as it is."""
        return self._give(self._tokenizer.decode(self._ids)) if self._ids else ""

    def _give(self, text: str) -> str:
        out, self._ids = text[self._given :], []
        self._given = self._waiting = 0
        return out


class StopStrings:
    """Ends a stream of text before the first of several strings; holds back what may be the beginning of one.

    The first is the one that begins first in the whole text, however the text is cut into pieces.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.hit = False

    def push(self, text: str) -> str:
        """The part of the stream that is certain now. After a hit, nothing more."""
        if self.hit:
            return ""
        self._held += text
        open_from = len(self._held) - max((self._overhang(stop) for stop in self._stops), default=0)
        found = self._found()
        if found is not None and found <= open_from:
            return self._end(found)
        out, self._held = self._held[:open_from], self._held[open_from:]
        return out

    def flush(self) -> str:
        """The stream ended: what was held back is text after all, up to a stop that is in it."""
        found = self._found()
        if found is not None:
            return self._end(found)
        out, self._held = self._held, ""
        return out

    def _found(self) -> int | None:
        return min((at for stop in self._stops if (at := self._held.find(stop)) >= 0), default=None)

    def _end(self, at: int) -> str:
        self.hit = True
        out, self._held = self._held[:at], ""
        return out

    def _overhang(self, stop: str) -> int:
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if stop.startswith(self._held[-n:])), 0)
