"""Two workers of one machine, as clients of both see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.peer_server import answering_peers
from voxturn.runtime.gateway.peers import LocalPeers
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.gateway.store import InMemory
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import load_profile

from tests.unit.gateway.voice.conftest import ANSWER_SAMPLES, dialling, places

HERE = Caller("", "anyone", address="127.0.0.1")


@dataclass
class Worker:
    gateway: Gateway
    port: int

    async def http(self, method: str, path: str) -> httpx2.Response:
        url = f"http://127.0.0.1:{self.port}"
        async with httpx2.AsyncClient(base_url=url, timeout=10.0) as client:
            return await client.request(method, path)

    async def listed(self) -> list[str]:
        """The conversations of all sessions."""
        data = (await self.http("GET", "/v1/sessions")).json()["data"]
        return sorted(each["conversation"] for each in data)


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[tuple[Worker, Worker]]:
    profile = load_profile(write_profile(tmp_path / "fake"))
    kept = InMemory()
    async with Assistant.load(profile, Store(tmp_path / "store")) as assistant:

        @asynccontextmanager
        async def worker(name: str) -> AsyncIterator[Worker]:
            peers = LocalPeers(tmp_path, tmp_path / f"{name}.sock")
            settings = replace(profile.gateway, drain_s=0.0)
            gateway = Gateway(assistant, settings, conversations=kept, peers=peers)
            places(gateway, 4)
            async with (
                answering_peers(gateway, peers),
                serving(gateway, Address(port=0)) as port,
            ):
                yield Worker(gateway, port)

        async with worker("a") as first, worker("b") as second:
            yield first, second
    assert not list(tmp_path.glob("*.sock"))


async def test_sessions_are_listed_and_ended_by_whichever_worker_is_asked(
    workers: tuple[Worker, Worker],
) -> None:
    first, second = workers
    async with dialling(first.port) as client, dialling(second.port) as other:
        session = (await client.start(conversation="ours"))["session"]
        await other.start(conversation="theirs")
        for worker in workers:
            assert await worker.listed() == ["ours", "theirs"]
        answer = await second.http("DELETE", f"/v1/sessions/{session}")
        assert answer.json() == {"id": session, "object": "session", "deleted": True}
        assert (await client.until("session.ended"))["reason"] == "deleted"
        assert await client.closed() == 1000
        for worker in workers:
            assert await worker.listed() == ["theirs"]
            assert (await worker.http("DELETE", f"/v1/sessions/{session}")).status_code == 404


async def test_a_session_of_another_key_is_nothing(workers: tuple[Worker, Worker]) -> None:
    first, second = workers
    async with dialling(first.port) as client:
        session = (await client.start())["session"]
        peers = second.gateway.peers
        assert not await peers.end("ana", session)
        assert await peers.sessions("ana") == []
        await peers.let_go("ana", "ours")
        assert len(first.gateway.sessions) == 1


async def test_a_session_is_resumed_at_another_worker(workers: tuple[Worker, Worker]) -> None:
    """Nothing of its answer is lost or repeated."""
    first, second = workers
    sound = b""
    async with dialling(first.port) as client:
        session = (await client.start(conversation="ours"))["session"]
        await client.tell("text.ask", text="Where is Paris?")
        while not client.audio:
            await client.next()
        client.socket.transport.abort()
        received, sound = client.received, client.sound
    async with dialling(second.port, received) as client:
        started = await client.start(resume={"session": session, "received": received})
        assert (started["session"], started["resumed"]) == (session, True)
        assert started["received"] == 1
        await client.tell("ping", id="1")
        done = None
        while done is None or "pong" not in client.kinds:
            event = await client.next()
            done = event if event["type"] == "reply.done" else done
        assert len(sound + client.sound) == 2 * ANSWER_SAMPLES == 2 * done["samples"]
        assert len(second.gateway.sessions) == 0
        assert second.gateway.work.count == 1
        await client.tell("session.end")
        assert (await client.until("session.ended"))["reason"] == "client"
        assert await client.closed() == 1000
    assert len(first.gateway.sessions) == 0


async def test_who_leaves_another_worker_leaves_the_session(
    workers: tuple[Worker, Worker],
) -> None:
    first, second = workers
    async with dialling(first.port) as client:
        session = (await client.start())["session"]
        async with dialling(second.port, client.received) as other:
            await other.start(resume={"session": session, "received": client.received})
            assert await client.closed() == 4009
            other.socket.transport.abort()
        (live,) = first.gateway.sessions.owned(HERE)
        await until_waiting(first)
        assert live.info().state == "waiting"
        async with dialling(second.port) as other:
            error = await other.start(resume={"session": session, "received": 99})
            assert error["code"] == "resume_impossible"
            assert await other.closed() == 1008
            error = await unknown(second)
            assert error["code"] == "session_not_found"


async def unknown(worker: Worker) -> dict[str, object]:
    async with dialling(worker.port) as client:
        return await client.start(resume={"session": "sess_x", "received": 0})


async def until_waiting(worker: Worker) -> None:
    async with asyncio.timeout(10):
        while [each.info().state for each in worker.gateway.sessions.owned(HERE)] != ["waiting"]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # nobody tells


async def test_a_conversation_is_taken_over_from_another_worker(
    workers: tuple[Worker, Worker],
) -> None:
    first, second = workers
    async with dialling(first.port) as client, dialling(second.port) as other:
        await client.start(conversation="ours")
        await client.tell("text.ask", text="Where is Paris?")
        await client.until("reply.done")
        await other.start(conversation="ours")
        assert (await client.until("session.ended"))["reason"] == "taken_over"
        await other.tell("text.ask", text="And Rome?")
        await other.until("turn.done")
        kept = await second.gateway.conversations.load("", "ours")
    assert kept is not None
    said = " ".join(each.text for each in kept if each.role == "user")
    assert said == "Where is Paris? And Rome?"


async def test_a_worker_that_was_killed_has_nothing(
    workers: tuple[Worker, Worker], tmp_path: Path
) -> None:
    first, _ = workers
    dead = tmp_path / "0.sock"
    server = await asyncio.start_unix_server(lambda reader, writer: None, str(dead))
    server.close()
    await server.wait_closed()
    dead.touch()
    assert await first.listed() == []
    error = await unknown(first)
    assert error["code"] == "session_not_found"
    dead.unlink()
