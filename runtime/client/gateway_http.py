"""Requests by HTTP to a gateway: threads carry them, and each can be stopped at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar
from urllib.parse import SplitResult

from voxturn.runtime.client.gateway_wire import error_of
from voxturn.runtime.errors import (
    DeadlineExceeded,
    ServerDied,
    ServerUnavailable,
    StreamClosed,
    VoxturnError,
)

P = ParamSpec("P")
T = TypeVar("T")
_CONNECT_S = 10.0
"""How long connecting may take where there is no deadline."""


class Requests:
    """The requests to one gateway. `key` is shown with each; `deadline_s`: how long the gateway may
    say nothing, 0: for ever."""

    def __init__(self, address: SplitResult, key: str, deadline_s: float) -> None:
        self._address = address
        self._key = key
        self._deadline_s = deadline_s or None
        self._open: set[Exchange] = set()

    @asynccontextmanager
    async def answer(
        self, path: str, data: bytes, kind: str = "application/json"
    ) -> AsyncGenerator[Exchange, None]:
        """The answer to a POST, while the block runs.

        Raises what the gateway tells, and as `Exchange` does.
        """
        exchange = Exchange(self._address, self._deadline_s)
        self._open.add(exchange)
        try:
            headers = {"content-type": kind}
            headers |= {"authorization": f"Bearer {self._key}"} if self._key else {}
            await exchange.begin(path, data, headers)
            yield exchange
        finally:
            self._open.discard(exchange)
            exchange.stop()

    def stop(self) -> None:
        """Stop every request that is under way; whoever waits for one gets `StreamClosed`."""
        for exchange in list(self._open):
            exchange.stop()


class Exchange:
    """One request and its answer.

    Raises `ServerUnavailable` where nobody answers, `ServerDied` where the connection breaks,
    `DeadlineExceeded`, and `StreamClosed` once it was stopped.
    """

    def __init__(self, address: SplitResult, deadline_s: float | None) -> None:
        self._address = address
        self._deadline_s = deadline_s
        self._connection = _connection(address, deadline_s or _CONNECT_S)
        self._socket: socket.socket | None = None
        self._answer: http.client.HTTPResponse | None = None
        self._stopped = False

    async def begin(self, path: str, data: bytes, headers: dict[str, str]) -> None:
        """Send the request, and wait for the head of its answer. Raises what it tells."""
        await self._do(self._connect)
        await self._do(self._connection.request, "POST", path, data, headers)
        self._answer = await self._do(self._connection.getresponse)
        if self._answer.status >= 400:
            raise _told(await self.whole(), self._answer.status)

    async def whole(self) -> bytes:
        """All that is left of the answer."""
        return await self._do(self._begun.read)

    async def line(self) -> bytes:
        """The next line of the answer; empty at its end."""
        return await self._do(self._begun.readline)

    async def some(self, most: int) -> bytes:
        """What has come of the answer, at most so many bytes; empty at its end."""
        return await self._do(self._begun.read1, most)

    def stop(self) -> None:
        """End it, in the gateway, too. A thread that waits for the gateway is woken by the
        shutdown; it would not be by the close."""
        self._stopped = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it has ended
                # not TLS's own shutdown, which takes its state away from the thread that reads
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        self._connection.close()

    @property
    def _begun(self) -> http.client.HTTPResponse:
        assert self._answer is not None
        return self._answer

    def _connect(self) -> None:
        self._connection.connect()
        self._socket = self._connection.sock
        self._socket.settimeout(self._deadline_s)
        if self._stopped:  # meanwhile
            self.stop()

    async def _do(self, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """What `work` returns, called in a thread."""
        try:
            result = await asyncio.to_thread(work, *args, **options)
        except Exception as exc:
            if self._stopped:  # the connection was taken from under it
                raise StreamClosed("the client was closed") from exc
            if isinstance(exc, OSError | http.client.HTTPException):
                raise self._failure(exc) from exc
            raise
        if self._stopped:
            raise StreamClosed("the client was closed")
        return result

    def _failure(self, exc: Exception) -> VoxturnError:
        if isinstance(exc, TimeoutError) and self._deadline_s is not None:
            return DeadlineExceeded(f"the gateway said nothing for {self._deadline_s:g} s")
        if self._socket is None:
            return ServerUnavailable(f"{self._address.geturl()}: no gateway answers there")
        return ServerDied("the gateway stopped in the middle of an answer")


def _connection(address: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
    host, port = address.hostname or "", address.port
    if address.scheme == "wss":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
    return http.client.HTTPConnection(host, port, timeout=timeout_s)


def _told(body: bytes, status: int) -> VoxturnError:
    """The error in an answer."""
    try:
        return error_of(json.loads(body)["error"], status)
    except (ValueError, KeyError, TypeError):
        return error_of({"message": f"the gateway answered with status {status}"}, status)
