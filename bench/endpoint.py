"""When speech is taken to have ended: live turns, and waiting against interrupting on pauses within
sentences."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from voxturn.bench.corpus import BANDS, PHRASES, SENTENCES, VOICES, Speakers
from voxturn.bench.harness import Result
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.frames import RATE, frames_from
from voxturn.runtime.messages import (
    AudioFrame,
    Partial,
    Samples,
    SpeechResumed,
    Transcript,
    Utterance,
)
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Profile
from voxturn.runtime.turn.end_of_turn import TextCompleteness
from voxturn.runtime.turn.listen import WINDOW, Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser

EAGER = (0.0, 0.25, 0.5, 0.75, 1.0)
PAUSES_S = (0.2, 0.35, 0.5, 0.75, 1.0)
HALVES = tuple(
    line.split(" | ")
    for line in (Path(__file__).parent / "pauses.txt").read_text(encoding="utf-8").splitlines()
)
_LEAD, _TRAIL = np.zeros(int(0.3 * RATE), np.float32), np.zeros(3 * RATE, np.float32)


@dataclass(frozen=True)
class Ending:
    """What became of one sentence with a pause in it: it was cut off before its end, or ended so
    many ms after it."""

    cut_off: bool
    wait_ms: float


async def curve(
    result: Result, speakers: Speakers, profile: Profile, stage: FilteredRecogniser
) -> None:
    """For every eagerness: how often a pause within a sentence is taken for its end, and how long
    the real end takes.

    `fixed` is the default wait whatever the words are. Time is that of the audio, not of this
    machine's clock; a transcript is known as long after the suspicion as it took.
    """
    spoken = [await _paused(speakers, number) for number in range(len(HALVES) * len(PAUSES_S))]
    options = profile.endpointing
    settings = {f"eager_{round(100 * eager)}": replace(options, eager=eager) for eager in EAGER}
    settings["fixed"] = replace(options, finished_ms=options.end_ms, unfinished_ms=options.end_ms)
    for setting, endpointing in settings.items():
        parts = LoadedParts(replace(profile, endpointing=endpointing))
        try:
            listen = Listen(parts.activity(), parts.profile.endpointing)
            endings = [await _ending(listen, stage, samples) for samples in spoken]
        finally:
            parts.close()
        name = f"stt.endpoint.{setting}"
        result.value(f"{name}.false_ends", "ratio", sum(e.cut_off for e in endings) / len(endings))
        result.samples(f"{name}.wait_ms", "ms", [e.wait_ms for e in endings if not e.cut_off])
    result.notes["pauses"] = (
        f"{len(spoken)} sentences, one pause each of {', '.join(map(str, PAUSES_S))} s"
    )


async def _paused(speakers: Speakers, number: int) -> Samples:
    """A sentence with a pause in it, and silence after it."""
    before, after = HALVES[number % len(HALVES)]
    voice = VOICES[number % len(VOICES)]
    pause = np.zeros(int(PAUSES_S[number // len(HALVES)] * RATE), np.float32)
    first, second = await speakers.say(before, voice), await speakers.say(after, voice)
    samples = np.concatenate([_LEAD, first, pause, second])
    return np.concatenate([samples, _TRAIL])


async def _ending(listen: Listen, stage: FilteredRecogniser, samples: Samples) -> Ending:
    wording, pace = TextCompleteness(), _Pace(samples)
    stream = listen(pace.frames(), pace.finished)
    try:
        async for heard in stream:
            if isinstance(heard, SpeechResumed):
                pace.known = None
            elif isinstance(heard, Utterance) and heard.final:
                break
            elif isinstance(heard, Utterance):
                begin = time.perf_counter()
                transcript = await stage.transcribe(heard.samples)
                known_at = pace.now_s + time.perf_counter() - begin
                pace.known = known_at, wording.chance(transcript, heard.samples)
    finally:
        await stream.aclose()
    spoken_s = (samples.size - _TRAIL.size) / RATE
    return Ending(pace.now_s < spoken_s, 1000 * (pace.now_s - spoken_s))


class _Pace:
    """Audio as a microphone gives it, in its own time.

    `known`: since when what is known of the words.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self.now_s = 0.0
        self.known: tuple[float, float] | None = None

    async def frames(self) -> AsyncIterator[AudioFrame]:
        for start in range(0, self._samples.size, WINDOW):
            self.now_s = (start + WINDOW) / RATE
            yield AudioFrame(self._samples[start : start + WINDOW], RATE, start, self.now_s)

    def finished(self) -> float | None:
        return self.known[1] if self.known is not None and self.now_s >= self.known[0] else None


