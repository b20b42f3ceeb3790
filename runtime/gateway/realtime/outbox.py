"""What waits to be sent to a client."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from voxturn.runtime.flow.event import Event

T = TypeVar("T")


class Outbox(Generic[T]):
    """A queue to which anything may be added at once; `room` waits while much of it is unread.

    Whoever adds much waits for room first: that bounds it, and nothing comes in between things that
    belong together.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: deque[T] = deque()
        self._changed = Event()
        self._closed = False

    def put(self, item: T) -> None:
        """Add something; nothing once it is closed."""
        if not self._closed:
            self._items.append(item)
            self._changed.set()

    async def room(self) -> None:
        """Wait while there is too much."""
        while len(self._items) >= self._most and not self._closed:
            self._changed.clear()
            await self._changed.wait()

    async def next(self) -> T | None:
        """The next thing; None once it is closed and empty."""
        while not self._items:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        item = self._items.popleft()
        self._changed.set()
        return item

    def close(self) -> None:
        """Nothing more is added."""
        self._closed = True
        self._changed.set()
