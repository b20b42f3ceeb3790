"""Requests by time that several processes count together, in the gateway's database: a storage of
the library `limits`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from limits.aio.storage import MovingWindowSupport, Storage
from voxturn.runtime.gateway.database import Database

_LONGEST_S = 3600.0
"""No window is longer."""


class SqliteWindows(Storage, MovingWindowSupport):
    """Moving windows alone: a row for each request that is still in one."""

    STORAGE_SCHEME = ["voxturn"]  # noqa: RUF012  as `limits` declares it

    def __init__(self, database: Database, wall: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._database = database
        self._wall = wall

    @property
    def base_exceptions(self) -> type[Exception]:
        """What `limits` would wrap: nothing."""
        return sqlite3.Error

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` requests, if fewer than `limit` were within `expiry` seconds."""
        now = self._wall()

        def count(connection: sqlite3.Connection) -> bool:
            connection.execute("DELETE FROM hits WHERE name = ? AND at <= ?", (key, now - expiry))
            query = "SELECT count(*) FROM hits WHERE name = ?"
            (hits,) = connection.execute(query, (key,)).fetchone()
            if hits + amount > limit:
                return False
            connection.executemany("INSERT INTO hits VALUES (?, ?)", [(key, now)] * amount)
            return True

        return await self._database.write(count)

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the first request of the window was, and how many there are."""
        now = self._wall()

        def look(connection: sqlite3.Connection) -> tuple[float, int]:
            query = "SELECT min(at), count(*) FROM hits WHERE name = ? AND at > ?"
            first, hits = connection.execute(query, (key, now - expiry)).fetchone()
            return (now if first is None else float(first)), int(hits)

        return await self._database.read(look)

    async def sweep(self) -> None:
        """Remove the requests of those who have stopped calling."""
        before = (self._wall() - _LONGEST_S,)
        await self._database.write(lambda c: c.execute("DELETE FROM hits WHERE at <= ?", before))

    async def reset(self) -> int | None:
        """Forget all requests."""
        return await self._database.write(lambda c: c.execute("DELETE FROM hits").rowcount)

    async def clear(self, key: str) -> None:
        """Forget those of one name."""
        await self._database.write(lambda c: c.execute("DELETE FROM hits WHERE name = ?", (key,)))

    async def check(self) -> bool:
        """Whether the database answers."""
        await self._database.read(lambda c: c.execute("SELECT 1"))
        return True

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Fixed windows are not counted here."""
        raise NotImplementedError

    async def get(self, key: str) -> int:
        """Fixed windows are not counted here."""
        raise NotImplementedError

    async def get_expiry(self, key: str) -> float:
        """Fixed windows are not counted here."""
        raise NotImplementedError
