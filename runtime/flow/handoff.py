"""Bounded hand-offs: from task to task, and from a worker thread to a task. Each ends in done, error or cancelled.

`Ahead` lets a stage run ahead of its consumer; `Lane` owns the one thread that an engine's blocking calls run in.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import os
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar, cast

from voxturn.runtime.errors import StreamClosed

T = TypeVar("T")
P = ParamSpec("P")
_END = object()
_NUMBERS = itertools.count()


class Handoff(Generic[T]):
    """A bounded queue between two tasks of one event loop that carries items, then an end or an error.

    `put` waits while `capacity` items are unread. After `close` or `fail` the reader gets what was put, then the end or
    the error, however often it asks. After `abandon` (the reader is gone) `put` raises `StreamClosed`.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        self._abandoned = False
        self._error: BaseException | None = None

    async def put(self, item: T) -> None:
        """Add an item; wait for room."""
        while len(self._items) >= self._capacity and not self._abandoned and not self._ended:
            await self._wait()
        self.put_now(item)

    def put_now(self, item: T) -> None:
        """Add an item beyond the bound, for what must not wait."""
        if self._abandoned or self._ended:
            raise StreamClosed("put after the hand-off ended")
        self._items.append(item)
        self._changed.set()

    def close(self) -> None:
        """No more items: the reader ends after those it has not read."""
        self._ended = True
        self._changed.set()

    def fail(self, error: BaseException) -> None:
        """No more items: the reader gets `error` after those it has not read."""
        if not self._ended:
            self._error = error
        self.close()

    def abandon(self) -> None:
        """The reader is gone: drop what is unread and release a waiting `put`."""
        self._abandoned = True
        self._items.clear()
        self._changed.set()

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

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


async def close_iterator(source: AsyncIterator[object]) -> None:
    """Close an async iterator if it can be closed."""
    aclose = getattr(source, "aclose", None)
    if aclose is not None:
        await aclose()


async def cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; its error, if it has one, belongs to whoever reads its hand-off.

    A caller who is cancelled meanwhile waits all the same, then passes it on: nobody else would know of the task.
    """
    task.cancel()
    await _ended(task)


async def _ended(task: asyncio.Task[None]) -> None:
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
    """The items of `source`, which runs ahead in its own task by up to `capacity` items. Closing this closes it."""

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
        """Stop the source and wait until it is closed, also if the caller is cancelled meanwhile; any number of times."""
        self._handoff.abandon()
        try:
            await asyncio.sleep(0)  # a task that never began would not close what it reads
        finally:
            if (
                not self._closing
            ):  # once: what a source does when it is closed must not be cancelled halfway
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


Recorder = Callable[[str, float, float], None]
RECORDER: ContextVar[Recorder | None] = ContextVar("voxturn_recorder", default=None)
"""Whoever sets this is told of every call in a lane: the lane's name, begin and end in seconds of the monotonic clock."""


def recording(recorder: Recorder) -> Context:
    """The current context, with `recorder` told of every call that tasks of this context make in lanes."""
    context = copy_context()
    context.run(RECORDER.set, recorder)
    return context


@dataclass(order=True)
class _Call:
    """A call that waits for a lane's turn."""

    patient: bool
    number: int
    call: Callable[[], Any] = field(compare=False)
    recorder: Recorder | None = field(compare=False)
    future: Future[Any] = field(default_factory=Future, compare=False)


