"""`voxturn bench echo`: how much of the loudspeaker is left in the microphone, and what is left of
who speaks over it.

Two espeak-ng voices in a simulated room: one is played, the other one speaks over it. Everything
goes the way that it goes in `voxturn talk`, through `EchoCanceller`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr
from voxturn.bench.corpus import SENTENCES, audible
from voxturn.bench.espeak import Espeak
from voxturn.bench.harness import Result
from voxturn.runtime.audio.echo import EchoCanceller
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import AudioFrame, Samples

PLAYED_RATE = 24_000
SECONDS = 20
PARTS_S = ((0.0, 1.0), (1.0, 2.0), (2.0, 5.0), (5.0, 10.0))
OVER_S = (12.0, 18.0)
"""When somebody speaks over it."""

_CLIPS = 8.0  # an amplitude of an eighth comes out at three quarters of it
_FRAME, _CALLBACK = RATE // 50, PLAYED_RATE // 100


@dataclass(frozen=True)
class Room:
    """A loudspeaker in a microphone: how late and how loud, and for how long the room sounds on.

    `clips`: the loudspeaker distorts. `drift`: how much faster the loudspeaker's clock is.
    """

    delay_ms: float = 120.0
    level_db: float = -12.0
    rt60_ms: float = 250.0
    noise_db: float = -65.0
    clips: bool = False
    drift: float = 0.0

    def echo(self, played: Samples) -> Samples:
        """What the microphone hears of it, both at 16 kHz; as long as what is played."""
        random = np.random.default_rng(0)
        tail = random.standard_normal(int(self.rt60_ms / 1000 * RATE))
        tail *= 10 ** (-3 * np.arange(tail.size) / tail.size) * 0.1
        tail[0] = 1.0
        path = np.concatenate([np.zeros(int(self.delay_ms / 1000 * RATE)), tail])
        sound = np.tanh(_CLIPS * played) / _CLIPS if self.clips else played
        echo = np.fft.irfft(
            np.fft.rfft(sound, 2 * played.size) * np.fft.rfft(path, 2 * played.size)
        )[: played.size]
        echo *= 10 ** (self.level_db / 20) * _rms(played) / _rms(echo)
        noise = random.standard_normal(played.size) * 10 ** (self.noise_db / 20)
        return np.asarray(echo + noise, np.float32)


ROOMS: Mapping[str, Room] = {
    "near": Room(delay_ms=40),
    "usual": Room(),
    "late": Room(delay_ms=280),
    "distorted": Room(clips=True),
    "loud": Room(level_db=0.0),
    "drifting": Room(drift=1e-4),
}


def through(played: Samples, heard: Samples, drift: float = 0.0) -> Samples:
    """What the canceller leaves of `heard`, at 16 kHz, while `played`, at 24 kHz, was played."""
    canceller, cleaned, at = EchoCanceller(PLAYED_RATE), [], 0
    for start in range(0, heard.size - _FRAME + 1, _FRAME):
        end_s = (start + _FRAME) / RATE
        while at / PLAYED_RATE / (1 + drift) < end_s:  # a loudspeaker asks before it plays
            now_s = at / PLAYED_RATE / (1 + drift)
            canceller.played(played[at : at + _CALLBACK], now_s)
            at += _CALLBACK
        frame = AudioFrame(heard[start : start + _FRAME], RATE, start, end_s)
        cleaned.append(canceller.clean(frame).samples)
    return np.concatenate(cleaned)


def run(path: Path | None) -> Result:
    """Every room."""
    result = Result("echo")
    far, near = _speech("en-us", 0), _speech("en-gb-scotland+f3", 7)
    over = np.zeros(far.size, np.float32)
    begin, end = (int(s * RATE) for s in OVER_S)
    over[begin:end] = near[: end - begin]
    for name, room in ROOMS.items():
        rate = PLAYED_RATE * (1 + room.drift)
        played = soxr.resample(far, RATE, rate).astype(np.float32)
        echo = room.echo(far)
        left = through(played, echo, room.drift)
        for first_s, last_s in PARTS_S:
            part = slice(int(first_s * RATE), int(last_s * RATE))
            result.value(
                f"echo.{name}.erle.{first_s:g}_{last_s:g}", "dB", gone_db(echo[part], left[part])
            )
        both = through(played, echo + over, room.drift)
        talk = slice(begin + RATE, end)  # after the first word
        result.value(f"echo.{name}.voice", "dB", -gone_db(over[talk], both[talk]))
        result.value(f"echo.{name}.voice_likeness", "ratio", likeness(over[talk], both[talk]))
    usual = Room().echo(far)
    played = soxr.resample(far, RATE, PLAYED_RATE).astype(np.float32)
    begin_s = time.process_time()
    through(played, usual)
    result.value("echo.cpu_share", "ratio", (time.process_time() - begin_s) / SECONDS)
    result.notes["rooms"] = {name: vars(room) for name, room in ROOMS.items()}
    if path:
        result.write(path)
    return result


def gone_db(before: Samples, after: Samples) -> float:
    """How much quieter it is, in dB."""
    return float(20 * np.log10(_rms(before) / max(_rms(after), 1e-9)))


def likeness(voice: Samples, cleaned: Samples) -> float:
    """Correlation of the levels of 20 ms, 1 where all of the voice is there and nothing else."""
    size = voice.size - voice.size % _FRAME
    levels = [np.sqrt((s[:size].reshape(-1, _FRAME) ** 2).mean(1)) for s in (voice, cleaned)]
    return float(np.corrcoef(*levels)[0, 1])


def _rms(samples: npt.ArrayLike) -> float:
    return float(np.sqrt((np.asarray(samples, np.float64) ** 2).mean()))


def _speech(voice: str, first: int) -> Samples:
    """Twenty seconds of sentences at −26 dB."""
    espeak = Espeak()
    parts: list[Samples] = []
    while sum(part.size for part in parts) < SECONDS * RATE:
        sentence = audible(espeak.say(SENTENCES[(first + len(parts)) % len(SENTENCES)], voice))
        parts += [sentence, np.zeros(RATE // 5, np.float32)]
    speech = np.concatenate(parts)[: SECONDS * RATE]
    return np.asarray(speech / _rms(speech) * 0.05, np.float32)


def main(path: Path | None) -> Result:
    """Run the benchmark."""
    return run(path)
