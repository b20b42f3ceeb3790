"""The synchronous twin of an asynchronous class, made from it: its methods in an event loop of their own."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from types import TracebackType
from typing import Any


class Twin:
    """`kind` for code without an event loop. Made, used and closed in one loop in a thread of its own.

    A method's coroutine becomes its result; an asynchronous iterator an iterator, which closes what it is dropped in the
    middle of. What has methods of its own (a turn) becomes a twin of the same loop.
    """

    _kind: type[Any]

    def __init__(self, *args: Any, **options: Any) -> None:
        self._portal = Portal()
        try:
            self._inner = self._portal.run(_made(self._kind, args, options))
        except BaseException:
            self._portal.close()
            raise

    def __getattr__(self, name: str) -> Any:
        return _twin_of(getattr(self._inner, name), self._portal)

    def close(self) -> None:
        """Close what is inside, then its loop; safe to call twice."""
        if self._portal.open:
            try:
                self._portal.run(self._inner.aclose())
            finally:
                self._portal.close()

    def __enter__(self) -> Twin:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


class Portal:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="voxturn-client", daemon=True
        )
        self._thread.start()

    @property
    def open(self) -> bool:
        """Whether it still runs."""
        return self._thread.is_alive()

    def run(self, work: Awaitable[Any]) -> Any:
        """Await something there; blocks. An interrupt cancels it."""

        async def whole() -> Any:
            return await work

        future = asyncio.run_coroutine_threadsafe(whole(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def begin(self, function: Any) -> None:
        """Call something there, and wait for nothing."""

        async def called() -> None:
            await function()

        with contextlib.suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(called()))

    def close(self) -> None:
        """Cancel what is under way, then end the loop and its thread."""
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class TwinIterator(Iterator[Any]):
    """An asynchronous iterator as an iterator, with the twins of its other methods."""

    def __init__(self, source: AsyncIterator[Any], portal: Portal) -> None:
        self._source, self._portal, self._over = source, portal, False

    def __next__(self) -> Any:
        if self._over:
            raise StopIteration
        try:
            return self._portal.run(anext(self._source))
        except StopAsyncIteration:
            self._over = True
            raise StopIteration from None
        except BaseException:
            self.close()
            raise

    def __getattr__(self, name: str) -> Any:
        return _twin_of(getattr(self._source, name), self._portal)

    def close(self) -> None:
        """Stop the source where it is."""
        self._over = True
        if self._portal.open and (aclose := getattr(self._source, "aclose", None)) is not None:
            self._portal.run(aclose())

    def __del__(self) -> None:
        if not self._over and (aclose := getattr(self._source, "aclose", None)) is not None:
            self._portal.begin(aclose)  # not waited for: this may run in the portal's own thread


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def twin(kind: type[Any], name: str) -> type[Twin]:
    """The class `name`, the synchronous twin of `kind`; its public methods have the documentation of the originals."""
    methods: dict[str, Any] = {}
    for method, function in inspect.getmembers(kind, inspect.isfunction):
        if not method.startswith("_") and method != "aclose":
            methods[method] = _method(method, function)
    about = f"The synchronous twin of `{kind.__name__}`, made from it.\n\n{inspect.getdoc(kind)}"
    return type(
        name, (Twin,), {"_kind": kind, "__doc__": about, "__module__": kind.__module__} | methods
    )


def _method(name: str, original: Any) -> Any:
    def call(self: Twin, *args: Any, **options: Any) -> Any:
        return _twin_of(getattr(self._inner, name), self._portal)(*args, **options)

    call.__name__, call.__doc__ = name, original.__doc__
    call.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    return call


def _twin_of(value: Any, portal: Portal) -> Any:
    """What a caller without a loop gets for a value, or for what a function returns."""
    if inspect.isawaitable(value):
        return _twin_of(portal.run(value), portal)
    if isinstance(value, AsyncIterator):
        return TwinIterator(value, portal)
    if inspect.isroutine(value):
        return lambda *args, **options: _twin_of(portal.run(_called(value, args, options)), portal)
    return value


async def _called(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Call something in the loop it belongs to."""
    found = function(*args, **options)
    return await found if inspect.isawaitable(found) else found


async def _made(kind: type[Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return kind(*args, **options)
