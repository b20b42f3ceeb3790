"""Answers that the engines work on for a while, each in a place for conversations: whole, or as
events while they are made."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.streaming import (
    EVENTS,
    StreamedResponse,
    begun_for,
    events,
    in_time,
    unless_gone,
    until,
)

T = TypeVar("T")


async def whole(
    gateway: Gateway,
    request: Request,
    caller: Caller,
    work: Coroutine[Any, Any, T],
    timed: bool = True,
) -> T:
    """What `work` returns, for as long as the client is there and a request may take; unless
    `timed`, the work bounds its time itself.

    Raises `ApiError` 429 where no place is free, `ClientDisconnect` and `DeadlineExceeded`.
    """
    clock, limit_s = gateway.clock, gateway.settings.request_s
    try:
        with gateway.limits.session(caller):
            bounded = in_time(work, clock, clock.now() + limit_s) if timed else work
            return await unless_gone(request, bounded)
    finally:
        work.close()


async def streamed(
    gateway: Gateway,
    request: Request,
    caller: Caller,
    items: AsyncIterator[Any],
    timed: bool = True,
) -> Response:
    """Items as events, once the first is there. Raises as `whole`, and what it raises."""
    clock, limit_s = gateway.clock, gateway.settings.request_s
    end_s = clock.now() + limit_s

    async def chunks() -> AsyncGenerator[bytes, None]:
        with gateway.limits.session(caller):
            bounded = until(items, clock, end_s) if timed else items
            async with aclosing(events(bounded)) as lines:
                async for line in lines:
                    yield line

    return StreamedResponse(await begun_for(request, chunks()), EVENTS, clock, limit_s)
