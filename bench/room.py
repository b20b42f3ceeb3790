"""A simulated room for the benches of sessions: a loudspeaker whose sound comes back into the
microphone, people who speak, and babble behind them.

Time is the session's clock: every 10 ms the loudspeaker plays and the microphone hears 160 samples
at 16 kHz.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soxr
from voxturn.runtime.audio.echo import EchoCanceller
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import AudioFrame, PcmChunk, Samples

TICK = RATE // 100
_TAIL_S, _TAIL_DB = 0.06, -9.0
"""How long the room sounds after its first echo, and how far below it."""


class SimulatedLoudspeaker:
    """Plays chunks of `rate` as `client.devices.Loudspeaker` does, a tick at a time."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._waiting: deque[Samples] = deque()  # at 16 kHz
        self._sounded = 0  # of them
        self._resampler = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
        self.paused = False

    @property
    def played(self) -> int:
        """How many samples have sounded, at the loudspeaker's rate."""
        return round(self._sounded * self._rate / RATE)

    @property
    def end(self) -> int:
        """What `played` will be when everything has sounded."""
        left = sum(samples.size for samples in self._waiting)
        return round((self._sounded + left) * self._rate / RATE)

    def play(self, chunk: PcmChunk) -> None:
        """Play a chunk after those before it."""
        self._waiting.append(self._resampler.resample_chunk(chunk.samples))

    def pause(self) -> None:
        """Be silent, and keep what was not played."""
        self.paused = True

    def resume(self) -> None:
        """Go on where it was paused."""
        self.paused = False

    def stop(self) -> None:
        """Drop what was not played."""
        self._waiting.clear()
        self._resampler.clear()
        self.paused = False

    async def drain(self) -> None:
        """Nothing to wait for: time is the room's."""

    def tick(self) -> Samples:
        """What sounds in the next 10 ms, `[TICK]` at 16 kHz."""
        out = np.zeros(TICK, np.float32)
        done = 0
        while done < TICK and self._waiting and not self.paused:
            samples = self._waiting.popleft()
            take = min(TICK - done, samples.size)
            out[done : done + take] = samples[:take]
            if take < samples.size:
                self._waiting.appendleft(samples[take:])
            done += take
        self._sounded += done
        return out


@dataclass(frozen=True)
class Acoustics:
    """How a room sounds: the echo of the loudspeaker (None: there is none), and how far below the
    speaker's mean power the babble lies (None: there is none)."""

    echo_db: float | None = -12.0
    delay_s: float = 0.12
    babble_db: float | None = 10.0


class Room:
    """Ticks at the pace of the clock: `hear` is given what the microphone hears, `[TICK]` float32.

    `babble` has power 1 and is repeated. `cancel`, for 16 kHz, takes the echo out of what the
    microphone hears.
    """

    def __init__(
        self,
        acoustics: Acoustics,
        clock: Clock,
        speaker: SimulatedLoudspeaker,
        babble: Samples,
        cancel: EchoCanceller | None = None,
    ) -> None:
        self.speaker = speaker
        self._acoustics = acoustics
        self._clock = clock
        self._cancel = cancel
        self._path = _path(acoustics)
        self._played = np.zeros(self._path.size + TICK, np.float32)
        self._babble = babble
        self._babble_level = 0.0
        self._saying: Samples = np.zeros(0, np.float32)
        self._spoke = asyncio.Event()
        self._began_s = 0.0
        self.ticks = 0

    def level(self, speech: Samples) -> None:
        """Let the babble be so far below this speech."""
        if self._acoustics.babble_db is not None:
            power = float((speech**2).mean()) / 10 ** (self._acoustics.babble_db / 10)
            self._babble_level = float(np.sqrt(power))

    async def say(self, speech: Samples) -> float:
        """Somebody says this, from the next tick on. Returns when he has, with the clock's time at
        his first sample."""
        self._saying = speech
        self._spoke.clear()
        begin_s = self._began_s + self.ticks * TICK / RATE
        await self._spoke.wait()
        return begin_s

    async def run(self, hear: Callable[[Samples], None]) -> None:
        """Tick until this is cancelled."""
        self._began_s = self._clock.now()
        while True:
            await self._clock.sleep_until(self._began_s + (self.ticks + 1) * TICK / RATE)
            hear(self.tick())

    def tick(self) -> Samples:
        """What the microphone hears in the next 10 ms."""
        self.ticks += 1
        far = self.speaker.tick()
        self._played = np.concatenate([self._played[TICK:], far])
        heard = self._echo() + self._next_babble() + self._next_speech()
        near = np.asarray(np.clip(heard, -1, 1), np.float32)
        if self._cancel is None:
            return near
        end = self.ticks * TICK
        self._cancel.played(far, self._began_s + (end - TICK) / RATE)
        arrived_s = self._began_s + end / RATE
        return self._cancel.clean(AudioFrame(near, RATE, end - TICK, arrived_s)).samples

    def _echo(self) -> Samples:
        if self._acoustics.echo_db is None:
            return np.zeros(TICK, np.float32)
        return np.convolve(self._played, self._path, "valid")[-TICK:].astype(np.float32)

    def _next_babble(self) -> Samples:
        at = self.ticks * TICK % (self._babble.size - TICK)
        return self._babble_level * self._babble[at : at + TICK]

    def _next_speech(self) -> Samples:
        piece, self._saying = self._saying[:TICK], self._saying[TICK:]
        if not self._saying.size:
            self._spoke.set()
        return np.pad(piece, (0, TICK - piece.size))


def _path(acoustics: Acoustics) -> Samples:
    """The impulse response from the loudspeaker to the microphone: one echo and a decaying tail."""
    first = round(acoustics.delay_s * RATE)
    tail = round(_TAIL_S * RATE)
    random = np.random.default_rng(3)
    path = np.zeros(first + tail, np.float32)
    decay = np.exp(-5 * np.arange(tail) / tail)
    rest = random.standard_normal(tail) * decay
    path[first:] = rest / np.sqrt((rest**2).sum()) * 10 ** (_TAIL_DB / 20)
    path[first] = 1.0
    path /= np.sqrt((path**2).sum())
    return np.asarray(path * 10 ** ((acoustics.echo_db or 0.0) / 20), np.float32)


def cough(random: np.random.Generator) -> Samples:
    """A cough at 16 kHz: one to three bursts of noise around 1 kHz, each of which begins at once
    and fades; power 1 while it sounds."""
    parts = []
    for _ in range(int(random.integers(1, 4))):
        size = int(RATE * random.uniform(0.12, 0.25))
        spectrum = np.fft.rfft(random.standard_normal(size))
        hertz = np.fft.rfftfreq(size, 1 / RATE)
        middle = random.uniform(700, 1500)
        spectrum *= np.exp(-(np.log2(np.maximum(hertz, 1) / middle) ** 2))
        burst = np.fft.irfft(spectrum, size) * np.exp(-np.arange(size) / (0.3 * size))
        parts += [
            burst / np.sqrt((burst**2).mean()),
            np.zeros(int(RATE * random.uniform(0.05, 0.15))),
        ]
    return np.concatenate(parts[:-1]).astype(np.float32)
