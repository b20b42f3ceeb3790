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


class Server:
    """A `TritonServer` whose answers do not come, and whose streams take a while to be left."""

    made: list[Server]

    def __init__(self, address: str) -> None:
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

    async def forget(self, model: str, sequence: int) -> None:
        await asyncio.sleep(0.001)
        assert not self.closed
        self.forgotten.append((model, sequence))

    async def aclose(self) -> None:
        self.closed = True
        if Server.made[0] is self and len(Server.made) > 1:
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


def test_what_is_to_be_forgotten_is_told_before_the_connection_ends(servers: list[Server]) -> None:
    link = Connection("there:1")
    for number in range(3):
        link.forget("whisper", number)
    link.close()
    assert sorted(servers[0].forgotten) == [("whisper", number) for number in range(3)]
    link.forget("whisper", 3)  # whoever is thrown away later


def test_one_connection_that_fails_to_close_leaves_no_other_open(servers: list[Server]) -> None:
    links = Connections()
    assert links.of("a:1") is links.of("a:1")
    links.of("b:1")
    with pytest.raises(ServerDied):
        links.close()
    assert [server.closed for server in servers] == [True, True]
    links.close()
