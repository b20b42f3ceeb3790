"""The line to a client: what is sent to it waits while it is slow, and leaves before the line is
closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from voxturn.runtime.flow.clock import Clock, done_by
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.wyoming.wire import encoded, read_event
from wyoming.error import Error
from wyoming.event import Event, Eventable

_SLOW_S = 30.0
"""How long a client may take nothing of what is sent to it."""
_LINGER_S, _MOST_DISCARDED = 2.0, 4 << 20


class Line:
    """Sends and reads events. `used_s`: when something came or went last, by `clock`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: Clock
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self.used_s = clock.now()

    async def read(self) -> Event | None:
        """The next event; None where the client has left. Raises as `read_event`."""
        event = await read_event(self._reader)
        self.used_s = self._clock.now()
        return event

    async def send(self, item: Eventable) -> None:
        """Send an event; wait while the client is slow. Raises `ConnectionError`."""
        if self._writer.is_closing():
            raise ConnectionResetError("the client has left")
        self._writer.write(encoded(item.event()))
        self.used_s = self._clock.now()
        if not await self._in_time(self._writer.drain(), _SLOW_S):
            self._writer.transport.abort()
            raise ConnectionAbortedError("the client does not read")

    async def tell(self, error: ApiError) -> None:
        """Tell what ends the connection, and let the client read it. Nobody else reads
        meanwhile."""
        with contextlib.suppress(OSError):
            await self.send(Error(str(error), error.code or error.type))
            self._writer.write_eof()
            # closed with something unread, the connection would be reset before the error is read
            await self._in_time(self._discard(), _LINGER_S)

    def close(self) -> None:
        """Send what is left, then no more."""
        self._writer.close()

    async def closed(self) -> None:
        """After `close`: wait until what was sent has left, but not for ever."""
        with contextlib.suppress(OSError):
            if not await self._in_time(self._writer.wait_closed(), _LINGER_S):
                self._writer.transport.abort()

    async def _discard(self) -> None:
        left = _MOST_DISCARDED
        while left > 0 and (data := await self._reader.read(1 << 16)):
            left -= len(data)

    async def _in_time(self, wait: Coroutine[Any, Any, None], seconds: float) -> bool:
        """Wait for something for so long; whether it was done. Its error is raised."""
        call = asyncio.ensure_future(wait)
        try:
            in_time = await done_by(self._clock, call, self._clock.now() + seconds)
        finally:
            await cancel_and_wait(call)
        if in_time:
            call.result()
        return in_time
