"""`voxturn bench telephony`: what a telephone line costs the recogniser.

The clips of `bench stt` are heard twice, at 16 kHz and as a call brings them: 8 kHz in G.711's µ-law,
in frames of 20 ms, and back to 16 kHz by the gateway's own decoder. Both are compared clip by clip.
The line is the codec alone: no band-pass, no packet loss, no second codec. All speech is synthesised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from voxturn.bench.corpus import NOISES_DB, VOICES, Clip, Speakers, clips
from voxturn.bench.harness import Result, ears
from voxturn.bench.words import error_rate, errors
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


async def run(profile_name: str, per_band: int, path: Path | None) -> Result:
    """Everything; `per_band` clips of each duration."""
    profile = load_profile(profile_name)
    result = Result("telephony")
    speakers, parts = Speakers(profile), LoadedParts(profile)
    try:
        _, stage = ears(parts)
        result.artifact("transcribe", parts.info["transcribe"])
        made = await clips(speakers, per_band)
        wide, narrow = [], []
        for clip in made:
            wide.append((await stage.transcribe(clip.samples)).text)
            narrow.append((await stage.transcribe(over_the_line(clip.samples))).text)
    finally:
        parts.close()
        speakers.close()
    report(result, made, wide, narrow)
    result.notes["voices"] = (
        f"{', '.join(map(str, VOICES))}; joe is Piper's en_US-joe-medium, the rest espeak-ng's"
    )
    if path:
        result.write(path)
    return result


def report(
    result: Result, made: Sequence[Clip], wide: Sequence[str], narrow: Sequence[str]
) -> None:
    """The word errors of both, paired: what was heard of each clip at 16 kHz, and over the line."""
    references = [clip.text for clip in made]
    result.value("telephony.16k.wer", "ratio", error_rate(references, wide))
    result.value("telephony.8k.wer", "ratio", error_rate(references, narrow))
    before = np.array([errors(*pair) for pair in zip(references, wide, strict=True)])
    after = np.array([errors(*pair) for pair in zip(references, narrow, strict=True)])
    worse = after[:, 0] - before[:, 0]
    low, high = interval(worse, before[:, 1])
    result.value("telephony.wer_difference", "ratio", worse.sum() / before[:, 1].sum())
    result.value("telephony.wer_difference.low", "ratio", low)
    result.value("telephony.wer_difference.high", "ratio", high)
    result.value("telephony.words", "count", before[:, 1].sum())
    result.value("telephony.clips", "count", len(made))
    result.value("telephony.clips.worse", "count", (worse > 0).sum())
    result.value("telephony.clips.better", "count", (worse < 0).sum())
    for level in NOISES_DB:
        rows = [at for at, clip in enumerate(made) if clip.noise_db == level]
        name = "clean" if level is None else f"{level:.0f}db"
        for line, counted in (("16k", before), ("8k", after)):
            if rows:
                wrong, of = counted[rows].sum(axis=0)
                result.value(f"telephony.{line}.wer.{name}", "ratio", wrong / of)
    result.notes["interval"] = f"95 %, clips drawn {_DRAWS} times with replacement"
    result.notes["clips"] = [
        {"text": clip.text, "condition": clip.condition, "16k": one, "8k": other}
        for clip, one, other in zip(made, wide, narrow, strict=True)
    ]


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
