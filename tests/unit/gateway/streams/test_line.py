"""The end of a connection whose client does not read."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from starlette.websockets import WebSocketState
from voxturn.runtime.errors import UsageError
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.streams.line import held


class Deaf:
    """A socket whose client reads nothing."""

    application_state = WebSocketState.CONNECTED
    closed = 0

    async def send_text(self, text: str) -> None:
        await asyncio.Event().wait()

    async def close(self, code: int, reason: str) -> None:
        self.closed = code


async def test_who_does_not_read_an_error_is_closed_all_the_same() -> None:
    clock, socket = ManualClock(), Deaf()

    async def job() -> None:
        raise UsageError("it is wrong")

    gateway: Any = SimpleNamespace(clock=clock, draining=asyncio.Event().wait)
    any_socket: Any = socket
    ending = asyncio.create_task(held(gateway, any_socket, job()))
    while not clock.waiting:  # noqa: ASYNC110  nothing tells
        await asyncio.sleep(0)
    clock.advance(60.0)
    async with asyncio.timeout(10):
        await ending
    assert socket.closed == 1008
