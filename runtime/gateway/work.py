"""What runs: work that a stopping gateway waits for, and connections that end with their keys."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from voxturn.runtime.errors import ResourceError
from voxturn.runtime.flow.clock import Clock, done_by
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller, Keys
from voxturn.runtime.gateway.places import OwnPlaces, Places

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_LOOK_S = 1.0
_STACK = "voxturn.stack"
_RETRY_S = 1.0
MOST_UNKNOWN = 64
"""Connections that were accepted and have not shown a key yet."""


class Work:
    """Counts what a stopping gateway lets end: requests of HTTP by itself, and turns of a
    WebSocket, which tells it: `with gateway.work.running(): …`."""

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def count(self) -> int:
        """How much runs."""
        return self._count

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count what the block does."""
        self._count += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._idle.set()

    async def ended_by(self, clock: Clock, when: float) -> bool:
        """Wait until nothing runs; whether that is so when it is `when`."""
        idle = asyncio.ensure_future(self._idle.wait())
        try:
            return await done_by(clock, idle, when)
        finally:
            await cancel_and_wait(idle)


class KeyRevoked(Exception):
    """The key that a connection was opened with is none any more."""


class Calls:
    """The requests and connections of each caller: at most `most_of_key` at once, each in one of the
    `places`."""

    def __init__(
        self, keys: Keys, clock: Clock, most_of_key: int = 512, places: Places | None = None
    ) -> None:
        self._most_of_key = most_of_key
        self._places = places or OwnPlaces()
        self._keys = keys
        self._clock = clock
        self._cuts: defaultdict[tuple[str, str], set[asyncio.Timeout]] = defaultdict(set)
        """By the key and the caller: without keys, callers are machines."""
        self._unknown = 0

    @property
    def counts(self) -> Counter[str]:
        """How many each caller has in this process."""
        return Counter({client: len(cuts) for (_, client), cuts in self._cuts.items()})

    @contextlib.asynccontextmanager
    async def call(self, caller: Caller) -> AsyncIterator[asyncio.Timeout]:
        """Cancel the block once the caller's key is revoked; what it is given has expired then.
        Raises `KeyRevoked` after that, and at once `ApiError` 429 where the caller has too many."""
        whose = (caller.key, caller.client)
        place = self._places.take(caller.client, self._most_of_key)
        if isinstance(place, str):
            raise ApiError(
                429,
                f"this key has {self._most_of_key} requests and connections already",
                "too_many_connections",
                retry_after_s=_RETRY_S,
            )
        cut = asyncio.timeout(None)
        try:
            async with cut:
                self._cuts[whose].add(cut)
                try:
                    yield cut
                finally:
                    self._places.leave(place)
                    self._cuts[whose].discard(cut)
                    if not self._cuts[whose]:
                        del self._cuts[whose]
        except TimeoutError:
            if cut.expired():
                raise KeyRevoked from None
            raise

    @contextlib.asynccontextmanager
    async def connected(self, socket: WebSocket, caller: Caller) -> AsyncIterator[None]:
        """As `call`, for a WebSocket, which is closed then."""
        try:
            async with self.call(caller):
                yield
        except KeyRevoked:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(1008, "invalid_api_key")

    @contextlib.contextmanager
    def unknown(self) -> Iterator[None]:
        """Count a connection until it has shown its key. Raises `ApiError` 503 where too many have
        not."""
        if self._unknown >= MOST_UNKNOWN:
            raise ApiError(
                503,
                f"{MOST_UNKNOWN} connections have not shown their keys yet",
                "too_many_connections",
                retry_after_s=_RETRY_S,
            )
        self._unknown += 1
        try:
            yield
        finally:
            self._unknown -= 1

    async def watch(self) -> None:
        """Look at the keys of all connections every second."""
        while True:
            await self._clock.sleep_until(self._clock.now() + _LOOK_S)
            for key in {key for key, _ in self._cuts}:
                try:
                    valid = await self._keys.valid(key)
                except ResourceError as exc:
                    _LOG.warning("keys cannot be looked up: %s", exc)
                    break
                if not valid:
                    self._cut(key)

    def _cut(self, key: str) -> None:
        cuts = [cut for whose, cuts in self._cuts.items() if whose[0] == key for cut in cuts]
        for cut in cuts:
            if not cut.expired():
                cut.reschedule(asyncio.get_running_loop().time())


class Tracked:
    """An application whose requests of HTTP are counted until their answers have been sent.

    What an operation enters with `until_sent` is left then. The server cancels what still runs when
    it stops, which is no error of the application's.
    """

    def __init__(self, app: ASGIApp, work: Work) -> None:
        self._app = app
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or serve a connection."""
        if scope["type"] != "http":
            with contextlib.suppress(asyncio.CancelledError):
                await self._app(scope, receive, send)
            return
        with (
            self._work.running(),
            contextlib.suppress(asyncio.CancelledError, KeyRevoked),
        ):
            async with contextlib.AsyncExitStack() as stack:
                scope[_STACK] = stack
                await self._app(scope, receive, send)


async def until_sent(scope: Scope, entered: AbstractAsyncContextManager[T]) -> T:
    """Enter something until the answer to a request has been sent, which may be a stream."""
    stack: contextlib.AsyncExitStack = scope[_STACK]
    return await stack.enter_async_context(entered)


def arriving(receive: Receive, clock: Clock, by: float) -> Receive:
    """A request's body as it comes. It raises `ApiError` 408 where it is not whole `by` then."""
    whole = False

    async def received() -> Message:
        nonlocal whole
        if whole:
            return await receive()
        call = asyncio.ensure_future(receive())
        try:
            if not await done_by(clock, call, by):
                raise ApiError(408, "the request's body came too slowly", "request_timeout")
        finally:
            await cancel_and_wait(call)
        message = call.result()
        whole = not message.get("more_body", False)
        return message

    return received
