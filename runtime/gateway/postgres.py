"""The gateway's database in PostgreSQL, for gateways on more than one machine.

Its tables are in a schema of their own, `voxturn`. What was acknowledged is as lasting as the server
makes its commits. Addresses may have passwords: nothing here shows more of one than the server and
the database's name.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from voxturn.runtime.errors import OutputNotWritable, ResourceError, UsageError
from voxturn.runtime.gateway.transactions import Rows, T, Transactions, Work

_WAIT_S = 10
"""How long to wait for a connection, a lock, or the network."""
_LOCK = 0x766F7874
"""The advisory lock that writers hold: "voxt"."""
_HOST = re.compile(r"[A-Za-z0-9._:/,-]*")
_PLACE = re.compile(r"\?|:(\w+)")

_MIGRATIONS: Sequence[Sequence[str]] = (
    (
        """CREATE TABLE keys (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            hash BYTEA NOT NULL UNIQUE,
            created DOUBLE PRECISION NOT NULL,
            expires DOUBLE PRECISION,
            revoked DOUBLE PRECISION,
            sessions INTEGER NOT NULL,
            rate INTEGER NOT NULL
        )""",
        """CREATE TABLE conversations (
            key TEXT NOT NULL,
            id TEXT NOT NULL,
            messages BYTEA NOT NULL,
            updated DOUBLE PRECISION NOT NULL,
            holder BIGINT NOT NULL DEFAULT 0,
            PRIMARY KEY (key, id)
        )""",
        "CREATE INDEX conversations_updated ON conversations (updated)",
        "CREATE TABLE hits (name TEXT NOT NULL, at DOUBLE PRECISION NOT NULL)",
        "CREATE INDEX hits_at ON hits (name, at)",
        """CREATE TABLE ephemeral (
            hash BYTEA PRIMARY KEY,
            caller BYTEA NOT NULL,
            expires DOUBLE PRECISION NOT NULL,
            key TEXT NOT NULL
        )""",
        "CREATE INDEX ephemeral_key ON ephemeral (key)",
    ),
)
"""From one version of the schema to the next. Only ever add to it. Times are seconds since 1970."""


class Postgres(Transactions):
    """A database at an address as `postgresql://USER@HOST/NAME`. It is connected to again where the
    connection was lost.

    Raises `UsageError` for an address that is none, `ResourceError` where it cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._name = shown(url)
        super().__init__()

    def _open(self) -> None:
        try:
            self._connection = _connected(self._url)
        except psycopg.Error as exc:
            raise self._failure(exc) from exc
        try:
            _migrate(self._connection, self._name)
        except psycopg.Error as exc:
            self._connection.close()
            raise self._failure(exc) from exc
        except UsageError:
            self._connection.close()
            raise

    def _done(self, work: Work[T], writes: bool) -> T:
        try:
            try:
                return self._tried(work, writes)
            except _NotBegun:
                self._connection.close()
                self._connection = _connected(self._url)
                return self._tried(work, writes)
        except _NotBegun as exc:
            raise self._failure(exc.error) from exc.error
        except psycopg.DataError as exc:
            raise UsageError("a name has characters that the database cannot keep") from exc
        except psycopg.Error as exc:
            raise self._failure(exc) from exc

    def _tried(self, work: Work[T], writes: bool) -> T:
        """As `_done`. Raises `_NotBegun` where the connection was lost before."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._connection.transaction())
                if writes:
                    self._connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            except psycopg.OperationalError as exc:
                if not self._connection.closed:
                    raise
                raise _NotBegun(exc) from exc
            return work(_Statements(self._connection))

    def _close(self) -> None:
        self._connection.close()

    def _failure(self, exc: psycopg.Error) -> ResourceError:
        text = " ".join(str(exc).split())
        return OutputNotWritable(f"{self._name}: {text}")


class _NotBegun(Exception):
    """The connection was lost before the transaction began: nothing was done."""

    def __init__(self, error: psycopg.OperationalError) -> None:
        super().__init__()
        self.error = error


class _Statements:
    """Statements with SQLite's marks for values."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, query: str, values: Any = (), /) -> Rows:
        """Execute one."""
        return self._connection.execute(_marked(query), values)


@lru_cache(maxsize=64)
def _marked(query: str) -> str:
    """A statement with psycopg's marks for values."""
    return _PLACE.sub(lambda mark: f"%({mark[1]})s" if mark[1] else "%s", query)


def shown(url: str) -> str:
    """An address without what nobody is to see. Raises `UsageError` where it is none."""
    parts = _parts(url)
    host, port = parts.get("host", ""), parts.get("port", "")
    return f"postgresql://{host}{f':{port}' if port else ''}/{parts.get('dbname', '')}"


def _parts(url: str) -> Mapping[str, str]:
    """What an address says. What is odd in it may be a piece of a password that was not quoted."""
    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.ProgrammingError:
        parts = {"port": "none"}
    ports = parts.get("port", "").replace(",", "")
    odd = (ports and not ports.isdigit()) or "@" in parts.get("dbname", "")
    if odd or not _HOST.fullmatch(parts.get("host", "")):
        raise UsageError(
            "the database's address is none as postgresql://USER@HOST/NAME (what is special in a "
            "password has to be quoted, as %40 for @)"
        ) from None
    return parts


def _connected(url: str) -> psycopg.Connection[Any]:
    defaults = {
        "connect_timeout": _WAIT_S,
        "tcp_user_timeout": 1000 * _WAIT_S,
        "application_name": "voxturn",
    }
    options = {name: value for name, value in defaults.items() if name not in _parts(url)}
    connection = psycopg.connect(url, autocommit=True, **options)  # type: ignore[arg-type]
    try:
        connection.execute(f"SET search_path TO voxturn; SET lock_timeout = '{_WAIT_S}s'")
    except psycopg.Error:
        connection.close()
        raise
    return connection


def _migrate(connection: psycopg.Connection[Any], name: str) -> None:
    """Bring the schema to its newest version; of several processes one does it."""
    execute = connection.execute
    with connection.transaction():
        execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        if execute("SELECT to_regnamespace('voxturn')").fetchone() == (None,):
            execute("CREATE SCHEMA voxturn")
        execute("CREATE TABLE IF NOT EXISTS migrations (done INTEGER NOT NULL)")
        row = execute("SELECT max(done) FROM migrations").fetchone()
        version = (row[0] if row else None) or 0
        if version > len(_MIGRATIONS):
            raise UsageError(f"{name}: was written by a newer voxturn; install that")
        for number, steps in enumerate(_MIGRATIONS[version:], version + 1):
            for step in steps:
                execute(step)
            execute("INSERT INTO migrations VALUES (%s)", (number,))
