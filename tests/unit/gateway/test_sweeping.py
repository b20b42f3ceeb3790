from __future__ import annotations

import asyncio

import pytest
from voxturn.runtime.errors import DiskFull
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway.keys import ANYONE
from voxturn.runtime.gateway.store import StoredConversations
from voxturn.runtime.gateway.stored_secrets import StoredSecrets
from voxturn.runtime.gateway.sweeping import sweeping
from voxturn.runtime.gateway.windows import StoredWindows
from voxturn.runtime.messages import Message

HOUR_S = 3600.0


class Counted:
    """Counts its sweeps; the first one fails."""

    def __init__(self) -> None:
        self.sweeps = 0

    async def sweep(self) -> None:
        self.sweeps += 1
        if self.sweeps == 1:
            raise DiskFull("the disk is full")


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_stores_are_swept_at_once_and_every_hour(caplog: pytest.LogCaptureFixture) -> None:
    clock, store = ManualClock(), Counted()
    task = asyncio.create_task(sweeping((None, object(), store), clock))
    await settled()
    assert store.sweeps == 1
    assert "the disk is full" in caplog.text
    for hours in (1, 2):
        clock.advance(HOUR_S - 1.0)
        await settled()
        assert store.sweeps == hours
        clock.advance(1.0)
        await settled()
        assert store.sweeps == hours + 1
    await cancel_and_wait(task)
    assert clock.waiting == 0


async def test_a_gateway_removes_what_nobody_asks_for_any_more(gateway: Gateway) -> None:
    """Conversations that are not gone on with, keys that have stopped calling."""
    clock = ManualClock(1_800_000_000.0)
    with Database() as database:
        gateway.clock = clock
        gateway.conversations = StoredConversations(database, 1.0, 100, clock.now)
        gateway.windows = windows = StoredWindows(database, clock.now)
        gateway.secrets = StoredSecrets(database, clock.now)
        await gateway.conversations.save("", "1", [Message("user", "Hello.")])
        await windows.acquire_entry("ana", 5, 60)
        await gateway.secrets.mint(ANYONE, "{}", 600.0)
        counts = {"conversations": 1, "hits": 1, "ephemeral": 1}
        async with gateway:
            for hours, gone in ((0, ()), (1, ("hits", "ephemeral")), (24, ("conversations",))):
                clock.advance(hours * HOUR_S)
                counts |= dict.fromkeys(gone, 0)
                async with asyncio.timeout(10):
                    while await rows(database, *counts) != counts or not clock.waiting:  # noqa: ASYNC110
                        await asyncio.sleep(0)  # nobody tells
        assert clock.waiting == 0


async def rows(database: Database, *tables: str) -> dict[str, int]:
    """How many rows each table has."""
    query = "SELECT count(*) FROM {}"
    return {
        table: await database.read(lambda c, t=table: c.execute(query.format(t)).fetchone()[0])
        for table in tables
    }
