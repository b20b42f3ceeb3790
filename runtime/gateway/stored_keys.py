"""API keys in the gateway's database: of a key only its hash is there."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from voxturn.runtime.errors import UsageError
from voxturn.runtime.flow.clock import Clock, WallClock
from voxturn.runtime.gateway.keys import ANYONE, Caller
from voxturn.runtime.gateway.transactions import Connection, Transactions

_PREFIX = "vx_"
_LOOK_S = 1.0
"""How often the database is asked whether keys were made or revoked."""
_DAY_S = 86_400.0
_COLUMNS = "id, name, hash, created, expires, revoked, sessions, rate"


@dataclass(frozen=True)
class Key:
    """A key as the database has it. Times are seconds since 1970; `sessions` and `rate` as in
    `Caller`."""

    id: str
    name: str
    hash: bytes
    created: float
    expires: float | None
    revoked: float | None
    sessions: int
    rate: int

    def good(self, now: float) -> bool:
        """Whether it opens anything."""
        return self.revoked is None and (self.expires is None or now < self.expires)


def create(
    database: Transactions,
    name: str,
    sessions: int = 0,
    rate: int = 0,
    days: float = 0.0,
    now: float | None = None,
) -> tuple[Key, str]:
    """A new key and its secret, which nobody can tell afterwards. `days` 0: it does not expire."""
    now = time.time() if now is None else now
    secret = _PREFIX + secrets.token_urlsafe(32)
    key = Key(
        "key_" + secrets.token_hex(6),
        name,
        _digest(secret),
        now,
        now + days * _DAY_S if days else None,
        None,
        sessions,
        rate,
    )
    values = (key.id, name, key.hash, now, key.expires, None, sessions, rate)
    query = f"INSERT INTO keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    database.now(lambda connection: connection.execute(query, values))
    return key, secret


def all_keys(database: Transactions) -> list[Key]:
    """Every key that was ever made, the oldest first."""
    return database.now(_read)


def revoke(database: Transactions, identifier: str, now: float | None = None) -> bool:
    """Take a key back; whether it had not been already. Raises `UsageError` where there is none."""
    now = time.time() if now is None else now

    def take_back(connection: Connection) -> bool:
        known = connection.execute("SELECT 1 FROM keys WHERE id = ?", (identifier,)).fetchone()
        if known is None:
            raise UsageError(f"there is no key {identifier}; `voxturn keys list` shows them")
        query = "UPDATE keys SET revoked = ? WHERE id = ? AND revoked IS NULL"
        return connection.execute(query, (now, identifier)).rowcount > 0

    return database.now(take_back)


def forget(database: Transactions, identifier: str) -> int:
    """Delete the conversations of a key; how many there were."""
    query = "DELETE FROM conversations WHERE key = ?"
    return database.now(lambda connection: connection.execute(query, (identifier,)).rowcount)


class StoredKeys:
    """`Keys` of a database, which other processes may change: what they do is seen within a second.

    `everyone`: whether whoever shows no key, or an unknown one, may call as well. None: as long as
    no key was ever made. So revoking the last one opens nothing.
    """

    def __init__(
        self,
        database: Transactions,
        everyone: bool | None = None,
        clock: Clock | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._everyone = everyone
        self._clock = clock or WallClock()
        self._wall = wall
        self._looked = float("-inf")
        self._version = (-1, -1)
        self._lock = asyncio.Lock()
        self._by_id: dict[str, Key] = {}
        self._by_hash: dict[bytes, Key] = {}

    async def caller(self, secret: str) -> Caller | None:
        """Whose key it is."""
        await self._look()
        key = self._found(secret)
        if key is not None and key.good(self._wall()):
            return Caller(key.id, key.name, sessions=key.sessions, rate=key.rate)
        open_to_all = not self._by_id if self._everyone is None else self._everyone
        return ANYONE if open_to_all else None

    async def valid(self, key: str) -> bool:
        """Whether the key of this id still is one; of nobody's, whether none is needed."""
        await self._look()
        if not key:
            return not self._by_id if self._everyone is None else self._everyone
        stored = self._by_id.get(key)
        return stored is not None and stored.good(self._wall())

    def _found(self, secret: str) -> Key | None:
        digest = _digest(secret)
        key = self._by_hash.get(digest[:8])
        return key if key is not None and hmac.compare_digest(key.hash, digest) else None

    async def _look(self) -> None:
        """See what other processes did."""
        async with self._lock:
            if self._clock.now() - self._looked < _LOOK_S:
                return
            version = await self._database.read(_version)
            if version != self._version:
                self._keep(await self._database.read(_read))
                self._version = version
            self._looked = self._clock.now()

    def _keep(self, keys: Iterable[Key]) -> None:
        self._by_id = {key.id: key for key in keys}
        self._by_hash = {key.hash[:8]: key for key in self._by_id.values()}


def _version(connection: Connection) -> tuple[int, int]:
    """Differs once a key was made or taken back: neither is ever undone."""
    made, revoked = connection.execute("SELECT count(*), count(revoked) FROM keys").fetchone()
    return int(made), int(revoked)


def _read(connection: Connection) -> list[Key]:
    query = f"SELECT {_COLUMNS} FROM keys ORDER BY created, id"  # noqa: S608
    return [Key(*row) for row in connection.execute(query)]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()
