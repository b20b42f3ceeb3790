"""A connection for callers in any loop: whoever stops waiting for an answer leaves nothing running."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest
from voxturn.runtime.errors import ServerDied
from voxturn.runtime.remote import connection
from voxturn.runtime.remote.connection import Connection, Connections
from voxturn.runtime.remote.contract import MOST_STREAMS


class Server:
    """A `TritonServer` whose answers do not come, and whose streams take a while to be left."""

    made: list[Server]

    def __init__(self, address: str, name: str) -> None:
        self.address = address
        self.name = name
        self.inferring = 0
        self.waiting = threading.Event()
        self.left = 0
        self.forgotten: list[tuple[str, int]] = []
        self.closed = False
        Server.made.append(self)

    async def stream(self, model: str, inputs: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
        try:
            yield {"number": 1}
            self.waiting.set()
            await asyncio.Event().wait()
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            self.left += 1

    async def infer(self, model: str, inputs: Mapping[str, Any], piece: Any) -> Any:
        self.inferring += 1
        await asyncio.Event().wait()

    async def forget(self, model: str, sequence: int) -> None:
        await asyncio.sleep(0.001)
        assert not self.closed
        self.forgotten.append((model, sequence))

    async def aclose(self) -> None:
        self.closed = True
        if self.address == "broken:1":
            raise ServerDied("the first one is gone")


@pytest.fixture(autouse=True)
def servers(monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    Server.made = []
    monkeypatch.setattr(connection, "TritonServer", Server)
    return Server.made


async def test_a_reader_that_is_cancelled_while_it_waits_leaves_the_stream(
    servers: list[Server],
) -> None:
    """It ended in `RuntimeError`: the generator was still being left."""
    link = Connection("there:1")
    try:
        answers = link.stream("whisper", {})
        assert await anext(answers) == {"number": 1}

        async def following() -> None:
            async for _ in answers:
                raise AssertionError("no more answers come")

        reader = asyncio.ensure_future(following())
        assert await asyncio.to_thread(servers[0].waiting.wait, 10)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await answers.aclose()
        assert servers[0].left == 1
    finally:
        link.close()
    assert servers[0].closed


def test_each_connection_is_a_client_by_itself(servers: list[Server]) -> None:
    links = [Connection("there:1"), Connection("there:1"), Connection("there:1", "me")]
    first, second, mine = (server.name for server in servers)
    assert first != second
    assert first
    assert mine == "me"
    for link in links:
        link.close()


async def test_what_a_model_would_not_take_at_once_waits_here(servers: list[Server]) -> None:
    link = Connection("there:1")
    try:
        asking = [asyncio.create_task(link.ainfer("whisper", {})) for _ in range(MOST_STREAMS + 1)]
        stream = link.stream("xtts", {})
        assert await anext(stream) == {"number": 1}  # another model's
        await stream.aclose()
        assert servers[0].inferring == MOST_STREAMS
        asking[0].cancel()
        for _ in range(10_000):
            if servers[0].inferring > MOST_STREAMS:
                break
            await asyncio.sleep(0.001)
        assert servers[0].inferring == MOST_STREAMS + 1
        for each in asking:
            each.cancel()
        await asyncio.wait(asking)
    finally:
        link.close()


def test_what_is_to_be_forgotten_is_told_before_the_connection_ends(servers: list[Server]) -> None:
    link = Connection("there:1")
    for number in range(3):
        link.forget("whisper", number)
    link.close()
    assert sorted(servers[0].forgotten) == [("whisper", number) for number in range(3)]
    link.forget("whisper", 3)  # whoever is thrown away later


def test_one_connection_that_fails_to_close_leaves_no_other_open(servers: list[Server]) -> None:
    links = Connections()
    assert links.of("broken:1") is links.of("broken:1")
    links.of("b:1")
    with pytest.raises(ServerDied):
        links.close()
    assert [server.closed for server in servers] == [True, True]
    links.close()
