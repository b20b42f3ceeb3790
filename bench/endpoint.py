"""`voxturn bench endpoint`: when speech is taken to have ended, by silence, words, sound or both.

For each, and for every eagerness: how often a pause within a sentence is taken for its end, and how
long the true end takes. Everything is heard once; what each would have decided is then reckoned in
the time of the audio. A judge is taken to be as late as its call kept a core busy, so that other
work on the machine changes little. The voices are synthetic: what sound is worth on them is not
what it is worth on people.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from voxturn.bench.corpus import JOE, Speakers
from voxturn.bench.harness import Result, ears
from voxturn.bench.turn_ends import SPEAKERS, Ending, endings
from voxturn.runtime.families.base import SoundOfEnd
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import Samples, SpeechResumed, Utterance
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import load_profile
from voxturn.runtime.turn.end_of_turn import TextCompleteness, judged
from voxturn.runtime.turn.listen import WINDOW, Endpointer, Endpointing
from voxturn.runtime.turn.recognise import FilteredRecogniser

KINDS = ("silence", "words", "sound", "both")
EAGER = tuple(i / 8 for i in range(9))
DEFAULT = Endpointing().eager
_NEVER_MS = 60_000
_WINDOW_S = WINDOW / RATE
_NO_SAMPLES = np.zeros(0, np.float32)
_EARLY_S = 0.15
"""How long before its last sample a whole sentence may be taken to have ended."""


@dataclass(frozen=True)
class Suspected:
    """What the judges say of a suspected end, and how many seconds later."""

    window: int
    text: str
    words: float
    words_s: float
    sound: float
    sound_s: float


@dataclass(frozen=True)
class Heard:
    """Speech as the end-pointer is given it: each window's probability of speech, and what there is
    to know at every silence."""

    ending: Ending
    probabilities: tuple[float, ...]
    suspected: tuple[Suspected, ...]

    @property
    def at_pause(self) -> list[Suspected]:
        """Of the pause, where nothing is over."""
        return [s for s in self.suspected if s.window * _WINDOW_S < self.ending.resumes_s]

    @property
    def at_end(self) -> list[Suspected]:
        """Of the true end."""
        return [s for s in self.suspected if s.window * _WINDOW_S > self.ending.ends_s]


async def run(
    profile_name: str,
    rounds: int,
    path: Path | None,
    words_ms: float | None = None,
    sound_ms: float | None = None,
) -> Result:
    """Everything; each text `rounds` times in each way. `words_ms`, `sound_ms`: as how late the
    judges are taken; None: as they were."""
    profile = load_profile(profile_name)
    profile = replace(profile, end_of_turn=replace(profile.end_of_turn, kind="both"))
    result = Result("endpoint")
    result.notes["late_ms"] = {"words": words_ms, "sound": sound_ms}  # None: as measured
    parts = LoadedParts(profile)
    try:
        for part, voices in SPEAKERS.items():
            speakers = Speakers(profile, voices)
            try:
                heard = await _heard_all(parts, speakers, part, rounds)
            finally:
                speakers.close()
            report(result, part, heard, profile.endpointing, words_ms, sound_ms)
            result.notes[part] = f"{len(heard)} sentences; {', '.join(map(str, voices))}"
        for stage in ("listen", "transcribe", "end_of_turn"):
            result.artifact(stage, parts.info[stage])
    finally:
        parts.close()
    if path:
        result.write(path)
        plot(result, path.with_suffix(".png"))
    return result


async def _heard_all(parts: LoadedParts, speakers: Speakers, part: str, rounds: int) -> list[Heard]:
    activity, (_, stage), sound = parts.activity(), ears(parts), parts.sound_of_end()
    assert sound is not None  # the profile names it
    await sound.warm()
    options = replace(parts.profile.endpointing, unfinished_ms=_NEVER_MS)
    heard = []
    async for ending in endings(part, speakers, stage, rounds):
        windows = await activity.stream().push(ending.samples)
        endpointer, suspected = Endpointer(options), []
        for number, (window, probability) in enumerate(windows):
            for each in endpointer.push(window, probability, 0.0):
                if isinstance(each, Utterance):
                    suspected.append(await _judged(number, each.samples, stage, sound))
        probabilities = tuple(probability for _, probability in windows)
        kept = replace(ending, samples=_NO_SAMPLES)
        heard.append(Heard(kept, probabilities, tuple(suspected)))
    return heard


async def _judged(
    number: int, samples: Samples, stage: FilteredRecogniser, sound: SoundOfEnd
) -> Suspected:
    begin = time.process_time()
    transcript = await stage.transcribe(samples)
    words = TextCompleteness().chance(transcript, samples)
    between = time.process_time()
    by_sound = await sound(samples)
    end = time.process_time()
    return Suspected(number, transcript.text, words, between - begin, by_sound, end - between)


def report(
    result: Result,
    part: str,
    heard: list[Heard],
    options: Endpointing,
    words_ms: float | None = None,
    sound_ms: float | None = None,
) -> None:
    """The curves and the defaults of one part."""
    every = [s for each in heard for s in each.suspected]
    result.samples(f"endpoint.{part}.words_known_ms", "ms", [1000 * s.words_s for s in every])
    result.samples(f"endpoint.{part}.sound_known_ms", "ms", [1000 * s.sound_s for s in every])
    heard = [_as_late(each, words_ms, sound_ms) for each in heard]
    silence: list[tuple[float, float]] = []
    for kind in KINDS:
        for eager in EAGER:
            chosen = _options(replace(options, eager=eager), kind)
            ends = [(each.ending, certain_s(each, chosen, kind)) for each in heard]
            cut = [at < ending.ends_s - _EARLY_S for ending, at in ends]
            waits = _waits_ms(ends, lambda _: True)
            false_ends = float(np.mean(cut))
            name = f"endpoint.{part}.{kind}.eager_{1000 * eager:04.0f}"
            result.value(f"{name}.false_ends", "ratio", false_ends)
            result.value(f"{name}.wait_ms", "ms", _median(waits))
            if kind == "silence":
                silence.append((_median(waits), false_ends))
            if eager == DEFAULT:
                _report_default(result, f"endpoint.{part}.{kind}", ends, waits)
                alone = _beside(silence, _median(waits))
                result.value(f"endpoint.{part}.{kind}.of_silence", "ratio", false_ends / alone)
    for who, neural in _WHO.items():
        same = [each for each in heard if (each.ending.voice.name == JOE) is neural]
        for judge, says in _JUDGES.items():
            value = _told_apart(same, says)
            result.value(f"endpoint.{part}.told_apart.{judge}.{who}", "ratio", value)


def _as_late(heard: Heard, words_ms: float | None, sound_ms: float | None) -> Heard:
    """The same, the judges as late as is given."""
    late = [
        replace(
            each,
            words_s=each.words_s if words_ms is None else words_ms / 1000,
            sound_s=each.sound_s if sound_ms is None else sound_ms / 1000,
        )
        for each in heard.suspected
    ]
    return replace(heard, suspected=tuple(late))


def _options(options: Endpointing, kind: str) -> Endpointing:
    """Of plain silence, a wait that is swept over the same range as the others' median."""
    if kind != "silence":
        return options
    return replace(options, end_ms=_SILENCE_MS, finished_ms=_SILENCE_MS, unfinished_ms=_SILENCE_MS)


