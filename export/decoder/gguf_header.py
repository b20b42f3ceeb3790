"""Whether the counts and lengths in a GGUF file's metadata can be true, asked before the library
believes them.

The `gguf` library makes an object of each value that a count promises, also behind the end of the
file. Source of the layout: ggml's `docs/gguf.md`.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from voxturn.runtime.files import size_of

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Of a value by the number of its type, where it is no string and no array."""
_MOST_KEYS, _MOST_TENSORS, _MOST_VALUES = 1 << 12, 1 << 16, 1 << 20
"""Twice the values that the tokenizer of Llama 3 has: tokens, merges and kinds."""
_LEAST_TENSOR = 24
"""Bytes that say where a tensor lies, without its name and its sizes."""


def check_header(path: Path) -> None:
    """Raise `ValueError` for counts, lengths or types that a file of this size cannot have;
    `OSError`."""
    size = size_of(path)
    with path.open("rb") as file:
        if not size or file.read(4) != _MAGIC:
            raise ValueError("it does not begin as one")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                _Header(data, size).check()
            except struct.error as exc:
                raise ValueError("it ends within its metadata") from exc


class _Header:
    """Steps over the metadata of a file."""

    def __init__(self, data: mmap.mmap, size: int) -> None:
        self._data = data
        self._size = size
        self._at = 4
        self._order = "<"
        self._values = 0

    def check(self) -> None:
        version = self._number("I")
        if not version & 0xFFFF:  # the library takes files in the other byte order
            self._order = ">"
        tensors, keys = self._number("Q"), self._number("Q")
        if keys > _MOST_KEYS or tensors > min(_MOST_TENSORS, self._size // _LEAST_TENSOR):
            raise ValueError(f"it would have {tensors:,} tensors and {keys:,} keys")
        for _ in range(keys):
            self._text()
            self._value(self._number("I"))

    def _value(self, kind: int) -> None:
        if kind == _STRING:
            self._text()
        elif kind == _ARRAY:
            self._array(self._number("I"), self._number("Q"))
        else:
            self._step(self._bytes_of(kind))

    def _array(self, kind: int, count: int) -> None:
        self._values += count
        if self._values > _MOST_VALUES:
            raise ValueError(f"it would have {self._values:,} values in lists")
        if kind == _STRING:
            for _ in range(count):
                self._text()
        else:
            self._step(count * self._bytes_of(kind))

    def _bytes_of(self, kind: int) -> int:
        if kind not in _BYTES:
            raise ValueError(f"it has values of the unknown type {kind}, or lists in lists")
        return _BYTES[kind]

    def _text(self) -> None:
        self._step(self._number("Q"))

    def _step(self, count: int) -> None:
        self._at += count
        if self._at > self._size:
            raise ValueError(f"a value of {count:,} bytes goes beyond its end")

    def _number(self, form: str) -> int:
        (value,) = struct.unpack_from(self._order + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return int(value)
