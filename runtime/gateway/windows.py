"""Requests by time that several processes count together, in the gateway's database or in Redis, by
storages of the library `limits`."""

from __future__ import annotations

import time
from collections.abc import Callable

from limits.aio.storage import MovingWindowSupport, Storage
from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from voxturn.runtime.errors import ExecutorUnavailable, ResourceError, UsageError
from voxturn.runtime.gateway.transactions import Connection, Transactions
from voxturn.runtime.gateway_settings import GatewaySettings
from voxturn.runtime.models.plugins import importable

_LONGEST_S = 3600.0
"""No window is longer."""
_WAIT_S = 5.0
"""How long Redis may take to answer."""


class StoredWindows(Storage, MovingWindowSupport):
    """Moving windows alone: a row for each request that is still in one."""

    STORAGE_SCHEME = ["voxturn"]  # noqa: RUF012  as `limits` declares it

    def __init__(self, database: Transactions, wall: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._database = database
        self._wall = wall

    @property
    def base_exceptions(self) -> type[Exception]:
        """What `limits` would wrap."""
        return ResourceError

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` requests, if fewer than `limit` were within `expiry` seconds."""
        now = self._wall()

        def count(connection: Connection) -> bool:
            connection.execute("DELETE FROM hits WHERE name = ? AND at <= ?", (key, now - expiry))
            query = "SELECT count(*) FROM hits WHERE name = ?"
            (hits,) = connection.execute(query, (key,)).fetchone()
            if hits + amount > limit:
                return False
            for _ in range(amount):
                connection.execute("INSERT INTO hits VALUES (?, ?)", (key, now))
            return True

        return await self._database.write(count)

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the first request of the window was, and how many there are."""
        now = self._wall()

        def look(connection: Connection) -> tuple[float, int]:
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


def windows_of(settings: GatewaySettings, database: Transactions | None) -> Storage | None:
    """Where requests by time are counted: in Redis where a profile says so, in the database that
    several processes share, or in memory (None).

    Raises `ExecutorUnavailable` without Redis's package, `UsageError` for an address that is none.
    """
    if not settings.limits:
        return StoredWindows(database) if database is not None else None
    if not importable("redis"):
        raise ExecutorUnavailable("Redis needs its package; pip install 'voxturn[gateway,redis]'")
    try:
        storage = storage_from_string(
            f"async+{settings.limits}",
            implementation="redispy",
            wrap_exceptions=True,
            key_prefix="voxturn",
            socket_timeout=_WAIT_S,
            socket_connect_timeout=_WAIT_S,
        )
    except (ConfigurationError, ValueError):
        raise UsageError("[gateway] limits: is no address as redis://HOST:6379/0") from None
    assert isinstance(storage, Storage)  # `async+` says so
    return storage