_SILENCE_MS = 480
_WHO = {"joe": True, "espeak": False}
"""By name: whether the voice is the neural one, or one of espeak-ng's formants."""

_JUDGES: dict[str, Callable[[Suspected], float]] = {
    "words": lambda each: each.words,
    "sound": lambda each: each.sound,
}


def _report_default(
    result: Result, name: str, ends: list[tuple[Ending, float]], waits: list[float]
) -> None:
    """More of the profile's own eagerness."""
    result.samples(f"{name}.wait_ms", "ms", waits)
    questions = _waits_ms(ends, lambda ending: ending.question)
    result.samples(f"{name}.question_wait_ms", "ms", questions)
    for who, neural in _WHO.items():
        same = [each for each in ends if (each[0].voice.name == JOE) is neural]
        cut = [at < ending.ends_s - _EARLY_S for ending, at in same]
        result.value(f"{name}.false_ends.{who}", "ratio", float(np.mean(cut)))
        result.value(f"{name}.wait_ms.{who}", "ms", _median(_waits_ms(same, lambda _: True)))
    for group in dict.fromkeys(ending.group for ending, _ in ends):
        cut = [at < ending.ends_s - _EARLY_S for ending, at in ends if ending.group == group]
        result.value(f"{name}.false_ends.{group}", "ratio", float(np.mean(cut)))


