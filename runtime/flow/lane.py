"""`Lane`: the one thread that an engine's blocking calls run in."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar, cast

from voxturn.runtime.errors import StreamClosed
from voxturn.runtime.flow.clock import Clock, WallClock
from voxturn.runtime.flow.fairness import CLIENT, Rounds
from voxturn.runtime.flow.handoff import Handoff
from voxturn.runtime.flow.observe import OBSERVER, Observer

T = TypeVar("T")
P = ParamSpec("P")
_END = object()
_NUMBERS = itertools.count()
_URGENT_AFTER_S = 0.5
"""How long any call may have waited before it is as urgent as those that are."""


@dataclass(eq=False)
class _Call:
    """A call that waits for the lane, the `number`-th that came. `takes_turns`: at the cores, by
    itself, as often as it needs one."""

    function: Callable[[], Any]
    came_s: float
    urgent: bool = False
    takes_turns: bool = False
    client: str = field(default_factory=CLIENT.get)
    number: int = field(default_factory=lambda: next(_NUMBERS))
    future: Future[Any] = field(default_factory=Future)


class Lane:
    """One worker thread for one engine: blocking calls and whole streams one at a time, urgent ones
    first, then a client's at a time in turn (`fairness`), a client's own in order.

    A cancelled caller leaves at once, and its call leaves the queue; one that runs already runs out
    in the thread and its result is thrown away. `nice` (0 to 19) lowers the thread's priority on
    Linux. Every call is made within a `turn`, which is told whether the call is urgent. The
    observer of whoever asked is told of each call, in seconds of `clock`.
    """

    def __init__(
        self,
        name: str,
        nice: int = 0,
        turn: Callable[[bool], AbstractContextManager[object]] = nullcontext,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self._nice = nice
        self._turn = turn
        self.clock = clock or WallClock()
        self._calls: list[_Call] = []
        self._rounds = Rounds()
        self._pool = ThreadPoolExecutor(
            1, thread_name_prefix=f"voxturn-{name}", initializer=self._lower_priority
        )
        self._lock = threading.Lock()
        self._queued = 0
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def wanted(self) -> bool:
        """Whether another call waits for the thread, or the lane is being closed: a long call
        should make room."""
        with self._lock:
            return self._closing or self._queued > 0

    @property
    def queued(self) -> int:
        """How many calls wait for the thread."""
        with self._lock:
            return self._queued

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Queue a call that takes its own turns; its future.

        Raises `StreamClosed` after `close`.
        """
        self._count(+1)
        try:
            future = self._pool.submit(self._started, function)
        except RuntimeError as exc:
            self._count(-1)
            raise self._closed() from exc
        # a call that was cancelled in the queue has not counted itself as started
        future.add_done_callback(lambda done: self._count(-1) if done.cancelled() else None)
        return future

    def make(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call in the lane's thread and wait for it: an engine's own threads inherit the
        lane's priority."""
        return self.submit(lambda: function(*args, **kwargs)).result()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call in the lane's thread and return its result."""
        return await self._run(False, lambda: function(*args, **kwargs))

    async def run_first(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, ahead of everything that waits and is not urgent."""
        return await self._run(True, lambda: function(*args, **kwargs))

    async def _run(self, urgent: bool, function: Callable[[], T]) -> T:
        observer = OBSERVER.get()
        call = _Call(lambda: self._observed(observer, function), self.clock.now(), urgent)
        self._queue(call)
        result: T = await asyncio.wrap_future(call.future)
        return result

    async def stream(
        self, make: Callable[[], Iterator[T]], ahead: int = 8
    ) -> AsyncGenerator[T, None]:
        """The items of the iterator that `make` gives, iterated in the lane's thread, at most
        `ahead` items early.

        It waits for its turn as a call does, and then has the thread until it ends. Closing this
        stops the thread's loop at its next item, which is thrown away.
        """
        loop = asyncio.get_running_loop()
        observer = OBSERVER.get()
        handoff: Handoff[T] = Handoff(ahead)
        stop = threading.Event()
        room = threading.Semaphore(ahead)  # so many items are unread at most: the hand-off's bound

        def work() -> None:
            iterator = make()
            try:
                while room.acquire() and not stop.is_set():
                    if self._closing:
                        raise self._closed()
                    with self.turn():
                        item = self._observed(observer, lambda: next(iterator, _END))
                    if item is _END or stop.is_set():
                        return
                    loop.call_soon_threadsafe(handoff.put_now, cast(T, item))
            finally:
                close = getattr(iterator, "close", None)
                if close is not None:
                    close()

        def end(future: Future[None]) -> None:
            error = self._closed() if future.cancelled() else future.exception()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                if error is None:
                    loop.call_soon_threadsafe(handoff.close)
                else:
                    loop.call_soon_threadsafe(handoff.fail, error)

        call = _Call(work, self.clock.now(), takes_turns=True)
        self._queue(call)
        call.future.add_done_callback(end)
        try:
            async for item in handoff:
                room.release()
                yield item
        finally:
            stop.set()
            room.release()
            call.future.cancel()

    def turn(self, urgent: bool = False) -> AbstractContextManager[object]:
        """The lane's turn at the cores; `run` and `stream` take it for every call."""
        return self._turn(urgent)

    def close(self, patience_s: float | None = None) -> None:
        """Wait for the call in the thread, if any (at most `patience_s` seconds), and end the
        thread."""
        self._closing = True
        self._cancel_queued()
        self._pool.shutdown(wait=patience_s is None, cancel_futures=True)
        self._cancel_queued()  # what came in between has no thread to run in
        if self._thread is not None:
            self._thread.join(patience_s)

    def _started(self, function: Callable[[], T]) -> T:
        self._count(-1)
        return function()

    def _count(self, change: int) -> None:
        with self._lock:
            self._queued += change

    def _queue(self, call: _Call) -> None:
        """Have a call made when it is its turn. Raises `StreamClosed` after `close`."""
        with self._lock:
            self._rounds.came(call.client)
            self._calls.append(call)
        place = self.submit(self._take_turn)

        def leave(done: Future[Any]) -> None:
            if done.cancelled():
                with self._lock, contextlib.suppress(ValueError):
                    self._calls.remove(call)
                place.cancel()  # another call may have had it: then that one's finds none

        call.future.add_done_callback(leave)

    def _take_turn(self) -> None:
        """Make one of the queued calls, which is chosen when the turn has come, not when it was
        asked for."""
        with self._lock:
            urgent = any(call.urgent for call in self._calls)
        with self.turn(urgent):
            call = self._next()
            if call is not None and not call.takes_turns:
                _carry_out(call)
        if call is not None and call.takes_turns:
            _carry_out(call)

    def _next(self) -> _Call | None:
        """The call whose turn it is; None where nobody waits for it any more."""
        with self._lock:
            if not self._calls:
                return None
            urgent = any(call.urgent for call in self._calls)
            call = min(self._calls, key=lambda call: self._order(call, urgent))
            self._calls.remove(call)
            if not call.future.set_running_or_notify_cancel():
                return None
            self._rounds.served(call.client)
            return call

    def _order(self, call: _Call, urgent: bool) -> tuple[bool, int, int]:
        """The least goes first. `urgent`: one of those that wait is, and such calls without an end
        do not keep others waiting for ever."""
        late = urgent and self.clock.now() - call.came_s >= _URGENT_AFTER_S
        return not (call.urgent or late), self._rounds.last(call.client), call.number

    def _cancel_queued(self) -> None:
        with self._lock:
            waiting = [call.future for call in self._calls]
        for future in waiting:
            future.cancel()

    def _observed(self, observer: Observer | None, function: Callable[[], T]) -> T:
        begin_s = self.clock.now()
        try:
            return function()
        finally:
            if observer is not None:
                observer.call(self.name, begin_s, self.clock.now())

    def _closed(self) -> StreamClosed:
        return StreamClosed(f"the engine of {self.name!r} was closed")

    def _lower_priority(self) -> None:
        self._thread = threading.current_thread()
        if self._nice and hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)


def _carry_out(call: _Call) -> None:
    try:
        call.future.set_result(call.function())
    except BaseException as exc:  # noqa: BLE001  it is the caller's
        call.future.set_exception(exc)