async def live(result: Result, speakers: Speakers, profile: Profile, turns: int) -> None:
    """Turns at the pace of real time, `turns` of each duration: end of speech to the final
    transcript, partials meanwhile."""
    ended: list[_Final] = []
    async with Assistant.load(profile) as assistant:
        await assistant.warm()
        for band in BANDS:
            for sentence in await _sentences(speakers, band, turns):
                ended.append(await _final(assistant, sentence, band))
    for band in BANDS:
        whole = [e for e in ended if e.band == band and not e.cut_off]
        result.samples(f"stt.final_ms.{band}", "ms", [e.final_ms for e in whole])
        result.samples(f"stt.wait_ms.{band}", "ms", [e.wait_ms for e in whole])
    result.value("stt.final.cut_off", "count", sum(e.cut_off for e in ended))
    result.samples(
        "stt.partials.first_ms",
        "ms",
        [e.first_partial_ms for e in ended if e.first_partial_ms is not None],
    )
    result.samples("stt.partials.busy_share", "ratio", [e.busy_share for e in ended])
    result.value("stt.partials.taken_back", "count", sum(e.taken_back for e in ended))


@dataclass(frozen=True)
class _Final:
    """A turn's way to its transcript. `cut_off`: it ended before the speech did."""

    band: str
    cut_off: bool
    final_ms: float
    wait_ms: float
    first_partial_ms: float | None
    busy_share: float
    taken_back: int


async def _final(assistant: Assistant, sentence: Samples, band: str) -> _Final:
    clock = assistant.setup.clock
    began, partials, first = clock.now(), [], None
    async with assistant.conversation().turn(
        frames_from(np.concatenate([_LEAD, sentence]), live=True)
    ) as turn:
        async for event in turn:
            if isinstance(event, Partial):
                partials.append(event.stable)
                first = first or clock.now()
            elif isinstance(event, Transcript):
                final = clock.now()
                break
    marks = turn.trace.marks
    seconds, end = sentence.size / RATE, marks["speech_end"]
    begun = marks["suspected"]
    busy = sum(
        min(e, begun) - b for stage, b, e in turn.trace.spans if stage == "transcribe" and b < begun
    )
    return _Final(
        band,
        end - began < 0.9 * (seconds + _LEAD.size / RATE),
        1000 * (final - end),
        1000 * (marks["endpoint"] - end),
        1000 * (first - began - _LEAD.size / RATE) if first is not None else None,
        busy / seconds,
        sum(not b.startswith(a) for a, b in itertools.pairwise(partials)),
    )


async def _sentences(speakers: Speakers, band: str, count: int) -> list[Samples]:
    """Sentences of a band's duration without a pause for breath, clean, voices in rotation."""
    least, most = BANDS[band]
    sentences: list[Samples] = []
    for number in itertools.count():
        speech = await speakers.say(_sentence(band, number), VOICES[number % len(VOICES)])
        if least < speech.size / RATE <= most:
            sentences.append(speech)
        if len(sentences) == count:
            return sentences
    raise AssertionError("the texts never end")


def _sentence(band: str, number: int) -> str:
    """A phrase, or statements joined by "and" into one sentence."""
    if band == "2s":
        return PHRASES[number % len(PHRASES)]
    statements = [line.rstrip(".") for line in SENTENCES if line.endswith(".")]
    parts = [
        statements[(number + 11 * k) % len(statements)] for k in range(2 if band == "5s" else 3)
    ]
    return (
        " and ".join(
            [parts[0], *(p if p.startswith("I ") else p[0].lower() + p[1:] for p in parts[1:])]
        )
        + "."
    )
