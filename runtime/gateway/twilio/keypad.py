"""The keys that a caller presses, until they are a number."""

from __future__ import annotations

import asyncio

from voxturn.runtime.flow.clock import Clock, done_by
from voxturn.runtime.flow.event import Event
from voxturn.runtime.flow.handoff import cancel_and_wait

PAUSE_S = 3.0
"""So long after a key a number is whole; `#` ends it at once."""
MOST_KEYS = 32
"""Of a number; more are not taken."""


class Keypad:
    """Collects keys. `press` them; `number` waits for the next that is whole."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys = ""
        self._ended = False
        self._due_s = 0.0
        self._changed = Event()

    def press(self, key: str) -> bool:
        """A key was pressed; whether it begins a number."""
        begins = not self._keys and key != "#"
        if key == "#":
            self._ended = bool(self._keys)
        elif not self._ended and len(self._keys) < MOST_KEYS:
            self._keys += key
        self._due_s = self._clock.now() + PAUSE_S
        self._changed.set()
        return begins

    async def number(self) -> str:
        """The next number, as it was pressed, without its `#`."""
        while not (self._ended or (self._keys and self._clock.now() >= self._due_s)):
            self._changed.clear()
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                if self._keys:
                    await done_by(self._clock, changed, self._due_s)
                else:
                    await changed
            finally:
                await cancel_and_wait(changed)
        keys, self._keys, self._ended = self._keys, "", False
        return keys
