"""Places that several processes share. Who has which is in a file that all have mapped; whether a
process still lives is a lock of the kernel's on one of its bytes, so all places of a process are
free again as soon as it has ended, however that ended."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterator

import numpy as np

_PLACE = np.dtype([("owner", "<u8"), ("key", "<u8")])
"""Who has a place, 0: nobody; and for whom: a hash of the key."""
_MUTEX = 1 << 40
"""The byte that whoever looks for a place locks meanwhile."""
_OWNERS = 1 << 41
"""From here on each process has a byte that it keeps locked: its number as an owner."""


class Leases:
    """`most` places of a file that is open as `file`, in this process only once: a process that
    closes any opening of it loses its locks (POSIX).

    One per process and file: its own locks do not keep it out.
    """

    def __init__(self, file: int, most: int) -> None:
        self._file = file
        self.most = most
        with self._alone():
            size = most * _PLACE.itemsize
            if os.fstat(file).st_size < size:  # what others have mapped stays
                os.ftruncate(file, size)
            self._places = np.frombuffer(mmap.mmap(file, size), _PLACE)
            self._own = next(number for number in range(1, 1 << 20) if self._lock(number))
            self._free_of(self._own)  # it may have been that of a process that was killed

    def taken(self, key: str | None = None) -> int:
        """How many places are taken by anyone, or by a key."""
        with self._alone():
            self._free_of_the_dead()
            return self._count(key)

    def take(self, key: str, most_of_key: int) -> int | str:
        """The number of the place that was taken; else what is full: "all" or "key"."""
        with self._alone():
            self._free_of_the_dead()
            free = np.flatnonzero(self._places["owner"] == 0)
            if not len(free):
                return "all"
            if self._count(key) >= most_of_key:
                return "key"
            place = int(free[0])
            self._places[place] = self._own, _hash(key)
            return place

    def leave(self, place: int) -> None:
        """Free a place that was taken here."""
        self._places["owner"][place] = 0

    def _count(self, key: str | None) -> int:
        taken = self._places["owner"] != 0
        if key is not None:
            taken &= self._places["key"] == _hash(key)
        return int(np.count_nonzero(taken))

    def _free_of_the_dead(self) -> None:
        for owner in set(self._places["owner"].tolist()) - {0, self._own}:
            if self._lock(owner):
                self._free_of(owner)
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _OWNERS + owner)

    def _free_of(self, owner: int) -> None:
        self._places["owner"][self._places["owner"] == owner] = 0

    def _lock(self, owner: int) -> bool:
        """Whether this process could lock an owner's byte: no other has it."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _OWNERS + owner)
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process looks at a time: it takes microseconds."""
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _MUTEX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _MUTEX)


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
