"""What the benches of hearing listen to: spoken sentences of three lengths, and sounds that hold no
words.

Everything is made here and now from a seed; nothing is a recording.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr
from voxturn.bench.espeak import Espeak
from voxturn.runtime.audio.level import AUDIBLE_DBFS, first_audible, last_audible
from voxturn.runtime.families.pipe import spoken
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import Samples, Sentence
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Profile

Float = npt.NDArray[np.float64]


def _lines(name: str) -> tuple[str, ...]:
    return tuple((Path(__file__).parent / name).read_text(encoding="utf-8").splitlines())


PHRASES, SENTENCES = _lines("phrases.txt"), _lines("sentences.txt")
ARABIC = (
    "صباح الخير.",
    "كم الساعة الآن؟",
    "أين تقع المحطة؟",
    "من فضلك افتح النافذة.",
    "ما هي عاصمة فرنسا؟",
)
BANDS = {"2s": (0.0, 3.0), "5s": (3.0, 6.0), "8s": (6.0, 10.0)}
"""Seconds of speech, by the name that metrics give them."""

NOISES_DB = (None, 20.0, 10.0, 5.0)
_AROUND_S = 0.2
_SENTENCES_IN = {"2s": 0, "5s": 1, "8s": 2}


@dataclass(frozen=True)
class Voice:
    """A speaker: `speed` and, for the demo's voice, `pitch` (and speed again, by resampling)."""

    name: str
    speed: float = 1.0
    pitch: float = 1.0

    def __str__(self) -> str:
        return f"{self.name} × {self.speed:g}" + (
            f", pitch × {self.pitch:g}" if self.pitch != 1.0 else ""
        )


JOE = "joe"
VOICES = (
    Voice(JOE),
    Voice("en-us"),
    Voice(JOE, 0.85),
    Voice(JOE, 1.0, 1.12),
    Voice("en-gb-scotland", 0.9),
    Voice(JOE, 1.2),
    Voice(JOE, 1.1, 0.9),
    Voice("en-us+f3"),
)


@dataclass(frozen=True)
class Clip:
    """Something spoken, and how it was made. `band` is its duration's."""

    text: str
    samples: Samples
    voice: Voice
    noise_db: float | None
    band: str

    @property
    def condition(self) -> str:
        return f"{self.voice}, noise {'none' if self.noise_db is None else f'{self.noise_db:g} dB'}"


class Speakers:
    """The demo's voice at every speed that `voices` name, and espeak-ng's. Close it when done."""

    def __init__(self, profile: Profile, voices: Sequence[Voice] = VOICES) -> None:
        speeds = {voice.speed for voice in voices if voice.name == JOE}
        self._parts = {
            speed: LoadedParts(replace(profile, speak=replace(profile.speak, speed=speed)))
            for speed in sorted(speeds)
        }
        self._joe = {speed: parts.voice() for speed, parts in self._parts.items()}
        self._espeak = Espeak()

    async def say(self, text: str, voice: Voice, dbfs: float = AUDIBLE_DBFS) -> Samples:
        """A text at 16 kHz, without what is below a level around it."""
        if voice.name != JOE:
            said = self._espeak.say(text, voice.name, round(165 * voice.speed))
            return audible(said, dbfs)
        joe = self._joe[voice.speed]
        parts = [chunk.samples async for chunk in spoken(joe, _once(Sentence(text, 0)))]
        return audible(
            soxr.resample(np.concatenate(parts), joe.rate * voice.pitch, RATE).astype(np.float32),
            dbfs,
        )

    def close(self) -> None:
        for parts in self._parts.values():
            parts.close()


async def _once(sentence: Sentence) -> AsyncIterator[Sentence]:
    yield sentence


def audible(samples: Samples, dbfs: float = AUDIBLE_DBFS) -> Samples:
    """What lies between the first and the last sample above a level."""
    first, last = first_audible(samples, dbfs), last_audible(samples, dbfs)
    assert first is not None
    assert last is not None
    return samples[first : last + 1]


