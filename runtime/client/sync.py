"""Synchronous classes made from asynchronous ones: their methods run in an event loop in a thread
of their own."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

from voxturn.runtime.closing import Closing
from voxturn.runtime.flow.portal import Portal, PortalIterator


class SyncProxy(Closing):
    """An object of `_kind` for code without an event loop. It is made, used and closed in one loop
    in a thread of its own.

    A method's coroutine becomes its result; an asynchronous iterator an iterator, which closes its
    source when it is dropped in the middle. What has methods of its own (a turn) keeps them, run in
    the same loop.
    """

    _kind: type[Any]

    def __init__(self, *args: Any, **options: Any) -> None:
        self._portal = Portal("voxturn-client")
        self._owns_portal = True
        try:
            self._inner = self._portal.run(_called(self._kind, args, options))
        except BaseException:
            self._portal.close()
            raise

    @classmethod
    def _of(cls, inner: Any, portal: Portal) -> SyncProxy:
        """Of an object that another one has made in its loop."""
        proxy = cls.__new__(cls)
        proxy._inner = inner
        proxy._portal = portal
        proxy._owns_portal = False
        return proxy

    def __getattr__(self, name: str) -> Any:
        return _synchronous(getattr(self._inner, name), self._portal)

    def close(self) -> None:
        """Close the object, then its loop; safe to call twice."""
        if self._portal.open:
            try:
                self._portal.run(self._inner.aclose())
            finally:
                if self._owns_portal:
                    self._portal.close()


_GIVEN: dict[type[Any], type[SyncProxy]] = {}
"""The synchronous classes of what others give."""


class SyncIterator(PortalIterator[Any]):
    """An asynchronous iterator as an iterator, with its other methods run in its loop."""

    def __getattr__(self, name: str) -> Any:
        return _synchronous(getattr(self._source, name), self._portal)


def synchronous(kind: type[Any], name: str, of: type[Any] | None = None) -> type[SyncProxy]:
    """The synchronous class `name` of `kind`; its public methods have the documentation of the
    originals.

    `of`: what other synchronous objects give as objects of this class; a base of `kind`.
    """
    methods: dict[str, Any] = {}
    for method, function in inspect.getmembers(kind, inspect.isfunction):
        if not method.startswith("_") and method != "aclose":
            methods[method] = _method(method, function)
    if hasattr(kind, "__aiter__"):
        methods["__iter__"] = lambda self: _synchronous(aiter(self._inner), self._portal)
    for method, value in inspect.getmembers(kind, lambda member: isinstance(member, property)):
        if value.fset is not None:
            methods[method] = _property(method, value)
    doc = f"`{kind.__name__}` for code without an event loop.\n\n{inspect.getdoc(kind)}"
    made = type(
        name, (SyncProxy,), {"_kind": kind, "__doc__": doc, "__module__": kind.__module__} | methods
    )
    if of is not None:
        _GIVEN[of] = made
    return made


def _method(name: str, original: Any) -> Any:
    def call(self: SyncProxy, *args: Any, **options: Any) -> Any:
        return _synchronous(getattr(self._inner, name), self._portal)(*args, **options)

    call.__name__ = name
    call.__doc__ = original.__doc__
    call.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    return call


def _property(name: str, original: property) -> property:
    """A property that can be set; in the loop of the object."""

    def read(self: SyncProxy) -> Any:
        return getattr(self._inner, name)

    def write(self: SyncProxy, value: Any) -> None:
        self._portal.run(_called(setattr, (self._inner, name, value), {}))

    return property(read, write, doc=original.__doc__)


def _synchronous(value: Any, portal: Portal) -> Any:
    """What a caller without a loop gets for a value, or for what a function returns."""
    if inspect.isawaitable(value):
        return _synchronous(portal.run(value), portal)
    if isinstance(value, AsyncIterator):
        return SyncIterator(value, portal)
    for kind, made in _GIVEN.items():
        if isinstance(value, kind):
            return made._of(value, portal)
    if inspect.isroutine(value):
        return lambda *args, **options: _synchronous(
            portal.run(_called(value, args, options)), portal
        )
    return value


async def _called(function: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Call something in the loop it belongs to."""
    result = function(*args, **options)
    return await result if inspect.isawaitable(result) else result
