"""A WebSocket whose messages are read and written within the gateway's limits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect
from voxturn.runtime.flow.clock import done_by
from voxturn.runtime.flow.handoff import cancel_all, cancel_and_wait
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.voice import messages as wire
from voxturn.runtime.gateway.voice.connection import check_size, close, received_data
from voxturn.runtime.gateway.voice.events import error_of

MOST_ERRORS = 50
"""Messages of one connection that cannot be used, after which it is closed."""


class Line:
    """One connection, from when it is accepted."""

    def __init__(self, gateway: Gateway, socket: WebSocket) -> None:
        self._clock = gateway.clock
        self._idle_s = gateway.settings.idle_s
        self._ends_s = gateway.clock.now() + gateway.settings.longest_session_s
        self._socket = socket
        self._errors = 0

    async def next(self) -> str | bytes | None:
        """The next message; None where the client is gone.

        Raises `ApiError` 408 where none comes in time, and 413.
        """
        receiving = asyncio.ensure_future(received_data(self._socket))
        due = min(self._ends_s, self._clock.now() + self._idle_s)
        try:
            if not await done_by(self._clock, receiving, due):
                raise ApiError(408, "nothing came for too long, or it lasted too long", "expired")
            data = receiving.result()
        finally:
            await cancel_and_wait(receiving)
        return check_size(data) if isinstance(data, bytes) else data

    async def send(self, event: msgspec.Struct) -> None:
        """Send an event. A client that does not read is dropped (`wire`): `WebSocketDisconnect`."""
        await self._socket.send_text(wire.encode(event).decode())

    async def send_audio(self, header: wire.AudioHeader, pcm: bytes) -> None:
        """Send a binary frame. Raises as `send`."""
        await self._socket.send_bytes(header.pack() + pcm)

    async def refuse(self, error: Exception) -> None:
        """Tell what is wrong with a message. Raises it where there were too many."""
        self._errors += 1
        if self._errors > MOST_ERRORS:
            raise error
        await self.send(error_of(api_error(error)))


async def held(
    gateway: Gateway,
    socket: WebSocket,
    idle: Callable[[], Awaitable[None]],
    *jobs: Coroutine[Any, Any, None],
) -> None:
    """Do jobs until the first has ended, or the gateway stops and they are `idle`, then close;
    errors are told."""

    async def stopped() -> None:
        await gateway.draining()
        with gateway.work.running():
            await idle()

    tasks = [asyncio.create_task(job) for job in (*jobs, stopped())]
    try:
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_all(tasks)
        for task in done:
            task.result()
        await close(socket, wire.STOPPING if tasks[-1] in done else wire.ENDED)
    except (WebSocketDisconnect, ConnectionError):
        return
    except Exception as exc:  # noqa: BLE001  every error is told
        with contextlib.suppress(WebSocketDisconnect, ConnectionError):
            await socket.send_text(wire.encode(error_of(api_error(exc))).decode())
        await close(socket, 1008)
