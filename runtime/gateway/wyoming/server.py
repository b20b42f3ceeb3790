"""Listens for Wyoming's clients."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from voxturn.runtime.flow.clock import done_by
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.flow.handoff import cancel_all, cancel_and_wait
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.logs import begin_log_context, event
from voxturn.runtime.gateway.server import Address, listening
from voxturn.runtime.gateway.wyoming.answer import Agent
from voxturn.runtime.gateway.wyoming.connection import Connection
from voxturn.runtime.gateway.wyoming.line import Line
from voxturn.runtime.gateway.wyoming.wire import LONGEST_LINE

PORT = 10300
"""What Home Assistant's own speech-to-text server listens on."""
_MOST = 64
_CALLER = Caller("wyoming", "whoever reaches the port")
_LOG = logging.getLogger(__name__)


class _Clients:
    """The connections that are open, at most `most`."""

    def __init__(self, gateway: Gateway, most: int) -> None:
        self._gateway = gateway
        self._most = most
        self._agent = Agent(gateway, _CALLER)
        self.open: dict[asyncio.Task[None], Connection] = {}
        self._refused: set[asyncio.Task[None]] = set()

    async def come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client to its end."""
        connection = Connection(
            self._gateway, _CALLER, self._agent, Line(reader, writer, self._gateway.clock)
        )
        task = asyncio.current_task()
        assert task is not None  # a coroutine runs in one
        if (refusal := self._refusal()) is not None:
            self._refused.add(task)
            try:
                await connection.refuse(refusal)
            except asyncio.CancelledError:
                pass  # by `end`
            finally:
                self._refused.discard(task)
            return
        self.open[task] = connection
        peer = writer.get_extra_info("peername")
        CLIENT.set(str(peer[0]) if peer else "wyoming")
        begin_log_context(request=f"req_{uuid.uuid4().hex[:16]}", key=_CALLER.key)
        sessions = self._gateway.metrics.sessions.labels("wyoming")
        sessions.inc()
        began_s, outcome = self._gateway.clock.now(), "cancelled"
        try:
            outcome = await connection.run() or "ended"
        except asyncio.CancelledError:
            pass  # by `end`: what called this is asyncio, which has no use for it
        finally:
            sessions.dec()
            del self.open[task]
            seconds = round(self._gateway.clock.now() - began_s, 3)
            # Home Assistant asks every half minute who is there
            level = logging.DEBUG if connection.idle and outcome == "ended" else logging.INFO
            event(_LOG, "disconnected", level, path="wyoming", outcome=outcome, seconds=seconds)

    def _refusal(self) -> ApiError | None:
        if self._gateway.stopping.is_set():
            return ApiError(503, "the gateway is stopping", "stopping")
        if len(self.open) >= self._most:
            most = f"{self._most} connections are open"
            return ApiError(429, most, "session_limit_reached")
        return None

    async def end(self) -> None:
        """Let what is being made be made, as long as the settings allow; then close all."""
        clock, settings = self._gateway.clock, self._gateway.settings
        working = [each.work for each in self.open.values() if each.work is not None]
        if working:
            ending = asyncio.ensure_future(asyncio.wait(working))
            await done_by(clock, ending, clock.now() + settings.drain_s)
            await cancel_and_wait(ending)
        await cancel_all([*self.open, *self._refused])


@asynccontextmanager
async def serving_wyoming(
    gateway: Gateway, address: Address, most: int = _MOST
) -> AsyncIterator[int]:
    """Serve Wyoming while the block runs; the value is the port. `most`: connections at once.

    Afterwards what is being made is finished first. Raises `UsageError` where it cannot listen.
    """
    clients = _Clients(gateway, most)
    server = await asyncio.start_server(
        clients.come, sock=listening(address), limit=LONGEST_LINE, start_serving=True
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await clients.end()
        with contextlib.suppress(asyncio.CancelledError):
            await server.wait_closed()
