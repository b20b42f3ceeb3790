"""Live turns, at the pace of real time: end of speech to the final transcript, partials meanwhile."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from voxturn.bench.corpus import BANDS, PHRASES, SENTENCES, VOICES, Speakers
from voxturn.bench.harness import Result
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.frames import RATE, frames_from
from voxturn.runtime.messages import Partial, Samples, Transcript
from voxturn.runtime.profile import Profile

_LEAD = np.zeros(int(0.3 * RATE), np.float32)


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
