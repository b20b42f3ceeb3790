"""What a session sends: numbered, bounded, and kept until it was received, so that a connection may
break anywhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.flow.event import Event
from voxturn.runtime.gateway.voice.messages import AudioHeader, ServerEvent, encode

AHEAD_S = 20.0
"""Seconds of audio that wait to be sent; whoever makes more waits."""
KEPT_S = 30.0
"""Seconds of audio that were sent and not acknowledged."""
SLOW_S = 30.0
"""How long a message may wait for a client that is there: longer than `AHEAD_S` takes to play."""
_MOST_WAITING, _MOST_KEPT = 1024, 4096


@dataclass(frozen=True)
class Audio:
    """A binary frame: `payload` after `header`, `seconds` long."""

    header: AudioHeader
    payload: bytes
    seconds: float


Outbound = ServerEvent | Audio


@dataclass(frozen=True)
class _Kept:
    seq: int
    data: str | bytes
    seconds: float


class Outgoing:
    """The messages of a session on their way to whoever is connected.

    Numbers are given when a message is first taken to be sent, so that what is discarded before
    leaves no gap.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[tuple[Outbound, float]] = deque()
        self._urgent: deque[ServerEvent] = deque()
        self._kept: deque[_Kept] = deque()
        self._again = 0
        """How many of the last kept ones are to be sent again."""
        self._waiting_s = self._kept_s = 0.0
        self._seq = 0
        self._forgotten = 0
        """The number of the last message that is not kept any more."""
        self._acknowledges = False
        self._changed = Event()
        self._closed = False

    async def put(self, message: Outbound) -> None:
        """Add a message; wait while too much does. After `close` nothing is added."""
        while self._full and not self._closed:
            await self._wait()
        self.put_now(message)

    def put_now(self, message: Outbound) -> None:
        """Add a message that cannot wait: how many there are is limited elsewhere."""
        if not self._closed:
            self._waiting.append((message, self._clock.now()))
            self._waiting_s += _seconds(message)
            self._changed.set()

    def put_first(self, message: ServerEvent) -> None:
        """Add an event that is worth nothing later: it overtakes what waits, but for others of its
        kind."""
        if not self._closed:
            self._urgent.append(message)
            self._changed.set()

    def discard(self, unwanted: Callable[[Outbound], bool]) -> None:
        """Drop what waits and is not wanted any more."""
        self._waiting = deque(each for each in self._waiting if not unwanted(each[0]))
        self._waiting_s = sum(_seconds(message) for message, _ in self._waiting)
        self._changed.set()

    def acknowledge(self, seq: int) -> None:
        """Everything up to `seq` was received. Raises `ValueError` for what was never sent."""
        if seq > self._seq:
            raise ValueError(f"{seq} was not sent yet; the last one was {self._seq}")
        self._acknowledges = True
        while self._kept and self._kept[0].seq <= seq:
            self._forget()

    def rewind(self, seq: int) -> None:
        """Send again what came after `seq`. Raises `ValueError` where that is not kept any more, or
        was never sent."""
        if seq < self._forgotten:
            raise ValueError(f"what came after {seq} is not kept any more")
        if seq > self._seq:
            raise ValueError(f"{seq} was not sent yet; the last one was {self._seq}")
        while self._kept and self._kept[0].seq <= seq:
            self._forget()
        self._again = len(self._kept)
        self._waiting = deque((message, self._clock.now()) for message, _ in self._waiting)
        self._changed.set()

    async def next(self) -> str | bytes | None:
        """The next message to be sent, as text or bytes; None once all were and there are no
        more."""
        while not self._sendable:
            if self._closed and not self._waiting and not self._urgent:
                return None
            await self._wait()
        if self._again:
            self._again -= 1
            return self._kept[-self._again - 1].data
        message: Outbound
        if self._urgent:
            message = self._urgent.popleft()
        else:
            message, _ = self._waiting.popleft()
            self._waiting_s -= _seconds(message)
        self._seq += 1
        kept = _Kept(self._seq, _numbered(message, self._seq), _seconds(message))
        self._kept.append(kept)
        self._kept_s += kept.seconds
        if not self._acknowledges:
            while self._kept_s > KEPT_S or len(self._kept) > _MOST_KEPT:
                self._forget()
        self._changed.set()
        return kept.data

    def close(self) -> None:
        """Nothing more is added."""
        self._closed = True
        self._changed.set()

    @property
    def oldest_s(self) -> float:
        """How long the oldest message has waited to be sent for the first time, in seconds."""
        return self._clock.now() - self._waiting[0][1] if self._waiting else 0.0

    @property
    def _sendable(self) -> bool:
        if self._again or self._urgent:
            return True
        window = self._kept_s < KEPT_S and len(self._kept) < _MOST_KEPT
        return bool(self._waiting) and (window or not self._acknowledges)

    @property
    def _full(self) -> bool:
        return self._waiting_s >= AHEAD_S or len(self._waiting) >= _MOST_WAITING

    def _forget(self) -> None:
        kept = self._kept.popleft()
        self._kept_s -= kept.seconds
        self._forgotten = kept.seq
        self._again = min(self._again, len(self._kept))
        self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _seconds(message: Outbound) -> float:
    return message.seconds if isinstance(message, Audio) else 0.0


def _numbered(message: Outbound, seq: int) -> str | bytes:
    """A message as it is sent."""
    if isinstance(message, Audio):
        return replace(message.header, seq=seq).pack() + message.payload
    return encode(msgspec.structs.replace(message, seq=seq)).decode()