def texts(band: str) -> Iterator[str]:
    """Texts that likely last as long as the band says: so many sentences, one more or one less in
    turn."""
    count = len(SENTENCES)
    for i in itertools.count():
        sentences = _SENTENCES_IN[band] + i % 2
        several = " ".join(
            SENTENCES[(2 * i + 7 * k + i // count) % count] for k in range(sentences)
        )
        yield several or PHRASES[i // 2 % len(PHRASES)]


async def clips(speakers: Speakers, per_band: int) -> list[Clip]:
    """`per_band` clips of each band, voices and noise levels in rotation, the bands in turn."""
    random = np.random.default_rng(0)
    bands: dict[str, list[Clip]] = {}
    for band, (least, most) in BANDS.items():
        of = bands.setdefault(band, [])
        for number, text in enumerate(texts(band)):
            voice = VOICES[(number + number // len(VOICES)) % len(VOICES)]
            speech = await speakers.say(text, voice)
            if not least < speech.size / RATE <= most:
                continue
            noise_db = NOISES_DB[(len(of) + len(of) // len(NOISES_DB)) % len(NOISES_DB)]
            around = np.zeros(int(_AROUND_S * RATE), np.float32)
            samples = with_noise(np.concatenate([around, speech, around]), noise_db, random)
            of.append(Clip(text, samples, voice, noise_db, band))
            if len(of) == per_band:
                break
    return [clip for same in zip(*bands.values(), strict=True) for clip in same]


def with_noise(samples: Samples, noise_db: float | None, random: np.random.Generator) -> Samples:
    """The samples with pink noise, `noise_db` below their own power."""
    if noise_db is None:
        return samples
    power = float((samples**2).mean()) / 10 ** (noise_db / 10)
    return np.asarray(samples + pink(samples.size, random) * np.sqrt(power), np.float32)


def pink(size: int, random: np.random.Generator) -> Samples:
    """Noise of power 1 that falls by 3 dB an octave."""
    spectrum = np.fft.rfft(random.standard_normal(size))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(spectrum.size), 1)), size)
    return np.asarray(noise / noise.std(), np.float32)


LEVELS_DBFS = (-15.0, -25.0, -35.0, -50.0)
KINDS = ("noise", "hum", "music", "breath", "babble")


@dataclass(frozen=True)
class Sound:
    """Something that holds no words."""

    kind: str
    level_dbfs: float
    samples: Samples


def sounds(spoken: Sequence[Clip], count: int) -> list[Sound]:
    """`count` sounds of 1.5 to 6 s, kinds and levels (of the mean power) in rotation.

    Babble is made of `spoken`.
    """
    random = np.random.default_rng(1)
    noises = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        level = LEVELS_DBFS[number // len(KINDS) % len(LEVELS_DBFS)]
        size = int(RATE * random.uniform(1.5, 6.0))
        sound = babble(size, random, spoken) if kind == "babble" else _MAKERS[kind](size, random)
        samples = sound / np.sqrt((sound**2).mean()) * 10 ** (level / 20)
        noises.append(Sound(kind, level, np.clip(samples, -1, 1).astype(np.float32)))
    return noises


def _noise(size: int, random: np.random.Generator) -> Float:
    """White, pink or brown."""
    spectrum = np.fft.rfft(random.standard_normal(size))
    return np.fft.irfft(
        spectrum / np.maximum(np.arange(spectrum.size), 1) ** random.choice([0.0, 0.5, 1.0]), size
    )


def _hum(size: int, random: np.random.Generator) -> Float:
    """Mains and its harmonics, a little unsteady."""
    t = np.arange(size) / RATE
    base = random.choice([50.0, 60.0, 100.0, 120.0])
    tones = [
        np.sin(2 * np.pi * base * k * t + random.uniform(0, 6.3)) * random.uniform(0.2, 1) / k
        for k in range(1, 9)
    ]
    return np.asarray(
        np.sum(tones, axis=0) * (1 + 0.1 * np.sin(2 * np.pi * random.uniform(0.2, 2) * t))
    )


def _music(size: int, random: np.random.Generator) -> Float:
    """Chords of plucked tones over a beat of short noise."""
    out = np.zeros(size)
    beat = int(RATE * random.uniform(0.2, 0.5))
    for begin in range(0, size, beat):
        t = np.arange(size - begin) / RATE
        for semitone in random.choice([0, 3, 4, 7, 10, 12], 3, replace=False):
            pitch = 220 * 2 ** ((semitone + random.integers(0, 3) * 5) / 12)
            tone = sum(np.sin(2 * np.pi * pitch * k * t) / k**1.5 for k in range(1, 6))
            out[begin:] += tone * np.exp(-t * random.uniform(2, 6))
        out[begin:] += random.standard_normal(t.size) * np.exp(-t * 60)
    return out


def _breath(size: int, random: np.random.Generator) -> Float:
    """Noise around 1 kHz that swells and fades with every breath."""
    spectrum = np.fft.rfft(random.standard_normal(size))
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    spectrum *= np.exp(-(np.log2(np.maximum(hertz, 1) / random.uniform(600, 2000)) ** 2))
    t = np.arange(size) / RATE
    return np.asarray(
        np.fft.irfft(spectrum, size) * np.sin(np.pi * random.uniform(0.3, 0.8) * t) ** 2
    )


def babble(size: int, random: np.random.Generator, spoken: Sequence[Clip]) -> Float:
    """Eight talkers at once, each played backwards."""
    out = np.zeros(size)
    for index in random.integers(0, len(spoken), 8):
        voice = np.tile(spoken[index].samples[::-1], size // spoken[index].samples.size + 2)
        begin = int(random.integers(0, voice.size - size))
        out += voice[begin : begin + size]
    return out


_MAKERS = {"noise": _noise, "hum": _hum, "music": _music, "breath": _breath}
