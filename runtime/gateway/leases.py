"""Places for conversations that several processes share. A place is a lock of the kernel's on a byte
of a file, so it is free again as soon as its process has ended, however that ended."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator

_RECORD = 16
"""Bytes of the file for each place: a hash of the key whose conversation has it."""
_MUTEX = 1 << 40
"""The byte that whoever looks for a place locks meanwhile."""


class Leases:
    """`most` places of a file that is open as `file`, in this process only once: a process that
    closes any opening of it loses its locks (POSIX).

    One per process: its own locks do not keep it out.
    """

    def __init__(self, file: int, most: int) -> None:
        self._file = file
        self.most = most
        self._mine: set[int] = set()

    def taken(self, key: str | None = None) -> int:
        """How many places are taken by anyone, or by a key."""
        with self._alone():
            return len(self._taken(key)[0])

    def take(self, key: str, most_of_key: int) -> int | str:
        """The number of the place that was taken; else what is full: "all" or "key"."""
        with self._alone():
            of_key, free = self._taken(key)
            if free is None:
                return "all"
            if len(of_key) >= most_of_key:
                return "key"
            os.pwrite(self._file, _name(key), free * _RECORD)
            fcntl.lockf(
                self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, free
            )  # it is free: we look alone
            self._mine.add(free)
            return free

    def leave(self, place: int) -> None:
        """Free a place that was taken here."""
        self._mine.discard(place)
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def _taken(self, key: str | None) -> tuple[list[int], int | None]:
        """The places that are taken, by a key or by anyone, and the first that is free."""
        taken, free = [], None
        name = None if key is None else _name(key)
        for place in range(self.most):
            if place not in self._mine and self._locked(place):
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)
                free = place if free is None else free
            elif name is None or os.pread(self._file, _RECORD, place * _RECORD) == name:
                taken.append(place)
        return taken, free

    def _locked(self, place: int) -> bool:
        """Whether this process could lock it."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
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


def _name(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()[:_RECORD]
