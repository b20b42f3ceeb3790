"""What somebody says, until it is an item of the dialogue."""

from __future__ import annotations

from collections.abc import Callable

from voxturn.runtime.gateway.realtime.buffer import Buffer
from voxturn.runtime.gateway.realtime.events import (
    Committed,
    Happening,
    Heard,
    HeardDelta,
    ItemAdded,
    SpeechBegan,
    SpeechStopped,
)
from voxturn.runtime.gateway.realtime.items import Item, Items, new_id


class Speech:
    """One utterance after the other. `writes`: its words are told; `live`: while it is said.

    `going`: whether somebody speaks, or is not written down yet.
    """

    def __init__(self, tell: Callable[[Happening], None], items: Items, buffer: Buffer) -> None:
        self._tell = tell
        self._items = items
        self._buffer = buffer
        self._id = ""
        self._announced = False
        self._stopped = False
        self._written = ""
        self._began_ms = 0.0
        self._ended_ms = 0.0
        self.writes = False
        self.live = False

    @property
    def going(self) -> bool:
        """Whether there is an utterance that is no item yet."""
        return bool(self._id)

    @property
    def open(self) -> bool:
        """Whether somebody speaks."""
        return self.going and not self._stopped

    def interrupts(self) -> None:
        """Speech has cut an answer: it is told at once, and not again when it is heard."""
        self._announce(max(0.0, self._buffer.ms - 300))
        self._announced = True

    def began(self, at: int) -> None:
        """It began at a sample of what the session heard."""
        if self._announced:
            self._announced = False
            return
        self._announce(self._buffer.ms_of(at))

    def wrote(self, stable: str) -> None:
        """So much of it is certain."""
        if not self.writes or not self.live or not self._id:
            return
        if more := stable[len(self._written) :]:
            self._written = stable
            self._tell(HeardDelta(self._id, more))

    def stopped(self, at: int) -> None:
        """It ended at a sample of what the session heard."""
        if self.open:
            self._stopped = True
            self._ended_ms = self._buffer.ms_of(at)
            self._tell(SpeechStopped(self._id, self._ended_ms))

    def commit(self) -> tuple[Item, float]:
        """It becomes an item; how many seconds it took."""
        if not self._id:
            self._announce(self._buffer.ms)
        if not self._stopped:
            self.stopped(self._buffer.samples)
        item = Item(role="user", spoken=True, id=self._id)
        before = self._items.add(item)
        self._tell(Committed(item.id, before))
        self._tell(ItemAdded(item, before))
        self._id = ""
        return item, max(0.0, self._ended_ms - self._began_ms) / 1000

    def tell(self, item: Item, seconds: float) -> None:
        """Tell the words of an item, where they are wanted."""
        written, self._written = self._written, ""
        if not self.writes:
            return
        rest = item.text[len(written) :] if item.text.startswith(written) else ""
        if rest:
            self._tell(HeardDelta(item.id, rest))
        self._tell(Heard(item.id, item.text, seconds))

    def forget(self) -> None:
        """It was not said."""
        self._id = ""
        self._announced = False

    def _announce(self, ms: float) -> None:
        self._id = new_id("item")
        self._stopped = False
        self._written = ""
        self._began_ms = ms
        self._tell(SpeechBegan(self._id, ms))
