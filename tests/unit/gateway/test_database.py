from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from voxturn.runtime.errors import OutputNotWritable, ResourceError, UsageError
from voxturn.runtime.gateway import database
from voxturn.runtime.gateway.database import Database, default_path


def test_the_file_and_its_companions_are_their_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "gateway.sqlite"
    with Database(path) as opened:
        opened.now(lambda c: c.execute("INSERT INTO hits VALUES ('a', 1.0)"))
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == [
            "gateway.sqlite",
            "gateway.sqlite-shm",
            "gateway.sqlite-wal",
        ]
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sqlite"
    Database(path).close()
    path.chmod(0o644)
    Database(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    for wanted in (1, 2):
        with Database(tmp_path / "a") as opened:
            opened.now(lambda c: c.execute("INSERT INTO hits VALUES ('a', 1.0)"))
            assert opened.now(lambda c: c.execute("SELECT count(*) FROM hits").fetchone()) == (
                wanted,
            )


async def test_work_that_fails_changes_nothing() -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO hits VALUES ('a', 1.0)")
        raise ValueError

    with Database() as opened:
        with pytest.raises(ValueError):  # noqa: PT011
            await opened.write(half)
        count = await opened.read(lambda c: c.execute("SELECT count(*) FROM hits").fetchone())
        assert count == (0,)
        with pytest.raises(ResourceError, match="no such table"):
            await opened.write(lambda c: c.execute("SELECT * FROM missing"))


async def test_a_write_is_done_though_nobody_waits_for_it_any_more() -> None:
    free = threading.Event()
    with Database() as opened:
        busy = asyncio.create_task(opened.write(lambda c: free.wait(10)))
        queued = asyncio.create_task(
            opened.write(lambda c: c.execute("INSERT INTO hits VALUES ('a', 1.0)"))
        )
        await asyncio.sleep(0)
        queued.cancel()
        await asyncio.wait([queued])
        assert queued.cancelled()
        free.set()
        assert await busy
        assert opened.now(lambda c: c.execute("SELECT count(*) FROM hits").fetchone()) == (1,)


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    text, foreign, newer = tmp_path / "text", tmp_path / "foreign", tmp_path / "newer"
    text.write_text("no database at all " * 100)
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    Database(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for path, wanted in ((text, "no database"), (foreign, "another program"), (newer, "newer")):
        with pytest.raises(UsageError, match=wanted) as caught:
            Database(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(OutputNotWritable):
        Database(tmp_path)
    assert text.read_text().startswith("no database")


def test_an_older_file_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    with Database(path) as opened:
        opened.now(lambda c: c.execute("INSERT INTO hits VALUES ('a', 1.0)"))
    further = ("ALTER TABLE hits ADD COLUMN who TEXT NOT NULL DEFAULT 'nobody'",)
    monkeypatch.setattr(database, "_MIGRATIONS", (*database._MIGRATIONS, further))
    for _ in range(2):
        with Database(path) as opened:
            rows = opened.now(lambda c: c.execute("SELECT * FROM hits").fetchall())
            assert rows == [("a", 1.0, "nobody")]


def test_its_place_is_beside_the_models_or_among_the_user_s_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VOXTURN_HOME", "/home")
    assert default_path() == Path("/home/gateway.sqlite")
    monkeypatch.delenv("VOXTURN_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_path() == Path("/data/voxturn/gateway.sqlite")
