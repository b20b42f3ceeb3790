"""`voxturn bench stt`: short-window Whisper against faster-whisper's default call. Same weights, same clips, in turn.

The clips are sentences that the demo voice speaks, at several speeds, noise levels and paddings. Both get the same
samples and the same threads; both decode greedily once (beam 1), which is faster for the peer than its own default.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from voxturn.bench.harness import Result
from voxturn.bench.turn import speak
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import Samples
from voxturn.runtime.profile import load_profile
from voxturn.runtime.registry import Registry
from voxturn.runtime.store import Store

_SPEEDS = (1.0, 0.85, 1.2)
_NOISE_DB = (None, 25.0, 15.0)
_PADDING_S = (0.0, 0.3, 1.0)
SENTENCES = tuple((Path(__file__).parent / "sentences.txt").read_text(encoding="utf-8").splitlines())


@dataclass(frozen=True)
class Clip:
    """A spoken sentence and how it was made."""

    text: str
    samples: Samples
    condition: str


async def clips(assistants: list[Assistant], texts: tuple[str, ...]) -> list[Clip]:
    """Speed, noise and padding run through all their values from one sentence to the next."""
    random = np.random.default_rng(0)
    made = []
    for i, text in enumerate(texts):
        speed, noise, padding = i % 3, (i // 3) % 3, (i // 9) % 3
        voice = await speak(assistants[speed], text)
        pad = np.zeros(int(_PADDING_S[padding] * RATE), np.float32)
        samples = np.concatenate([pad, voice, pad])
        level = _NOISE_DB[noise]
        if level is not None:
            power = float((voice**2).mean()) / 10 ** (level / 10)
            samples = samples + random.standard_normal(samples.size, np.float32) * np.float32(np.sqrt(power))
        made.append(Clip(text, samples, f"speed {_SPEEDS[speed]}, noise {level} dB, padding {_PADDING_S[padding]} s"))
    return made


def words(text: str) -> list[str]:
    """Lower-case words and numbers, without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def errors(reference: str, heard: str) -> tuple[int, int]:
    """Word errors (Levenshtein) and words in the reference."""
    a, b = words(reference), words(heard)
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1], len(a)


def runaway(reference: str, heard: str) -> bool:
    """Whether the decoder went on and on: many more words than were said."""
    return len(words(heard)) > 1.5 * len(words(reference)) + 4


async def run(profile_name: str, count: int, path: Path | None) -> Result:
    """Every clip once through each, in turn; the order changes from clip to clip."""
    from faster_whisper import WhisperModel

    profile = load_profile(profile_name)
    texts = SENTENCES[: count or None]
    result = Result("stt")
    variants = [replace(profile, speak=replace(profile.speak, speed=s)) for s in _SPEEDS]
    assistants = [Assistant.load(variant) for variant in variants]
    made = await clips(assistants, texts)
    for assistant in assistants[1:]:
        await assistant.aclose()
    model, _ = Registry.read().resolve(profile.transcribe.model)
    folder, _ = Store().artifact(model, profile.transcribe.precision)
    peer = WhisperModel(str(folder), device="cpu", compute_type=profile.transcribe.precision, cpu_threads=2)
    async with assistants[0] as assistant:
        await assistant.warm()
        stage, loop = assistant.stages.transcribe, asyncio.get_running_loop()
        heard: dict[str, list[str]] = {"short": [], "peer": []}
        times: dict[str, list[float]] = {"short": [], "peer": []}
        fallbacks = []

        def by_peer(samples: Samples) -> str:
            segments, _ = peer.transcribe(samples, language="en", beam_size=1)
            return " ".join(segment.text.strip() for segment in segments)

        by_peer(made[0].samples)
        for number, clip in enumerate(made):
            for who in ("short", "peer") if number % 2 else ("peer", "short"):
                begin = loop.time()
                if who == "short":
                    transcript = await stage.transcribe(clip.samples)
                    fallbacks.append(transcript.fallbacks)
                    heard[who].append(transcript.text)
                else:
                    heard[who].append(by_peer(clip.samples))
                times[who].append(1000 * (loop.time() - begin))
        result.artifact("transcribe", assistant.setup.info["transcribe"])
    _report(result, made, heard, times, fallbacks)
    if path:
        result.write(path)
    return result


def _report(
    result: Result, made: list[Clip], heard: dict[str, list[str]], times: dict[str, list[float]], fallbacks: list[int]
) -> None:
    for who, texts in heard.items():
        counts = [errors(clip.text, text) for clip, text in zip(made, texts, strict=True)]
        result.value(f"stt.{who}.wer", "ratio", sum(e for e, _ in counts) / sum(n for _, n in counts))
        result.value(f"stt.{who}.runaways", "count", sum(runaway(c.text, t) for c, t in zip(made, texts, strict=True)))
        result.samples(f"stt.{who}.ms", "ms", times[who])
    ratios = [p / s for p, s in zip(times["peer"], times["short"], strict=True)]
    result.samples("stt.short_window.ratio", "ratio", ratios)
    result.value("stt.short_window.wer_difference", "ratio", _value(result, "short") - _value(result, "peer"))
    result.value("stt.short_window.fallbacks", "count", sum(fallbacks))
    result.value("stt.clips", "count", len(made))
    result.samples("stt.clip_seconds", "s", [clip.samples.size / RATE for clip in made])
    result.notes["clips"] = list(_rows(made, heard))


def _value(result: Result, who: str) -> float:
    return float(result.metrics[f"stt.{who}.wer"]["value"])


def _rows(made: list[Clip], heard: dict[str, list[str]]) -> Iterator[dict[str, str]]:
    for clip, short, peer in zip(made, heard["short"], heard["peer"], strict=True):
        yield {"text": clip.text, "condition": clip.condition, "short": short, "peer": peer}


def main(profile: str, count: int, path: Path | None) -> Result:
    """Run the benchmark."""
    return asyncio.run(run(profile, count, path))