class Lane:
    """One worker thread for one engine: blocking calls in order, urgent ones first, never two at once.

    A cancelled caller leaves at once; the call it waited for runs out in the thread and its result is thrown away.
    `nice` (0 to 19) lowers the thread's priority on Linux. Every call is made within a `turn`, which is told whether
    the call is urgent.
    """

    def __init__(
        self,
        name: str,
        nice: int = 0,
        turn: Callable[[bool], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.name = name
        self._turn = turn
        self._calls: list[_Call] = []
        self._nice = nice
        self._pool = ThreadPoolExecutor(
            1, thread_name_prefix=f"voxturn-{name}", initializer=self._lower_priority
        )
        self._lock = threading.Lock()
        self._queued = 0
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def wanted(self) -> bool:
        """Whether another call waits for the thread, or the lane is being closed: a long call should make room."""
        with self._lock:
            left = sum(
                queued.future.cancelled() for queued in self._calls
            )  # whoever asked has gone
            return self._closing or self._queued > left

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Queue `call`, which takes its own turns; its future. Raises `StreamClosed` after `close`."""
        self._count(+1)
        try:
            future = self._pool.submit(self._started, call)
        except RuntimeError as exc:
            self._count(-1)
            raise StreamClosed(f"the engine of {self.name!r} was closed") from exc
        future.add_done_callback(
            lambda done: self._count(-1) if done.cancelled() else None
        )  # it never started
        return future

    def make(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `call` in the lane's thread and wait for it: an engine's own threads inherit the lane's priority."""
        return self.submit(lambda: call(*args, **kwargs)).result()

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `call` in the lane's thread and return its result."""
        return await self._run(False, lambda: call(*args, **kwargs))

    async def run_first(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, ahead of everything that waits and is not urgent."""
        return await self._run(True, lambda: call(*args, **kwargs))

    async def _run(self, urgent: bool, call: Callable[[], T]) -> T:
        queued = _Call(not urgent, next(_NUMBERS), call, RECORDER.get())
        with self._lock:
            heapq.heappush(self._calls, queued)
        self.submit(self._take_turn)
        result: T = await asyncio.wrap_future(queued.future)
        return result

    async def stream(
        self, make: Callable[[], Iterator[T]], ahead: int = 8
    ) -> AsyncGenerator[T, None]:
        """The items of the iterator that `make` gives, iterated in the lane's thread, at most `ahead` items early.

        Closing this stops the thread's loop at its next item, which is thrown away.
        """
        loop = asyncio.get_running_loop()
        recorder = RECORDER.get()
        handoff: Handoff[T] = Handoff(ahead)
        stop = threading.Event()
        room = threading.Semaphore(ahead)

        def work() -> None:
            iterator = make()
            try:
                while room.acquire() and not stop.is_set():
                    if self._closing:
                        raise StreamClosed(f"the engine of {self.name!r} was closed")
                    with self.turn():
                        item = self._recorded(recorder, lambda: next(iterator, _END))
                    if item is _END or stop.is_set():
                        return
                    loop.call_soon_threadsafe(handoff.put_now, cast(T, item))
            finally:
                close = getattr(iterator, "close", None)
                if close is not None:
                    close()

        def ended(future: Future[None]) -> None:
            error = (
                StreamClosed(f"the engine of {self.name!r} was closed")
                if future.cancelled()
                else future.exception()
            )
            with contextlib.suppress(
                RuntimeError
            ):  # the loop itself is closed: nobody is left to tell
                if error is None:
                    loop.call_soon_threadsafe(handoff.close)
                else:
                    loop.call_soon_threadsafe(handoff.fail, error)

        future = self.submit(work)
        future.add_done_callback(ended)
        try:
            async for item in handoff:
                room.release()
                yield item
        finally:
            stop.set()
            room.release()
            future.cancel()

    def close(self, patience_s: float | None = None) -> None:
        """Wait for the call in the thread, if any (at most `patience_s` seconds), and end the thread."""
        self._closing = True
        self._cancel_queued()
        self._pool.shutdown(wait=patience_s is None, cancel_futures=True)
        self._cancel_queued()  # what came in between has no thread to run in
        if self._thread is not None:
            self._thread.join(patience_s)

    def _started(self, call: Callable[[], T]) -> T:
        self._count(-1)
        return call()

    def _count(self, change: int) -> None:
        with self._lock:
            self._queued += change

    def _take_turn(self) -> None:
        """Make one of the queued calls: the most urgent one when the turn has come, not when it was asked for."""
        with self._lock:
            urgent = bool(self._calls) and not self._calls[0].patient
        with self.turn(urgent):
            with self._lock:
                queued = heapq.heappop(self._calls)
            if queued.future.set_running_or_notify_cancel():
                try:
                    queued.future.set_result(self._recorded(queued.recorder, queued.call))
                except BaseException as exc:  # noqa: BLE001  it is the caller's
                    queued.future.set_exception(exc)

    def _cancel_queued(self) -> None:
        with self._lock:
            waiting = [queued.future for queued in self._calls]
        for future in waiting:
            future.cancel()

    def _recorded(self, recorder: Recorder | None, call: Callable[[], T]) -> T:
        begin = time.monotonic()
        try:
            return call()
        finally:
            if recorder is not None:
                recorder(self.name, begin, time.monotonic())

    def turn(self, urgent: bool = False) -> AbstractContextManager[object]:
        """The lane's turn at the cores; `run` and `stream` take it for every call."""
        return self._turn(urgent)

    def _lower_priority(self) -> None:
        self._thread = threading.current_thread()
        if self._nice and hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)


class Iterated(Iterator[T]):
    """An async generator as an iterator for code without an event loop: it runs ahead in a thread of its own.

    The thread ends with the generator. `close` stops it where it is and waits; dropping the iterator stops it, too.
    """

    def __init__(self, make: Callable[[], AsyncGenerator[T, None]], ahead: int) -> None:
        self._state = _Iteration(make, ahead)
        self._over = False
        # the thread must not hold this object, or dropping it would never be noticed
        self._thread = threading.Thread(
            target=self._state.run, name="voxturn-iterated", daemon=True
        )
        self._thread.start()

    def __next__(self) -> T:
        if self._over:
            raise StopIteration
        item, error = self._state.items.get()
        self._state.room.release()
        if error is None:
            return cast(T, item)
        self._over = True
        self._thread.join()
        raise error

    def close(self) -> None:
        """Stop the generator where it is and wait until it is closed."""
        self._over = True
        self._state.stop()
        self._thread.join()

    def __del__(self) -> None:
        self._state.stop()


class _Iteration(Generic[T]):
    """What an `Iterated` and its thread share."""

    def __init__(self, make: Callable[[], AsyncGenerator[T, None]], ahead: int) -> None:
        self._make = make
        self.items: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
        self.room = threading.Semaphore(ahead)
        self._lock = threading.Lock()
        self._stopped = False
        self._task: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None

    def stop(self) -> None:
        """Cancel the generator, also while it waits for its source."""
        with self._lock:
            self._stopped = True
            if self._task is not None:
                with contextlib.suppress(RuntimeError):  # its loop has ended
                    self._task[0].call_soon_threadsafe(self._task[1].cancel)
        self.room.release()

    def run(self) -> None:
        try:
            asyncio.run(self._pump())
            self.items.put((None, StopIteration()))
        except BaseException as exc:  # noqa: BLE001  it is the reader's
            self.items.put((None, exc))

    async def _pump(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        with self._lock:
            if self._stopped:
                return
            self._task = asyncio.get_running_loop(), task
        source = self._make()
        try:
            async for item in source:
                self.items.put((item, None))
                while not self.room.acquire(blocking=False):
                    await asyncio.to_thread(self.room.acquire)
                    self.room.release()
        finally:
            with self._lock:
                self._task = None  # closing must not be cancelled
            await source.aclose()
