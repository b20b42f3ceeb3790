"""Ephemeral keys in the gateway's database, so that one that a worker made opens a session at any
other. As of lasting keys, only their hashes are there."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.realtime.secrets import MOST, MOST_OF_KEY, PREFIX, too_many
from voxturn.runtime.gateway.transactions import Connection, Transactions


class StoredSecrets:
    """Keeps ephemeral keys until they were used, or their time is over. `wall`: seconds since
    1970."""

    def __init__(self, database: Transactions, wall: Callable[[], float] = time.time) -> None:
        self._database = database
        self._wall = wall

    async def mint(self, caller: Caller, session: str, seconds: float) -> tuple[str, int]:
        """A new key of a caller for one session with these settings (JSON), and when it expires, in
        seconds since 1970. Raises `ApiError` 429 where too many are unused."""
        now = self._wall()
        secret = PREFIX + secrets.token_urlsafe(32)
        raw = msgspec.json.encode(replace(caller, session=session))

        def keep(connection: Connection) -> bool:
            connection.execute("DELETE FROM ephemeral WHERE expires <= ?", (now,))
            (unused,) = connection.execute("SELECT count(*) FROM ephemeral").fetchone()
            query = "SELECT count(*) FROM ephemeral WHERE key = ?"
            (own,) = connection.execute(query, (caller.key,)).fetchone()
            if unused >= MOST or own >= MOST_OF_KEY:
                return False
            row = (_digest(secret), raw, now + seconds, caller.key)
            insert = "INSERT INTO ephemeral (hash, caller, expires, key) VALUES (?, ?, ?, ?)"
            connection.execute(insert, row)
            return True

        if not await self._database.write(keep):
            raise too_many()
        return secret, int(now + seconds)

    async def caller(self, secret: str) -> Caller | None:
        """Whose key it is, with the session's settings; None where it is of no use (any more)."""
        which = (_digest(secret), self._wall())

        def find(connection: Connection) -> bytes | None:
            query = "SELECT caller FROM ephemeral WHERE hash = ? AND expires > ?"
            row = connection.execute(query, which).fetchone()
            return row[0] if row else None

        raw = await self._database.read(find)
        return msgspec.json.decode(raw, type=Caller) if raw is not None else None

    async def spend(self, secret: str) -> bool:
        """Use a key up; whether it was still of use. Of two that ask at once, one is told so."""
        which = (_digest(secret), self._wall())
        query = "DELETE FROM ephemeral WHERE hash = ? AND expires > ?"
        return await self._database.write(lambda c: c.execute(query, which).rowcount) > 0

    async def sweep(self) -> None:
        """Remove those whose time is over."""
        query, now = "DELETE FROM ephemeral WHERE expires <= ?", (self._wall(),)
        await self._database.write(lambda c: c.execute(query, now))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()