def _waits_ms(ends: list[tuple[Ending, float]], of: Callable[[Ending], bool]) -> list[float]:
    """How long after its last sample each sentence that was not cut off was taken to have ended."""
    return [1000 * (at - e.ends_s) for e, at in ends if of(e) and at >= e.ends_s - _EARLY_S]


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else float("nan")


def certain_s(heard: Heard, options: Endpointing, kind: str) -> float:
    """When the end is taken to be certain, in seconds of the audio."""
    by_words, by_sound = kind in ("words", "both"), kind in ("sound", "both")
    by_window = {each.window: each for each in heard.suspected}
    endpointer = Endpointer(options)
    now: Suspected | None = None
    for number, probability in enumerate(heard.probabilities):
        finished = None
        if now is not None:
            since_s = (number - now.window) * _WINDOW_S
            words = now.words if since_s >= now.words_s else None
            sound = now.sound if since_s >= now.sound_s else None
            finished = judged(by_words, words, by_sound, sound)
        for each in endpointer.push(_NO_SAMPLES, probability, finished):
            if isinstance(each, Utterance) and each.final:
                return (number + 1) * _WINDOW_S
            if isinstance(each, Utterance):
                now = by_window[number]
            elif isinstance(each, SpeechResumed):
                now = None
    return len(heard.probabilities) * _WINDOW_S


def _beside(silence: list[tuple[float, float]], wait_ms: float) -> float:
    """The false ends of plain silence at the same median wait, between what was swept."""
    waits, false_ends = zip(*sorted(each for each in silence if each[0] == each[0]), strict=True)
    return float(np.interp(wait_ms, waits, false_ends))


def _told_apart(heard: list[Heard], says: Callable[[Suspected], float]) -> float:
    """How often a judge finds a true end likelier than a pause: 0.5 is chance (ROC area)."""
    ends = np.array([says(s) for each in heard for s in each.at_end])
    pauses = np.array([says(s) for each in heard for s in each.at_pause])
    above = (ends[:, None] > pauses).mean() + 0.5 * (ends[:, None] == pauses).mean()
    return float(above)


def plot(result: Result, path: Path) -> None:
    """False ends against the median wait; a line for each kind, a point for each eagerness."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    for axes, part in zip(figure.subplots(1, 2, sharey=True), SPEAKERS, strict=True):
        for kind in KINDS:
            names = [f"endpoint.{part}.{kind}.eager_{1000 * eager:04.0f}" for eager in EAGER]
            waits = [result.metrics[f"{name}.wait_ms"]["value"] for name in names]
            cut = [100 * result.metrics[f"{name}.false_ends"]["value"] for name in names]
            (line,) = axes.plot(waits, cut, "o-", markersize=3, label=kind)
            if kind != "silence":  # it has no default
                at = EAGER.index(DEFAULT)
                axes.plot(waits[at], cut[at], "o", color=line.get_color(), markersize=8)
        axes.set(
            title=f"{part.replace('_', ' ')} voices and texts",
            xlabel="end of speech → certain, ms (p50)",
            xlim=(0, 1300),
            ylim=(0, 100),
        )
        axes.grid(alpha=0.3)
    figure.axes[0].set(ylabel="pauses taken for the end, %")
    figure.axes[0].legend()
    figure.savefig(path, dpi=110)


def main(
    profile: str, rounds: int, path: Path | None, words_ms: float | None, sound_ms: float | None
) -> Result:
    """Run the benchmark."""
    return asyncio.run(run(profile, rounds, path, words_ms, sound_ms))
