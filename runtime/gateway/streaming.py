"""Answers that are made while they are sent: each ends whole, or visibly not; whatever makes it is
closed, also when the client has left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from voxturn.runtime.errors import DeadlineExceeded
from voxturn.runtime.flow.clock import Clock, done_by
from voxturn.runtime.flow.handoff import cancel_all, cancel_and_wait, close_iterator
from voxturn.runtime.gateway.errors import ApiError, api_error

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class StreamedResponse(Response):
    """Sends `chunks` as they come, and closes them whatever happens.

    Where they raise, the connection is closed without its last chunk: by that a client sees that
    this is not the whole. A client that takes none of them for `patience_s` is dropped. `source` is
    what the chunks are made of: closed as well, as they do not close it before they have begun.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        media_type: str,
        clock: Clock,
        patience_s: float,
        headers: Mapping[str, str] | None = None,
        source: AsyncIterator[bytes] | None = None,
    ) -> None:
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self._chunks = chunks
        self._source = source
        self._clock = clock
        self._patience_s = patience_s
        self.init_headers({"cache-control": "no-store", **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(left(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            try:
                await cancel_all([leaving, sending])
            finally:
                await close_iterator(self._chunks)
                if self._source is not None:
                    await close_iterator(self._source)

    async def _send(self, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        try:
            await self._taken(send, start)
            async for chunk in self._chunks:
                body = {"type": "http.response.body", "body": chunk, "more_body": True}
                await self._taken(send, body)
            await self._taken(send, {"type": "http.response.body", "more_body": False})
        except ClientDisconnect:
            _LOG.warning("a client took nothing for %g s and was dropped", self._patience_s)
        except Exception as exc:  # noqa: BLE001  the status is gone: the missing end tells it
            ended_early(exc)

    async def _taken(self, send: Send, message: dict[str, Any]) -> None:
        """Send, as fast as the client takes it. Raises `ClientDisconnect` where it does not."""
        sent = asyncio.ensure_future(_sent(send, message))
        try:
            if not await done_by(self._clock, sent, self._clock.now() + self._patience_s):
                raise ClientDisconnect
        finally:
            await cancel_and_wait(sent)
        sent.result()


async def _sent(send: Send, message: dict[str, Any]) -> None:
    await send(message)


async def left(receive: Receive) -> None:
    """Return once the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; its request's body must have been read. Raises `ClientDisconnect`, and
    has stopped the work, where the client leaves first."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(left(request.receive))
    try:
        await asyncio.wait([task, leaving], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        try:
            await cancel_and_wait(leaving)
        finally:
            await cancel_and_wait(task)


async def begun(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks, once the first has come: until then an error still has a status.

    Closing this closes them.
    """
    try:
        first = await anext(chunks, b"")
    except BaseException:
        await close_iterator(chunks)
        raise
    return _Begun(first, chunks)


class _Begun:
    """The chunks of an iterator of which the first was taken.

    Closing this closes it, also before anything was asked for.
    """

    def __init__(self, first: bytes, chunks: AsyncIterator[bytes]) -> None:
        self._first = first
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        return await anext(self._chunks)

    async def aclose(self) -> None:
        await close_iterator(self._chunks)


async def begun_for(request: Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """As `begun`, for as long as the client is there.

    Raises what `chunks` raise at first, and `ClientDisconnect`; has closed them then.
    """
    try:
        return await unless_gone(request, begun(chunks))
    except BaseException:
        await close_iterator(chunks)
        raise


async def in_time(work: Coroutine[Any, Any, T], clock: Clock, when: float) -> T:
    """What `work` returns by then. Raises `DeadlineExceeded`, and has stopped the work, after
    it."""
    task = asyncio.ensure_future(work)
    try:
        if not await done_by(clock, task, when):
            raise DeadlineExceeded("the answer took longer than a request may take")
    finally:
        await cancel_and_wait(task)
    return task.result()


async def until(items: AsyncIterator[T], clock: Clock, when: float) -> AsyncGenerator[T, None]:
    """The items that come by then. Raises `DeadlineExceeded` after it; closes `items`."""
    try:
        while (found := await in_time(following(items), clock, when)) is not None:
            yield found[0]
    finally:
        await close_iterator(items)


async def each_within(
    items: AsyncIterator[T], clock: Clock, limit_s: float
) -> AsyncGenerator[T, None]:
    """The items, each of which comes within `limit_s`. Raises `DeadlineExceeded`; closes
    `items`."""
    try:
        while (found := await in_time(following(items), clock, clock.now() + limit_s)) is not None:
            yield found[0]
    finally:
        await close_iterator(items)


async def following(items: AsyncIterator[T]) -> tuple[T] | None:
    """The next item; None at the end."""
    async for item in items:
        return (item,)
    return None


def ended_early(exc: Exception) -> ApiError:
    """What a client is told of an answer that ends before its time, which the log has as well."""
    error = api_error(exc)
    _LOG.warning("an answer was ended in the middle: %s", error.code or error.type)
    return error


async def events(items: AsyncIterator[Any]) -> AsyncGenerator[bytes, None]:
    """Server-sent events of JSON, `[DONE]` at the end. An error after the first ends them, as one.

    Before the first it is raised: then the answer still has a status. Closes `items`.
    """
    first = True
    try:
        async for item in items:
            first = False
            yield event(msgspec.json.encode(item))
    except Exception as exc:
        if first:
            raise
        yield event(msgspec.json.encode({"error": ended_early(exc).to_dict()}))
    finally:
        await close_iterator(items)
    yield DONE


def event(data: bytes, name: str = "") -> bytes:
    """One server-sent event of one line of data."""
    head = b"event: " + name.encode() + b"\n" if name else b""
    return head + b"data: " + data + b"\n\n"


DONE = event(b"[DONE]")
"""What OpenAI's clients end a stream at."""
EVENTS = "text/event-stream"
