"""`voxturn bench telephony`: what a telephone line costs the recogniser, and which part of it does.

The clips of `bench stt` are heard at 16 kHz and as a call brings them: 8 kHz in G.711's µ-law,
in frames of 20 ms, and back to 16 kHz by the gateway's own decoder. The line's parts are heard alone,
too. All are compared clip by clip.
The line is the codec alone: no band-pass, no packet loss, no second codec. All speech is synthesised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import soxr
from voxturn.bench.corpus import JOE, NOISES_DB, VOICES, Clip, Speakers, clips
from voxturn.bench.harness import Result, ears
from voxturn.bench.words import errors
from voxturn.runtime.frames import RATE
from voxturn.runtime.gateway.realtime.formats import FORMATS, Decoder, Encoder
from voxturn.runtime.messages import Samples
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import load_profile

_LINE = FORMATS["audio/pcmu"]
_FRAME = _LINE.rate // 50
_AFTER_S = 0.1
"""Of silence, which brings out what the decoder's filter holds back."""
_DRAWS = 2000


def over_the_line(samples: Samples) -> Samples:
    """Samples of 16 kHz as a call brings them, also at 16 kHz; some silence follows."""
    encoder, decoder = Encoder(RATE, _LINE), Decoder(_LINE)
    raw = encoder.push(samples) + encoder.flush() + b"\xff" * round(_AFTER_S * _LINE.rate)
    pieces = [decoder.push(raw[at : at + _FRAME]) for at in range(0, len(raw), _FRAME)]
    return np.concatenate(pieces)


def through(rate: int, samples: Samples) -> Samples:
    """Samples of 16 kHz without what a lower rate cannot hold, by soxr's best filter; no codec."""
    low = soxr.resample(samples, RATE, rate, "VHQ")
    return np.asarray(soxr.resample(low, rate, RATE, "VHQ"), np.float32)


def companded(samples: Samples) -> Samples:
    """Samples as µ-law leaves them, at the rate that they have."""
    return _LINE.samples(_LINE.raw(samples))


WIDE, LINE = "16k", "8k"
WAYS: Mapping[str, Callable[[Samples], Samples]] = {
    WIDE: lambda samples: samples,
    LINE: over_the_line,
    "mulaw_alone": companded,
    "below_4khz": partial(through, 8000),
    "below_5khz": partial(through, 10000),
}
"""How a clip is heard, by the name that metrics give it."""


async def run(profile_name: str, per_band: int, path: Path | None) -> Result:
    """Everything; `per_band` clips of each duration."""
    profile = load_profile(profile_name)
    result = Result("telephony")
    speakers, parts = Speakers(profile), LoadedParts(profile)
    try:
        _, stage = ears(parts)
        result.artifact("transcribe", parts.info["transcribe"])
        made = await clips(speakers, per_band)
        heard = {
            name: [(await stage.transcribe(way(clip.samples))).text for clip in made]
            for name, way in WAYS.items()
        }
    finally:
        parts.close()
        speakers.close()
    report(result, made, heard)
    result.notes["voices"] = (
        f"{', '.join(map(str, VOICES))}; joe is Piper's en_US-joe-medium, the rest espeak-ng's"
    )
    if path:
        result.write(path)
    return result


def report(result: Result, made: Sequence[Clip], heard: Mapping[str, Sequence[str]]) -> None:
    """The word errors of what was heard of each clip, by `WAYS`; the differences to 16 kHz are
    paired."""
    counted = {
        name: np.array([errors(clip.text, text) for clip, text in zip(made, texts, strict=True)])
        for name, texts in heard.items()
    }
    result.value("telephony.words", "count", counted[WIDE][:, 1].sum())
    result.value("telephony.clips", "count", len(made))
    worse = counted[LINE][:, 0] - counted[WIDE][:, 0]
    result.value("telephony.clips.worse", "count", (worse > 0).sum())
    result.value("telephony.clips.better", "count", (worse < 0).sum())
    everything = np.ones(len(made), bool)
    joe = np.array([clip.voice.name == JOE for clip in made])
    for name, counts in counted.items():
        for group, rows in (("", everything), (".joe", joe), (".espeak", ~joe)):
            if rows.any():
                wrong, of = counts[rows].sum(axis=0)
                result.value(f"telephony.{name}.wer{group}", "ratio", wrong / of)
                if name != WIDE:
                    _difference(
                        result,
                        f"telephony.{name}.wer_difference{group}",
                        counts[rows],
                        counted[WIDE][rows],
                    )
    for level in NOISES_DB:
        rows = np.array([clip.noise_db == level for clip in made])
        group = ".clean" if level is None else f".{level:.0f}db"
        for name in (WIDE, LINE):
            if rows.any():
                wrong, of = counted[name][rows].sum(axis=0)
                result.value(f"telephony.{name}.wer{group}", "ratio", wrong / of)
    result.notes["interval"] = f"95 %, clips drawn {_DRAWS} times with replacement"
    result.notes["clips"] = [
        {"text": clip.text, "condition": clip.condition}
        | {name: texts[at] for name, texts in heard.items()}
        for at, clip in enumerate(made)
    ]


def _difference(result: Result, name: str, counts: np.ndarray, before: np.ndarray) -> None:
    """How many more word errors there are than `before`: each of shape (clips, 2), errors and words."""
    worse, words = counts[:, 0] - before[:, 0], before[:, 1]
    low, high = interval(worse, words)
    result.value(name, "ratio", worse.sum() / words.sum())
    result.value(f"{name}.low", "ratio", low)
    result.value(f"{name}.high", "ratio", high)


def interval(worse: np.ndarray, words: np.ndarray) -> tuple[float, float]:
    """Between which the difference of the word error rates lies, with 95 %: `worse` are more errors
    of each clip, `words` its words, each of shape (clips,)."""
    random = np.random.default_rng(0)
    drawn = random.integers(0, worse.size, (_DRAWS, worse.size))
    rates = worse[drawn].sum(axis=1) / words[drawn].sum(axis=1)
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)


def main(profile: str, clips: int, path: Path | None) -> Result:
    """Run the benchmark."""
    return asyncio.run(run(profile, clips, path))
