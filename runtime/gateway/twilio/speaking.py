"""What is said to the phone: frames of 20 ms at the pace of speech, and marks that tell how much of
it was played."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.gateway.realtime import events as happened
from voxturn.runtime.gateway.realtime.formats import FORMATS, Encoder
from voxturn.runtime.gateway.realtime.pace import Pacer
from voxturn.runtime.gateway.realtime.reply import CANCELLED, FAILED, Reply
from voxturn.runtime.gateway.twilio import messages as wire

FRAME = wire.RATE // 50
MARK_EVERY = 5 * FRAME
"""Bytes between marks: 100 ms."""
MOST_MARKS = 1024
"""Marks that have not come back; older ones are forgotten."""


class Speaking:
    """Writes the answers of one stream to `send`. `played` is told how many milliseconds of which
    answer the phone has played. Before audio the pacer waits for `room`."""

    def __init__(
        self,
        clock: Clock,
        stream: str,
        send: Callable[[dict[str, Any]], None],
        room: Callable[[], Awaitable[None]],
        played: Callable[[Reply, float], None],
    ) -> None:
        self._stream = stream
        self._send = send
        self._played = played
        self.pacer = Pacer(clock, FORMATS["audio/pcmu"], self._play, _no_word, room)
        self._encoder: Encoder | None = None
        self._reply: Reply | None = None
        self._rest = b""
        self._begin = 0  # of the answer, in bytes of all that was added
        self._added = 0
        self._sent = 0
        self._marked = 0
        self._whole = True
        self._number = 0
        self._marks: dict[str, tuple[Reply, float]] = {}

    def __call__(self, event: happened.Happening) -> None:
        """Say what there is to be said of it."""
        match event:
            case happened.AudioDelta():
                self._say(event)
            case happened.ContentDone():
                self._end(event.reply)
            case happened.Withheld():
                self.pacer.pause()
            case happened.Released():
                self.pacer.resume()
            case happened.Cut() | happened.SpeechBegan():
                self.cut()

    def mark(self, name: str) -> None:
        """A mark has come back: all before it was played. One that was not sent, or that a cut has
        made void, tells nothing."""
        if name not in self._marks:
            return
        for known in list(self._marks):
            reply, ms = self._marks.pop(known)
            if known == name:
                self._played(reply, ms)
                return

    def cut(self) -> None:
        """What was not played is not played. Marks come back at once then, and do not count."""
        waits = self._added > self._sent or bool(self._marks)
        self.pacer.cut()
        self._encoder = None
        self._rest = b""
        self._added = self._marked = self._sent
        self._whole = True
        self._marks.clear()
        if waits:
            self._send(wire.clear(self._stream))

    def _say(self, event: happened.AudioDelta) -> None:
        if event.reply is not self._reply:
            self._reply = event.reply
            self._encoder = Encoder(event.reply.rate, FORMATS["audio/pcmu"])
            self._begin = self._added
            self._whole = False
        if self._encoder is not None:
            self._add(self._encoder.push(event.samples))

    def _end(self, reply: Reply) -> None:
        """An answer is whole, or was cut: what is held back is said, or is not."""
        encoder, self._encoder = self._encoder, None
        if encoder is None or reply is not self._reply or reply.status in (CANCELLED, FAILED):
            return
        self._whole = True
        self._add(encoder.flush(), last=True)
        if self._sent == self._added:
            self._mark()

    def _add(self, raw: bytes, last: bool = False) -> None:
        """Audio in whole frames, as far as there are any."""
        raw = self._rest + raw
        whole = len(raw) if last else len(raw) // FRAME * FRAME
        self._rest = raw[whole:]
        if whole:
            self._added += whole
            self.pacer.audio(raw[:whole])

    def _play(self, raw: bytes, at_s: float) -> None:
        self._send(wire.media(self._stream, raw))
        self._sent += len(raw)
        ends = self._whole and self._sent == self._added
        if ends or self._sent - self._marked >= MARK_EVERY:
            self._mark()

    def _mark(self) -> None:
        """Have told when what was sent so far was played."""
        self._marked = self._sent
        ms = (self._sent - self._begin) * 1000 / wire.RATE
        if self._reply is None or ms <= 0:
            return
        if len(self._marks) >= MOST_MARKS:
            self._marks.pop(next(iter(self._marks)))
        self._number += 1
        name = str(self._number)
        self._marks[name] = (self._reply, ms)
        self._send(wire.mark(self._stream, name))


def _no_word(text: str, at_s: float) -> None:
    """Phones are told no words."""
