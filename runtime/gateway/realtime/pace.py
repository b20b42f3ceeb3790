"""What is said, let go of as fast as it is played: whoever gets it plays it, and cannot unhear it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.flow.event import Event
from voxturn.runtime.gateway.realtime.formats import Format

LEAD_S = 0.2
_FRAME_S = 0.02
_MOST_S = 600.0
"""Of audio that waits: no answer is that long, and what waits has to have a bound."""


class Pacer:
    """Audio of a form, in frames of 20 ms, at most `LEAD_S` before it is played; and words where
    they lie in it.

    `play` gets bytes and the time (of the clock) at which they begin to sound; `write` a word and
    when it sounds. Before a frame it waits for `room`.
    """

    def __init__(
        self,
        clock: Clock,
        form: Format,
        play: Callable[[bytes, float], None],
        write: Callable[[str, float], None],
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self._clock = clock
        self._play = play
        self._write = write
        self._room = room
        self._rate = form.rate * form.width  # bytes a second
        self._frame = round(form.rate * _FRAME_S) * form.width
        self._audio: deque[memoryview] = deque()
        self._words: deque[tuple[int, str]] = deque()
        self._sent = self._added = 0  # bytes
        self._sounds_until_s = 0.0
        self._paused = False
        self._changed = Event()
        self._empty = Event()
        self._empty.set()

    @property
    def added_s(self) -> float:
        """Where the audio that is added next will lie in all that is played."""
        return self._added / self._rate

    def word(self, text: str, at_s: float) -> None:
        """A word that lies at `at_s` of all that is played."""
        self._words.append((round(at_s * self._rate), text))
        self._wake()

    def audio(self, raw: bytes) -> None:
        """The next bytes."""
        view = memoryview(raw)
        self._audio += [view[at : at + self._frame] for at in range(0, len(raw), self._frame)]
        self._added += len(raw)
        self._wake()

    def pause(self) -> None:
        """Let nothing go."""
        self._paused = True

    def resume(self) -> None:
        """Go on where it stood."""
        self._paused = False
        self._changed.set()

    def cut(self) -> None:
        """What has not gone is not played."""
        self._audio.clear()
        self._words.clear()
        self._added = self._sent
        self._paused = False
        self._changed.set()
        self._empty.set()

    async def empty(self) -> None:
        """Wait until all of it has gone."""
        await self._empty.wait()

    async def has_room(self) -> None:
        """Wait while too much waits."""
        while (self._added - self._sent) / self._rate > _MOST_S:
            self._changed.clear()
            await self._changed.wait()

    async def run(self) -> None:
        """Let go what is due, until it is cancelled."""
        while True:
            if self._paused or not (self._audio or self._words):
                self._changed.clear()
                await self._changed.wait()
                continue
            due_s = self._sounds_until_s - LEAD_S
            if due_s > self._clock.now():
                await self._clock.sleep_until(due_s)
            else:
                await self._room()
                self._let_go()

    def _let_go(self) -> None:
        """One frame, after the words that begin in it."""
        if self._paused:  # while it waited for room
            return
        begins_s = max(self._sounds_until_s, self._clock.now())
        frame = self._audio.popleft() if self._audio else b""
        end = self._sent + len(frame)
        while self._words and (self._words[0][0] < end or not self._audio):
            at, text = self._words.popleft()
            self._write(text, begins_s + max(0, at - self._sent) / self._rate)
        if frame:
            self._play(bytes(frame), begins_s)
            self._sent = end
            self._sounds_until_s = begins_s + len(frame) / self._rate
        self._changed.set()
        if not self._audio and not self._words:
            self._empty.set()

    def _wake(self) -> None:
        self._empty.clear()
        self._changed.set()
