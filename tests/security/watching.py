"""What was opened while something ran: files by Python and by anyone else, sockets, connections to
a port."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_OPEN, _WRITTEN = 0x20, 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200
"""inotify's IN_OPEN; and what writes, moves, makes or removes."""
_EVENT = struct.Struct("iIII")

Event = tuple[str, tuple[Any, ...]]


class _Auditor:
    """Python's audit events of one thread.

    A hook stays for ever, so there is one, which may be off.
    """

    def __init__(self) -> None:
        self._events: list[Event] | None = None
        self._thread = 0
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        events = self._events
        if events is None or threading.get_ident() != self._thread:
            return
        if event == "open" or event.startswith("socket."):
            events.append((event, args))

    @contextlib.contextmanager
    def __call__(self) -> Iterator[list[Event]]:
        events: list[Event] = []
        self._events, self._thread = events, threading.get_ident()
        try:
            yield events
        finally:
            self._events = None


audited = _Auditor()
"""The files and sockets that Python opens in this thread."""


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[list[tuple[str, bool]]]:
    """The files of a folder that anybody opens or changes, once it ends: names, and whether it was
    written.

    FFmpeg's files are not Python's: the kernel is asked.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    seen: list[tuple[str, bool]] = []
    try:
        assert libc.inotify_add_watch(fd, os.fsencode(folder), _OPEN | _WRITTEN) >= 0
        yield seen
        with contextlib.suppress(BlockingIOError):
            while data := os.read(fd, 1 << 16):
                seen += _parsed(data)
    finally:
        os.close(fd)


def _parsed(data: bytes) -> Iterator[tuple[str, bool]]:
    while data:
        _, mask, _, size = _EVENT.unpack_from(data)
        name = data[_EVENT.size : _EVENT.size + size].rstrip(b"\0")
        yield os.fsdecode(name), bool(mask & _WRITTEN)
        data = data[_EVENT.size + size :]


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """A port on loopback. Accepting from it never waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def was_called(server: socket.socket) -> bool:
    """Whether anybody connected."""
    try:
        connection, _ = server.accept()
    except BlockingIOError:
        return False
    connection.close()
    return True
