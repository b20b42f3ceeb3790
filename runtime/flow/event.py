"""An event that costs little while nobody waits for it."""

from __future__ import annotations

import asyncio


class Event:
    """`asyncio.Event` in a fifth of its memory; one event loop's alone.

    A session holds a dozen, and most of a gateway's sessions are idle: such a connection takes 63 kB
    with these, 69 with asyncio's, whose empty queue of waiters is 600 bytes.
    """

    __slots__ = ("_is_set", "_waiters")

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: list[asyncio.Future[None]] = []

    def is_set(self) -> bool:
        """Whether `set` was called and `clear` was not since."""
        return self._is_set

    def set(self) -> None:
        """Let all go on who wait, and all who come until `clear`."""
        self._is_set = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        """Let those wait who come from now on."""
        self._is_set = False

    async def wait(self) -> None:
        """Return once it is set."""
        if self._is_set:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)
