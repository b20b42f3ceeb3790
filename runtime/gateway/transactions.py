"""A database as the gateway's stores see it: transactions, one after the other, in one thread that
owns the connection. `database` is SQLite's, `postgres` PostgreSQL's."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from voxturn.runtime.closing import Closing

T = TypeVar("T")


class Rows(Protocol):
    """What a statement has found. `rowcount`: how many rows it has changed."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """Takes statements that SQLite and PostgreSQL both understand, with `?` or `:name` for
    values."""

    def execute(self, query: str, values: Any = (), /) -> Rows: ...


Work = Callable[[Connection], T]


class Transactions(Closing):
    """An open database; close it when done."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "voxturn-database")
        try:
            self._thread.submit(self._open).result()
        except BaseException:
            self._thread.shutdown()
            raise

    async def read(self, work: Work[T]) -> T:
        """What `work` finds, called in the database's thread. Raises `ResourceError`."""
        return await asyncio.wrap_future(self._thread.submit(self._done, work, False))

    async def write(self, work: Work[T]) -> T:
        """`work` as one transaction, alone. Returns once it outlives the process.

        It is done even if whoever waits for it is cancelled. Raises `ResourceError`, and what
        `work` raises, after which nothing was changed.
        """
        begun = self._thread.submit(self._done, work, True)
        # cancelling the waiter would take the work out of the thread's queue
        return await asyncio.shield(asyncio.wrap_future(begun))

    def now(self, work: Work[T]) -> T:
        """As `write`, for code without an event loop."""
        return self._thread.submit(self._done, work, True).result()

    def close(self) -> None:
        """Let begun transactions end, then close it."""
        self._thread.submit(self._close)
        self._thread.shutdown()

    # in the database's thread

    @abstractmethod
    def _open(self) -> None:
        """Connect. Raises `UsageError` for what is no database of ours, `ResourceError`."""

    @abstractmethod
    def _done(self, work: Work[T], writes: bool) -> T:
        """What `work` returns, as one transaction; of those that write there is one at a time.
        Raises `ResourceError`."""

    @abstractmethod
    def _close(self) -> None:
        """Disconnect."""
