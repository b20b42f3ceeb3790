"""Tokenizers from a `tokenizer.json`, and text from tokens as they arrive."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from voxturn.runtime.errors import CorruptModel, ExecutorUnavailable
from voxturn.runtime.files import MOST_TOKENIZER, size_of

_MARK = re.compile(r"[<\[].*[>\]]", re.DOTALL)
"""What a token looks like that text is marked up with, where it is not declared special."""


class Tokenizer(Protocol):
    """Text to ids and back."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    @property
    def size(self) -> int:
        """How many tokens there are, marks included."""
        ...

    @property
    def marks(self) -> Sequence[str]:
        """The tokens that text is marked up with: they are no text, however they come to be in one."""
        ...

    def id_of(self, token: str) -> int | None: ...


def read_tokenizer(path: Path, extra: str = "embedded") -> Any:
    """A `tokenizers.Tokenizer` that takes a text as it is, whatever truncation and padding its file
    asks for.

    Raises `ExecutorUnavailable` that names the `extra` to install, `OSError` or `ValueError` for
    what is no such file, and whatever the library raises for a damaged one.
    """
    try:
        from tokenizers import Tokenizer as Loaded
    except ImportError as exc:
        raise ExecutorUnavailable(
            f"tokenizers is not installed; pip install 'voxturn[{extra}]'"
        ) from exc
    size_of(path, MOST_TOKENIZER)
    tokenizer = Loaded.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def marks_of(tokenizer: Any) -> tuple[str, ...]:
    """The added tokens of a `tokenizers.Tokenizer` that text is marked up with."""
    added = tokenizer.get_added_tokens_decoder().values()
    return tuple(
        token.content
        for token in added
        if len(token.content) > 1 and (token.special or _MARK.fullmatch(token.content))
    )


class JsonTokenizer:
    """Hugging Face's `tokenizers` on a `tokenizer.json`.

    Special tokens in the text are recognised, none are added.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._loaded = read_tokenizer(path)
        except ExecutorUnavailable:
            raise
        except Exception as exc:  # the library raises a bare Exception
            raise CorruptModel(f"{path}: not a tokenizer ({exc}); pull the model again") from exc
        self.marks = marks_of(self._loaded)

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


class ShownMarks:
    """A tokenizer's text from ids in which some `marks` are shown that it leaves out, as special
    tokens are."""

    def __init__(self, tokenizer: Tokenizer, marks: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        ids = {tokenizer.id_of(mark): mark for mark in marks if mark}
        self._hidden = {
            i: mark for i, mark in ids.items() if i is not None and not tokenizer.decode([i])
        }

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        text, begin = "", 0
        for at, i in enumerate(ids):
            if i in self._hidden:
                text += self._plain(ids[begin:at]) + self._hidden[i]
                begin = at + 1
        return text + self._plain(ids[begin:])

    def _plain(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids) if ids else ""


class Decodes(Protocol):
    """Text from ids."""

    def decode(self, ids: Sequence[int]) -> str: ...


class StreamDecoder:
    """Text from ids, one at a time; holds back bytes that are not yet a character.

    A token is decoded together with the piece before it: some tokenizers take the space off what
    begins a text.
    """

    def __init__(self, tokenizer: Decodes) -> None:
        self._tokenizer = tokenizer
        self._before: list[int] = []
        self._ids: list[int] = []
        self._given = self._waiting = 0

    def push(self, token: int) -> str:
        """The text that `token` completes; may be empty."""
        self._ids.append(token)
        text = self._decoded()
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
        return self._give(self._decoded()) if self._ids else ""

    def _decoded(self) -> str:
        earlier = self._tokenizer.decode(self._before) if self._before else ""
        text = self._tokenizer.decode([*self._before, *self._ids])
        if not text.startswith(earlier):  # half a character spoils the bytes before it
            return self._tokenizer.decode(self._ids)
        return text[len(earlier) :]

    def _give(self, text: str) -> str:
        out = text[self._given :]
        self._waiting = 0
        if out:  # a piece without text says how the next one is decoded: it stays
            # what ends in no character is no help to what follows
            self._before = [] if text.endswith("\ufffd") else self._ids
            self._ids = []
            self._given = 0
        return out


class StopStrings:
    """Ends a stream of text before the first of several strings; holds back what may be the
    beginning of one.

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
