"""Bounded hand-offs from task to task. Each ends in done, error or cancelled.

`Ahead` lets a stage run ahead of its consumer.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextvars import Context
from typing import Any, Generic, TypeVar

from voxturn.runtime.errors import StreamClosed
from voxturn.runtime.flow.event import Event

T = TypeVar("T")


class Overflow(enum.Enum):
    """What becomes of an item that cannot wait, where the hand-off is full."""

    FAIL = "fail"
    """The hand-off ends in `StreamClosed`: its bound is kept by other means, so that this is a
    mistake."""

    DROP_OLDEST = "drop oldest"
    """The oldest unread item makes room and is counted: what is new matters more, as from a
    microphone."""

    GROW = "grow"
    """It is taken beyond the bound: how much comes is limited elsewhere."""


class Handoff(Generic[T]):
    """A bounded queue between two tasks of one event loop that carries items, then an end or an
    error.

    `put` waits while `capacity` items are unread; `put_now` does not wait, and `overflow` says what
    it does then. After `close` or `fail` the reader gets what was put, then the end or the error,
    however often it asks. After `abandon` (the reader is gone) both raise `StreamClosed`. `dropped`
    counts the items that made room for newer ones.
    """

    def __init__(self, capacity: int, overflow: Overflow = Overflow.FAIL) -> None:
        self._capacity = capacity
        self._overflow = overflow
        self._items: deque[T] = deque()
        self._changed = Event()
        self._ended = False
        self._abandoned = False
        self._error: BaseException | None = None
        self.dropped = 0

    async def put(self, item: T) -> None:
        """Add an item; wait for room. Raises `StreamClosed` after the end."""
        while self._full and not self._abandoned and not self._ended:
            await self._wait()
        self._add(item)

    def put_now(self, item: T) -> None:
        """Add an item without waiting; `overflow` says what happens where there is no room.

        Raises `StreamClosed` after the end, and where a full hand-off ends by this
        (`Overflow.FAIL`).
        """
        if self._full and not self._abandoned and not self._ended:
            if self._overflow is Overflow.FAIL:
                error = StreamClosed(
                    f"the reader of a hand-off is more than {self._capacity} items behind"
                )
                self.fail(error)
                raise error
            if self._overflow is Overflow.DROP_OLDEST:
                self._items.popleft()
                self.dropped += 1
        self._add(item)

    def close(self) -> None:
        """No more items: the reader ends after those it has not read."""
        self._ended = True
        self._changed.set()

    def fail(self, error: BaseException) -> None:
        """No more items: the reader gets `error` after those it has not read.

        After an end it has no effect.
        """
        if not self._ended:
            self._error = error
        self.close()

    def discard(self, unwanted: Callable[[T], bool]) -> None:
        """Drop the unread items that are not wanted any more."""
        self._items = deque(item for item in self._items if not unwanted(item))
        self._changed.set()

    def abandon(self) -> None:
        """The reader is gone: drop what is unread and release a waiting `put`."""
        self._abandoned = True
        self._items.clear()
        self._changed.set()

    @property
    def unread(self) -> int:
        """How many items wait for the reader."""
        return len(self._items)

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._abandoned:
                raise StopAsyncIteration
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            await self._wait()
        item = self._items.popleft()
        self._changed.set()
        return item

    @property
    def _full(self) -> bool:
        return len(self._items) >= self._capacity

    def _add(self, item: T) -> None:
        if self._abandoned or self._ended:
            raise StreamClosed("put after the hand-off ended")
        self._items.append(item)
        self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


async def close_iterator(source: AsyncIterator[object]) -> None:
    """Close an async iterator if it can be closed."""
    aclose = getattr(source, "aclose", None)
    if aclose is not None:
        await aclose()


async def cancel_and_wait(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait for its end; its error, if it has one, belongs to whoever reads its
    hand-off.

    A caller who is cancelled meanwhile waits all the same, then passes it on: nobody else would
    know of the task.
    """
    task.cancel()
    await _ended(task)


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """As `cancel_and_wait`, of several: all are cancelled, then all have ended."""
    cancelled: asyncio.CancelledError | None = None
    ending = list(tasks)
    for task in ending:
        task.cancel()
    for task in ending:
        try:
            await _ended(task)
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        raise cancelled


async def _ended(task: asyncio.Task[Any]) -> None:
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if not task.cancelled():
        task.exception()
    if cancelled is not None:
        raise cancelled


class Ahead(Generic[T]):
    """The items of `source`, which runs ahead in its own task by up to `capacity` items.

    Closing this closes it.
    """

    def __init__(
        self, source: AsyncIterator[T], capacity: int, context: Context | None = None
    ) -> None:
        self._handoff: Handoff[T] = Handoff(capacity)
        self._closing = False
        self._task = asyncio.create_task(self._pump(source), context=context)

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        return await self._handoff.__anext__()

    async def aclose(self) -> None:
        """Stop the source and wait until it is closed, also if the caller is cancelled meanwhile;
        any number of times."""
        self._handoff.abandon()
        try:
            await asyncio.sleep(0)  # a task that never began would not close what it reads
        finally:
            # once: what a source does when it is closed must not be cancelled halfway
            if not self._closing:
                self._closing = True
                self._task.cancel()
            await _ended(self._task)

    async def _pump(self, source: AsyncIterator[T]) -> None:
        try:
            async for item in source:
                await self._handoff.put(item)
            self._handoff.close()
        except Exception as exc:  # noqa: BLE001  it is the reader's
            self._handoff.fail(exc)
        except BaseException:
            self._handoff.fail(StreamClosed("the stream was cancelled"))
            raise
        finally:
            self._closing = True
            await close_iterator(source)
