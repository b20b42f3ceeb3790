"""`Portal`: an event loop in a thread of its own, for callers in any thread; `Iterated`: an async
generator without a loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from voxturn.runtime.errors import StreamClosed
from voxturn.runtime.flow.handoff import Ahead, close_iterator

T = TypeVar("T")
_END: Any = object()


class Portal:
    """An event loop that runs in a thread called `name` until this is closed.

    Whatever is begun in it gets an end: what still runs when the portal closes is cancelled. After
    that every method but `start`, `stop` and `close` raises `StreamClosed`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.RLock()  # whatever is collected meanwhile may call `start`
        self._open = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def open(self) -> bool:
        """Whether it takes work."""
        return self._open

    def run(self, work: Awaitable[T]) -> T:
        """Await something in the portal's loop and return its result.

        Blocks; an interrupt cancels what is awaited.
        """
        assert threading.current_thread() is not self._thread, "a portal would wait for itself"
        future = self._begin(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def arun(self, work: Awaitable[T]) -> T:
        """As `run`, for a task of another event loop; cancelling the task cancels what is awaited."""
        return await asyncio.wrap_future(self._begin(work))

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Have the portal's loop call a function, in the order of such calls, and do not wait for
        it."""
        with self._lock:
            self._check_open()
            self._loop.call_soon_threadsafe(function, *args)

    def start(self, function: Callable[[], Awaitable[object]]) -> None:
        """Begin to await what a function gives, and do not wait for it; a closed portal is left
        alone.

        Safe wherever an object is thrown away, in the portal's own thread as well.
        """
        with contextlib.suppress(StreamClosed):
            self.call(lambda: self._loop.create_task(_awaited(function)))

    def stop(self) -> None:
        """Take no more work, cancel what still runs and end the thread, without waiting for it."""
        with self._lock:
            if self._open:
                self._open = False
                self._loop.call_soon_threadsafe(self._loop.stop)

    def close(self) -> None:
        """As `stop`, and wait for the thread's end. Safe to call twice."""
        self.stop()
        self._thread.join()

    def _begin(self, work: Awaitable[T]) -> Future[T]:
        coroutine = _result(work)
        with self._lock:  # what is scheduled before `stop` begins before it, and gets an end
            if self._open:
                return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        coroutine.close()
        if isinstance(work, Coroutine):
            work.close()
        raise self._closed()

    def _check_open(self) -> None:
        if not self._open:
            raise self._closed()

    def _closed(self) -> StreamClosed:
        return StreamClosed(f"{self._name} was closed")

    def _run(self) -> None:
        """In the thread: the loop, then the end of whatever it was doing."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(_cancel_others())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()


class PortalIterator(Iterator[T]):
    """An async iterator of a portal's loop as an iterator; blocks for each item.

    `close` stops the source where it is and waits for it; an error does, too, and dropping this
    does without waiting.
    """

    def __init__(self, source: AsyncIterator[T], portal: Portal) -> None:
        self._source = source
        self._portal = portal
        self._over = False

    def __next__(self) -> T:
        if self._over:
            raise StopIteration
        try:
            item = self._portal.run(_next(self._source))
        except BaseException:
            self.close()
            raise
        if item is _END:
            self.close()
            raise StopIteration
        return item

    def close(self) -> None:
        """Stop the source where it is and wait until it is closed. Safe to call twice."""
        self._over = True
        if self._portal.open:
            self._portal.run(close_iterator(self._source))

    def __del__(self) -> None:
        if not self._over:
            source = self._source
            self._portal.start(lambda: close_iterator(source))


class Iterated(PortalIterator[T]):
    """An async generator as an iterator for code without an event loop: it runs up to `ahead` items
    ahead in a thread.

    The thread ends with the generator. `close` stops it where it is and waits; dropping the
    iterator stops it, too.
    """

    def __init__(self, make: Callable[[], AsyncGenerator[T, None]], ahead: int) -> None:
        portal = Portal("voxturn-iterated")
        try:
            super().__init__(portal.run(_ahead(make, ahead)), portal)
        except BaseException:
            portal.close()
            raise

    def close(self) -> None:
        """Stop the generator where it is, wait until it is closed and end its thread.

        Safe to call twice.
        """
        try:
            super().close()
        finally:
            self._portal.close()

    def __del__(self) -> None:
        # the portal's thread does not hold this object, or dropping it would never be noticed
        source, portal = getattr(self, "_source", None), getattr(self, "_portal", None)
        if source is not None and portal is not None:
            portal.start(lambda: _end(source, portal))


async def _ahead(make: Callable[[], AsyncGenerator[T, None]], ahead: int) -> Ahead[T]:
    return Ahead(make(), ahead)


async def _end(source: AsyncIterator[object], portal: Portal) -> None:
    try:
        await close_iterator(source)
    finally:
        portal.stop()


async def _next(source: AsyncIterator[T]) -> T:
    return await anext(source, _END)


async def _result(work: Awaitable[T]) -> T:
    return await work


async def _awaited(function: Callable[[], Awaitable[object]]) -> None:
    await function()


async def _cancel_others() -> None:
    """Cancel every other task of the loop, those that are begun meanwhile as well, and wait for
    their ends."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
