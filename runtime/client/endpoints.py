"""Several servers as one: streams are spread over them, and over those alone that answer.

gRPC's own balancing cannot say which server it chose, and the watchdog has to ask the very one that
a stream hangs on (docs/decisions/0012). So each server has a channel of its own, which gRPC
reconnects, and a stream keeps to its server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from voxturn.runtime.errors import ServerDied, ServerUnavailable, UsageError
from voxturn.runtime.flow.clock import Clock, WallClock
from voxturn.runtime.remote.transport import TritonServer

_AVOIDED_S = 2.0


class Endpoints:
    """Connections to `addresses`. Close them when done."""

    def __init__(
        self,
        addresses: Sequence[str],
        connect: Callable[[str], TritonServer] = TritonServer,
        clock: Clock | None = None,
    ) -> None:
        if not addresses or not all(addresses):
            raise UsageError("a client needs an address, as localhost:8001, or several")
        self._servers = [connect(address) for address in dict.fromkeys(addresses)]
        self._clock = clock or WallClock()
        self._failed: dict[TritonServer, float] = {}
        self._streams: Counter[TritonServer] = Counter()
        self._kept: TritonServer | None = None

    @asynccontextmanager
    async def one(self, keep: bool = False) -> AsyncGenerator[TritonServer, None]:
        """The server with the fewest streams of those that answer. With `keep`, the same one for as
        long as it answers: a conversation's."""
        server = self._kept if keep and self._kept is not None else self._least()
        if keep:
            self._kept = server
        self._streams[server] += 1
        try:
            yield server
        except (ServerDied, ServerUnavailable):
            self._failed[server] = self._clock.now() + _AVOIDED_S
            if self._kept is server:
                self._kept = None
            raise
        finally:
            self._streams[server] -= 1

    def __len__(self) -> int:
        return len(self._servers)

    async def aclose(self) -> None:
        """Close every connection."""
        for server in self._servers:
            await server.aclose()

    def _least(self) -> TritonServer:
        now = self._clock.now()
        return min(
            self._servers,
            key=lambda server: (self._failed.get(server, 0.0) > now, self._streams[server]),
        )
