"""`voxturn bench stt`: how fast, how exactly and how patiently speech is heard.

Whole utterances: ours against faster-whisper's default call, same weights, same clips, in turn; the
peer has all cores, which suits it best, ours what the profile says. Then live turns from the end of
speech to the final transcript, sounds without words, and a long recording.
All speech is synthesised; the notes say by which voices.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxturn.bench import live, recording
from voxturn.bench.corpus import ARABIC, BANDS, VOICES, Clip, Sound, Speakers, Voice, clips, sounds
from voxturn.bench.harness import Result, ears, timed_ms
from voxturn.bench.words import error_rate, runaway
from voxturn.runtime.frames import RATE, frames_from
from voxturn.runtime.messages import Utterance
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.turn.listen import Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

SOUNDS = 100
_GREEDY = 60
_IDLE_S = 0.3


@dataclass
class Scores:
    """What both heard, and how long it took them."""

    heard: dict[str, list[str]] = field(default_factory=lambda: {"short": [], "peer": []})
    ms: dict[str, list[float]] = field(default_factory=lambda: {"short": [], "peer": []})
    greedy: list[float | None] = field(default_factory=list)
    fallbacks: int = 0


async def run(profile_name: str, per_band: int, turns: int, path: Path | None) -> Result:
    """Everything; `per_band` clips of each duration, `turns` live turns of each."""
    from faster_whisper import WhisperModel

    profile = load_profile(profile_name)
    result = Result("stt")
    speakers, parts = Speakers(profile), LoadedParts(profile)
    try:
        listen, stage = ears(parts)
        info = parts.info["transcribe"]
        result.artifact("transcribe", info)
        folder = str(parts.choice("transcribe").folder)
        precision = profile.transcribe.precision
        peer = WhisperModel(
            folder, device="cpu", compute_type=precision, cpu_threads=os.cpu_count() or 0
        )
        made = await clips(speakers, per_band)
        await stage.transcribe(made[0].samples)
        _text(peer.transcribe(made[0].samples)[0])
        scores = Scores()
        for number, clip in enumerate(made):
            await compare(number, clip, stage, peer, scores)
        _report(result, made, scores)
        await without_words(result, sounds(made, SOUNDS), listen, stage)
        await recording.compare(result, made, profile, peer)
        await arabic(result, speakers, profile, peer)
        await live.live(result, speakers, profile, turns)
    finally:
        parts.close()
        speakers.close()
    result.notes["voices"] = (
        f"{', '.join(map(str, VOICES))}; joe is Piper's en_US-joe-medium, the rest espeak-ng's"
    )
    if path:
        result.write(path)
    return result


async def compare(
    number: int, clip: Clip, stage: FilteredRecogniser, peer: WhisperModel, scores: Scores
) -> None:
    """One clip through both, in turn; the first clips also through the peer without its beam.

    Each begins on idle cores: CTranslate2's threads spin for 0.2 s after a call.
    """

    def by_peer(beam: int) -> str:
        return _text(peer.transcribe(clip.samples, language="en", beam_size=beam)[0])

    for who in ("short", "peer") if number % 2 else ("peer", "short"):
        await asyncio.sleep(_IDLE_S)
        begin = time.perf_counter()
        if who == "short":
            transcript = await stage.transcribe(clip.samples)
            text, fallbacks = transcript.text, transcript.fallbacks
        else:
            text, fallbacks = by_peer(5), 0
        scores.ms[who].append(1000 * (time.perf_counter() - begin))
        scores.heard[who].append(text)
        scores.fallbacks += fallbacks
    scores.greedy.append(timed_ms(partial(by_peer, 1)) if number < _GREEDY else None)


def _report(result: Result, made: list[Clip], scores: Scores) -> None:
    references = [clip.text for clip in made]
    for who, heard in scores.heard.items():
        result.value(f"stt.{who}.wer", "ratio", error_rate(references, heard))
        result.value(f"stt.{who}.runaways", "count", sum(map(runaway, references, heard)))
    rates = [result.metrics[f"stt.{who}.wer"]["value"] for who in scores.heard]
    result.value("stt.wer_difference", "ratio", rates[0] - rates[1])
    for band in BANDS:
        rows = [
            (clip.samples.size / RATE, ours, peer, greedy)
            for clip, ours, peer, greedy in zip(
                made, scores.ms["short"], scores.ms["peer"], scores.greedy, strict=True
            )
            if clip.band == band
        ]
        result.samples(f"stt.clips.{band}_s", "s", [seconds for seconds, *_ in rows])
        result.samples(f"stt.decode.{band}_ms", "ms", [ours for _, ours, _, _ in rows])
        result.samples(f"stt.decode.{band}_peer_ms", "ms", [peer for _, _, peer, _ in rows])
        result.samples(
            f"stt.decode.{band}_ratio", "ratio", [peer / ours for _, ours, peer, _ in rows]
        )
        greedy = [beamless / ours for _, ours, _, beamless in rows if beamless is not None]
        result.samples(f"stt.decode.{band}_greedy_ratio", "ratio", greedy)
    for level in dict.fromkeys(clip.noise_db for clip in made):
        for who, heard in scores.heard.items():
            pairs = [
                (c.text, text) for c, text in zip(made, heard, strict=True) if c.noise_db == level
            ]
            name = "clean" if level is None else f"{level:.0f}db"
            result.value(f"stt.{who}.wer.{name}", "ratio", error_rate(*zip(*pairs, strict=True)))
    result.value("stt.fallbacks", "count", scores.fallbacks)
    result.value("stt.clips", "count", len(made))
    result.notes["clips"] = list(_rows(made, scores.heard))


def _rows(made: list[Clip], heard: dict[str, list[str]]) -> Iterator[dict[str, str]]:
    for clip, short, peer in zip(made, heard["short"], heard["peer"], strict=True):
        yield {"text": clip.text, "condition": clip.condition, "short": short, "peer": peer}


async def without_words(
    result: Result, of: list[Sound], listen: Listen, stage: FilteredRecogniser
) -> None:
    """Sounds without words: straight into the speech model, which is harder, and through the voice
    detector first."""
    invented = {"straight": 0, "listened": 0}
    notes = []
    for sound in of:
        straight = (await stage.transcribe(sound.samples)).text
        heard = [
            h.samples
            async for h in listen(frames_from(sound.samples))
            if isinstance(h, Utterance) and h.final
        ]
        listened = " ".join([(await stage.transcribe(samples)).text for samples in heard]).strip()
        invented["straight"] += bool(straight)
        invented["listened"] += bool(listened)
        if straight or listened:
            notes.append(f"{sound.kind} at {sound.level_dbfs:g} dBFS: {straight!r}, {listened!r}")
    result.value("stt.hallucinations", "count", invented["listened"])
    result.value("stt.hallucinations.without_vad", "count", invented["straight"])
    result.value("stt.sounds", "count", len(of))
    result.notes["hallucinations"] = notes


async def arabic(result: Result, speakers: Speakers, profile: Profile, peer: WhisperModel) -> None:
    """A smoke test: a few sentences by espeak-ng's Arabic voice, the language not given."""
    parts = LoadedParts(replace(profile, language="auto"))
    try:
        stage = ears(parts)[1]
        said = [await speakers.say(text, Voice("ar")) for text in ARABIC]
        heard = [await stage.transcribe(samples) for samples in said]
    finally:
        parts.close()
    peers = [_text(peer.transcribe(samples, language="ar")[0]) for samples in said]
    result.value(
        "stt.arabic.detected", "ratio", sum(t.language == "ar" for t in heard) / len(heard)
    )
    result.value("stt.arabic.wer", "ratio", error_rate(ARABIC, [t.text for t in heard]))
    result.value("stt.arabic.peer_wer", "ratio", error_rate(ARABIC, peers))
    result.notes["arabic"] = (
        "a smoke test on espeak-ng's formant voice, which Whisper base hardly understands"
    )


def _text(segments: Iterable[Any]) -> str:
    return " ".join(segment.text.strip() for segment in segments)


def main(profile: str, clips: int, turns: int, path: Path | None) -> Result:
    """Run the benchmark."""
    return asyncio.run(run(profile, clips, turns, path))
