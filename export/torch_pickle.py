"""Runs the pickles of a file of PyTorch's with stand-ins for everything that they name, before torch
runs them.

What torch itself allows (`weights_only`) can still make objects of any size: `bytearray(10**11)`,
a storage that is called like a function, texts that are encoded again and again. What a checkpoint
needs is less. Python's own unpickler is used in Python, whose memo is a dictionary: in C it is an
array as long as any index.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, BinaryIO, NoReturn

_REBUILD = frozenset({"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter"})
"""Of `torch._utils`."""
_LATIN = frozenset({"latin1", "latin-1", "iso8859-1"})
_STORED = 5
"""Values by which a pickle refers to a storage: a mark, type, key, device and how many numbers."""


class Ignored:
    """Stands for an object of a pickle, whatever it is made of and filled with."""

    def __init__(self, *values: object, **named: object) -> None:
        """Keeps nothing."""

    def __setstate__(self, state: object) -> None:
        """Keeps nothing."""


class _Tensor(Ignored):
    """Stands for a tensor, which is whole once it is made."""

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError(
            "GLOBAL torch.Tensor is filled by other means than its storage"
        )


class _Storage:
    """Stands for a type of storage: it is named, and not called."""

    def __call__(self, *values: object) -> NoReturn:
        raise pickle.UnpicklingError("GLOBAL torch.Storage is called, as in no checkpoint")


def check_pickle(file: BinaryIO, ignored: Sequence[str], most_numbers: int) -> None:
    """Run the next pickle of a file.

    `ignored` names what may be made of anything; its storages have `most_numbers` at most, all
    together. Raises `pickle.UnpicklingError`, `ValueError`, and what a damaged pickle makes
    Python raise.
    """
    _Rehearsal(file, ignored, most_numbers).load()


class _Rehearsal(pickle._Unpickler):
    """An unpickler that makes nothing, not even the bytes that a pickle of protocol 5 announces."""

    dispatch = pickle._Unpickler.dispatch.copy()
    del dispatch[pickle.BYTEARRAY8[0]]

    def __init__(self, file: BinaryIO, ignored: Sequence[str], most_numbers: int) -> None:
        super().__init__(file)
        self._ignored = frozenset(ignored)
        self._most_numbers = most_numbers
        self._numbers: dict[Any, int] = {}

    def find_class(self, module: str, name: str, /) -> Any:
        full = f"{module}.{name}"
        if full in self._ignored:
            return Ignored
        if module == "torch._utils" and name in _REBUILD:
            return _Tensor
        if module in ("torch", "torch.cuda", "torch.storage") and name.endswith("Storage"):
            return _Storage()
        if full == "collections.OrderedDict":
            return OrderedDict
        if full == "_codecs.encode":
            return _latin
        if full in ("torch.Size", "torch.device"):
            return Ignored
        raise pickle.UnpicklingError(f"GLOBAL {full} is in no checkpoint")

    def persistent_load(self, pid: Any) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) < _STORED:
            raise pickle.UnpicklingError("a storage is named otherwise than torch names it")
        key, count = pid[2], pid[4]
        if not isinstance(count, int) or not 0 <= count <= self._most_numbers:
            raise ValueError(f"a storage of {count!r} numbers, more than its file has")
        self._numbers[key] = count
        if sum(self._numbers.values()) > self._most_numbers:
            raise ValueError("its storages have more numbers than its file")
        return _Storage()


def _latin(text: object, encoding: object = "") -> bytes:
    """The bytes of a number of numpy's, which older pickles have as text."""
    if not isinstance(text, str) or encoding not in _LATIN:
        raise pickle.UnpicklingError(
            "GLOBAL _codecs.encode makes something else than bytes of text"
        )
    return text.encode("latin-1")
