"""A lock between processes that change the same files of the store."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from voxturn.runtime.errors import ExecutorUnavailable

_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the advisory lock `path`, waiting without limit for the process or thread that holds it.

    The operating system frees the lock of a process that dies; the empty file stays. Raises
    `ExecutorUnavailable` without filelock, and `OSError` where the file cannot be opened or locked.
    """
    try:
        from filelock import FileLock, Timeout
    except ImportError as exc:
        raise ExecutorUnavailable(
            "filelock is not installed; pip install 'voxturn[embedded]'"
        ) from exc
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        _LOG.info("%s is held by another process; waiting for it", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
