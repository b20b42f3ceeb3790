"""What the benchmark of a gateway's faults counts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from voxturn.bench import gateway_clients as clients
from voxturn.bench.gateway_clients import Answers, mangled
from voxturn.bench.gateway_faults import Talkers
from voxturn.bench.gateway_process import Server
from voxturn.runtime.gateway.voice.messages import client_messages
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close


async def test_who_is_not_answered_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "ANSWER_S", 0.01)
    found = Answers()
    async with found.awaited():
        await asyncio.Event().wait()
    async with found.awaited():
        raise ConnectionRefusedError
    assert found.unanswered == 2
    async with found.awaited():
        raise ConnectionResetError
    assert (found.unanswered, found.internal) == (2, 0)
    async with found.awaited(strict=True):
        raise ConnectionResetError
    assert (found.unanswered, len(found.ms)) == (3, 4)


@pytest.mark.parametrize(("code", "fault"), [(1008, 0), (1009, 0), (1011, 1), (None, 1)])
async def test_a_connection_that_ends_by_a_fault_is_counted(code: int | None, fault: int) -> None:
    found = Answers()
    async with found.awaited():
        raise ConnectionClosedError(None if code is None else Close(code, ""), None)
    assert (found.unanswered, found.internal) == (0, fault)


async def test_an_error_of_the_benchmark_is_none_of_the_gateway() -> None:
    with pytest.raises(KeyError):
        async with Answers().awaited():
            raise KeyError


def test_answers_that_tell_of_a_fault_inside_are_counted() -> None:
    found = Answers()
    for data in (b"HTTP/1.1 400 Bad Request", '{"type": "error", "code": "invalid_json"}'):
        found.look_at(data)
    assert found.internal == 0
    for data in (b"HTTP/1.1 500 x", '{"code": "internal_error"}', "Traceback (most"):
        found.look_at(data)
    assert found.internal == 3


def test_what_is_mangled_was_honest_and_is_the_same_each_time() -> None:
    for honest in clients.VOICE:
        client_messages.decode(honest)
    assert clients.webm()[:4] == b"\x1a\x45\xdf\xa3"
    for honest in (clients.REQUESTS, clients.REALTIME, clients.VOICE):
        sent = [mangled(random.Random(seed), honest) for seed in range(50)]
        assert sent == [mangled(random.Random(seed), honest) for seed in range(50)]
        assert len({*sent} - {*honest}) > 40


class Told:
    """A gateway that keeps these questions of every conversation."""

    def __init__(self, *questions: str) -> None:
        self._messages = [{"role": "user", "text": each} for each in questions]

    def ask(self, path: str) -> dict[str, Any]:
        return {"messages": self._messages} if path.endswith("/c0") else {"error": {}}


def test_turns_that_were_acknowledged_and_are_gone_are_lost() -> None:
    talkers = Talkers(random.Random(0))
    talkers.kept["c0"] = ["One?", "Two?"]
    assert talkers.lost(cast(Server, Told("One?", "Two?", "Three?"))) == 0
    assert talkers.lost(cast(Server, Told("Two?"))) == 1
    talkers.kept["c1"] = ["Three?"]
    assert talkers.lost(cast(Server, Told())) == 3


@asynccontextmanager
async def listening(answer: Callable[[Any, Any], Awaitable[None]]) -> AsyncIterator[int]:
    """A server of our own."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_a_client_vanishes_while_it_is_answered() -> None:
    gone = asyncio.Event()

    async def endless(reader: Any, writer: Any) -> None:
        try:
            while True:
                writer.write(bytes(100))
                await writer.drain()
                await asyncio.sleep(0.001)
        except ConnectionError:
            gone.set()
        finally:
            writer.close()

    async with asyncio.timeout(10), listening(endless) as port:
        await clients.vanishing(port, "speech", 0.05, Answers())
        await gone.wait()
