"""The gateway's database as one file of SQLite.

What was acknowledged is in the operating system's hands, so it outlives the process, however that
ends (WAL, synchronous=NORMAL). A power cut or a crash of the whole machine may lose the last
transactions, never the file. Several processes of one machine may have it open; a network file
system may not hold it (WAL needs shared memory).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from voxturn.runtime.errors import DiskFull, OutputNotWritable, ResourceError, UsageError
from voxturn.runtime.gateway.transactions import T, Transactions, Work

_WAIT_S = 10.0
"""How long a transaction waits for one of another process."""
_APPLICATION = 0x766F7874
"""`PRAGMA application_id`, "voxt": the file is ours."""

_MIGRATIONS: Sequence[Sequence[str]] = (
    (
        """CREATE TABLE keys (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            hash BLOB NOT NULL UNIQUE,
            created REAL NOT NULL,
            expires REAL,
            revoked REAL,
            sessions INTEGER NOT NULL,
            rate INTEGER NOT NULL
        ) STRICT""",
        """CREATE TABLE conversations (
            key TEXT NOT NULL,
            id TEXT NOT NULL,
            messages BLOB NOT NULL,
            updated REAL NOT NULL,
            PRIMARY KEY (key, id)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX conversations_updated ON conversations (updated)",
        "CREATE TABLE hits (name TEXT NOT NULL, at REAL NOT NULL) STRICT",
        "CREATE INDEX hits_at ON hits (name, at)",
        """CREATE TABLE ephemeral (
            hash BLOB PRIMARY KEY,
            caller BLOB NOT NULL,
            expires REAL NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE ephemeral ADD COLUMN key TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX ephemeral_key ON ephemeral (key)",
    ),
    ("ALTER TABLE conversations ADD COLUMN holder INTEGER NOT NULL DEFAULT 0",),
)
"""From one version of the schema to the next. Only ever add to it: `PRAGMA user_version` counts
how many a file has had. Times are seconds since 1970."""


def default_path() -> Path:
    """`gateway.sqlite` in `VOXTURN_HOME`, or in `voxturn` in the user's data folder."""
    if home := os.environ.get("VOXTURN_HOME"):
        return Path(home) / "gateway.sqlite"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "voxturn" / "gateway.sqlite"


class Database(Transactions):
    """An open file; close it when done. `path` None: in memory, for tests.

    Raises `UsageError` for a file that is no database of ours, `ResourceError` where it cannot be
    made or opened.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        super().__init__()

    def _open(self) -> None:
        self._connection = _opened(self._path)

    def _done(self, work: Work[T], writes: bool) -> T:
        try:
            self._connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            with self._connection:  # commits, or rolls back
                return work(self._connection)
        except sqlite3.Error as exc:
            raise _failure(self._path, exc) from exc

    def _close(self) -> None:
        self._connection.close()


def _opened(path: Path | None) -> sqlite3.Connection:
    try:
        if path is not None:
            _make_private(path)
        connection = sqlite3.connect(path or ":memory:", timeout=_WAIT_S, isolation_level=None)
    except (OSError, sqlite3.Error) as exc:
        raise OutputNotWritable(f"{path}: cannot be opened as a database ({exc})") from exc
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")  # what was deleted is not left in the file
        _migrate(connection, path)
    except sqlite3.Error as exc:
        connection.close()
        if isinstance(exc, sqlite3.OperationalError):
            raise _failure(path, exc) from exc
        raise UsageError(f"{path}: is no database of voxturn; give another --database") from exc
    except BaseException:
        connection.close()
        raise
    return connection


def _make_private(path: Path) -> None:
    """Make the file, for its owner's eyes alone; SQLite gives its companions the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(file).st_mode & 0o077:
            os.fchmod(file, 0o600)
    finally:
        os.close(file)


def _migrate(connection: sqlite3.Connection, path: Path | None) -> None:
    """Bring the file to the newest version of the schema; of several processes one does it."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != _APPLICATION:
            raise UsageError(f"{path}: is a database of another program; give another --database")
        if version > len(_MIGRATIONS):
            raise UsageError(f"{path}: was written by a newer voxturn; install that")
        for steps in _MIGRATIONS[version:]:
            for step in steps:
                connection.execute(step)
        connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")


def _failure(path: Path | None, exc: sqlite3.Error) -> ResourceError:
    kind = DiskFull if "full" in str(exc) else OutputNotWritable
    return kind(f"{path or 'the database'}: {exc}")
