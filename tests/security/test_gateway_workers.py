"""Several workers of one gateway, as clients see them, who cannot tell which of them they reach."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from tests.security.test_gateway_conversations import port_of
from tests.security.test_gateway_process import Started, started
from tests.unit.gateway.voice.conftest import Client, dialling

_ASKS = 12
"""So many connections reach both of two workers, but for one time in two thousand."""
_PLACES = 4


def listed(gateway: Started) -> set[str]:
    """The ids of all sessions, as every worker has to tell them."""
    answers = [gateway.ask("GET", "/v1/sessions")[1]["data"] for _ in range(_ASKS)]
    ids = [{each["id"] for each in answer} for answer in answers]
    assert all(each == ids[0] for each in ids)
    return ids[0]


async def begun(stack: AsyncExitStack, port: int) -> tuple[str, Client]:
    """A session that has begun, at whichever worker."""
    client = await stack.enter_async_context(dialling(port))
    return (await client.start())["session"], client


async def test_sessions_are_those_of_all_workers(tmp_path: Path) -> None:
    with started(tmp_path, "--workers", "2") as gateway:
        port = int(port_of(gateway))
        async with AsyncExitStack() as stack:
            sessions = dict([await begun(stack, port) for _ in range(_PLACES)])
            async with dialling(port) as client:
                assert (await client.start())["code"] == "session_limit_reached"
            assert await asyncio.to_thread(listed, gateway) == set(sessions)
            for session, client in sessions.items():
                for _ in range(4):  # wherever the session is, and wherever it is resumed
                    async with dialling(port, client.received) as again:
                        resume = {"session": session, "received": client.received}
                        assert (await again.start(resume=resume))["resumed"]
                        await again.tell("text.ask", text="Where is Paris?")
                        await again.until("transcript")
                        await again.tell("cancel")
                        await again.until("turn.done")
                        client.received = again.received
            for session in sessions:
                status, told = await asyncio.to_thread(
                    gateway.ask, "DELETE", f"/v1/sessions/{session}"
                )
                assert (status, told["deleted"]) == (200, True)
            assert await asyncio.to_thread(listed, gateway) == set()
        assert await asyncio.to_thread(gateway.end) == 0


async def test_what_a_killed_worker_had_is_free(tmp_path: Path) -> None:
    with started(tmp_path, "--workers", "2") as gateway:
        port = int(port_of(gateway))
        async with AsyncExitStack() as stack:
            for _ in range(_PLACES):
                await begun(stack, port)
            for pid in gateway.family[1:]:
                os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60), AsyncExitStack() as stack:
            while True:
                try:
                    for _ in range(_PLACES):
                        await begun(stack, port)
                    break
                except (OSError, KeyError):  # others have not begun yet
                    await stack.aclose()
                    await asyncio.sleep(0.2)
            assert len(await asyncio.to_thread(listed, gateway)) == _PLACES
