"""A gateway that is killed while it writes its database: nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
from pathlib import Path

from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway.store import StoredConversations
from voxturn.runtime.messages import Message

from tests.security.acknowledging import AT_ONCE, KEY, message, write

_KILLS = 20
_LIVE_S = 60.0


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sqlite"
    dice = random.Random(21)
    spawn = multiprocessing.get_context("forkserver")
    spawn.set_forkserver_preload(["tests.security.acknowledging"])
    acknowledged = dict.fromkeys(range(AT_ONCE), 0)
    for _ in range(_KILLS):
        here, there = spawn.Pipe(duplex=False)
        process = spawn.Process(target=write, args=(path, there))
        process.start()
        there.close()
        try:
            for _ in range(dice.randint(1, 40)):
                assert here.poll(_LIVE_S)
                _note(acknowledged, here.recv())
        finally:
            process.kill()
        process.join()
        with contextlib.suppress(EOFError):
            while True:  # what it had said before it died
                _note(acknowledged, here.recv())
        here.close()
        _check(path, acknowledged)
    assert all(acknowledged.values())


def _note(acknowledged: dict[int, int], told: tuple[int, int]) -> None:
    conversation, count = told
    assert count > acknowledged[conversation]  # it went on where it was
    acknowledged[conversation] = count


def _check(path: Path, acknowledged: dict[int, int]) -> None:
    with Database(path) as database:
        assert database.now(lambda c: c.execute("PRAGMA integrity_check").fetchall()) == [("ok",)]
        for conversation, count in acknowledged.items():
            messages = asyncio.run(_load(database, conversation))
            assert len(messages) >= count
            assert messages == [message(conversation, i) for i in range(len(messages))]


async def _load(database: Database, conversation: int) -> list[Message]:
    return await StoredConversations(database, 30.0, 1000).load(KEY, str(conversation)) or []
