"""`voxturn bench stt --hard`: whether anything that the model heard is lost, on what is hard to
tell from its mistakes.

Read speech in noise, everyday paragraphs in many languages, speech that repeats itself, sounds
without words, silence. Each clip is decoded once as the model does it alone (the first hypothesis),
then heard as a turn hears it. What was heard with a mean log-probability over −0.5 must not be
lost, nothing may be said twice that was said once, and sounds without words must give none. All
speech is synthesised: espeak-ng's voices come with piper-tts.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
import tomllib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from voxturn.bench.corpus import (
    PHRASES,
    SENTENCES,
    VOICES,
    Speakers,
    Voice,
    clips,
    sounds,
    with_noise,
)
from voxturn.bench.harness import Result
from voxturn.bench.words import error_rate, words
from voxturn.runtime.families.whisper.hearing import WhisperRecogniser, as_whisper, log_mel
from voxturn.runtime.families.whisper.loops import repetitions
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import Samples
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import load_profile

SURE = -0.5
_SOUNDS, _SILENCES, _REPEATED = 100, 10, 60
_ROOM = 400  # tokens of a first hypothesis, at most
_PAUSES_S = (0.1, 0.3, 0.6)
_LONGEST_S = 27.0
_CHANT = re.compile(r"(\S{1,8}?)\1{5,}")
"""A word that says a part of itself six times or more."""
_COUNTED = ("one", "two", "three", "four")


@dataclass(frozen=True)
class Case:
    """A clip: what is said in it (empty: nothing) in which language."""

    group: str
    language: str
    text: str
    samples: Samples


@dataclass(frozen=True)
class Heard:
    """What became of a case: the first hypothesis with its score, and the transcript."""

    case: Case
    first: str
    score: float
    text: str
    fallbacks: int
    ms: float

    @property
    def lost(self) -> int:
        """Words of a first hypothesis that is sure of itself, and no loop, which the transcript has
        not."""
        if self.score <= SURE or not self.case.text or loops(self.case.text, self.first):
            return 0
        return deletions(self.first, self.text)

    @property
    def looped(self) -> bool:
        return bool(self.case.text) and loops(self.case.text, self.text)

    @property
    def invented(self) -> bool:
        return bool(self.text) and not self.case.text

    def row(self) -> dict[str, Any]:
        """For the result file: what can be read again, without what is as it should be."""
        row: dict[str, Any] = {
            "group": self.case.group,
            "language": self.case.language,
            "said": self.case.text,
            "heard": self.text,
            "score": round(self.score, 3),
            "lost": self.lost,
            "looped": self.looped,
        }
        return row if self.first == self.text else row | {"first": self.first}


def deletions(first: str, text: str) -> int:
    """How many words of `first` the text lacks, beyond those that it has others for."""
    before, after = (" ".join(words(each)) for each in (first, text))
    if not before:
        return 0
    if not after:
        return len(before.split())
    return int(jiwer.process_words(before, after).deletions)


def loops(reference: str, text: str) -> bool:
    """Whether a text says something again at once that the reference does not say so often, between
    words or within one."""
    spoken, heard = words(reference), words(text)
    said = f" {' '.join(spoken)} "
    more_words, more_letters = (
        len(heard) - len(spoken),
        len("".join(heard)) - len("".join(spoken)),
    )
    for run in repetitions(heard):
        times = [heard[begin:end] for begin, end in run.times() if end - begin == run.period]
        if len(times) < 2 or times[0] != times[1]:
            continue  # only the end was said before
        # a loop makes a text longer; one word misheard as two has more words alone
        longer = more_letters > 0 and (
            more_words >= run.period or more_letters >= len("".join(times[0]))
        )
        if longer and f" {' '.join(itertools.chain(*times))} " not in said:
            return True
    return any(chant[0] not in said for chant in _CHANT.finditer(" ".join(heard)))


async def run(profile_name: str, path: Path | None) -> Result:
    """Everything, in the profile's precision and executor."""
    profile = load_profile(profile_name)
    result = Result("stt-hard")
    speakers, parts = Speakers(profile), LoadedParts(profile)
    try:
        recogniser = as_whisper(parts.recogniser())
        known = recogniser.whisper.tokenizer
        cases = [
            case
            async for case in _cases(speakers)
            if known.id_of(f"<|{case.language}|>") is not None
        ]
        result.artifact("transcribe", parts.info["transcribe"])
        await recogniser.warm()
        heard = [await _hear(case, _of_language(recogniser, case.language)) for case in cases]
    finally:
        parts.close()
        speakers.close()
    report(result, heard)
    if path:
        result.write(path)
    return result


def report(result: Result, heard: Sequence[Heard]) -> None:
    """Counts over all, and for each group; every clip as a row of the notes."""
    for group in dict.fromkeys(each.case.group for each in heard):
        of = [each for each in heard if each.case.group == group]
        name = f"stt.hard.{group}"
        result.value(f"{name}.clips", "count", len(of))
        result.value(f"{name}.lost_words", "count", sum(each.lost for each in of))
        result.value(f"{name}.loops", "count", sum(each.looped for each in of))
        result.value(f"{name}.invented", "count", sum(each.invented for each in of))
        result.value(f"{name}.fallbacks", "count", sum(each.fallbacks for each in of))
        result.value(f"{name}.sure", "count", sum(each.score > SURE for each in of))
        result.samples(f"{name}.ms", "ms", [each.ms for each in of])
        english = [each for each in of if each.case.language == "en" and each.case.text]
        if english:
            rate = error_rate([e.case.text for e in english], [e.text for e in english])
            result.value(f"{name}.english_wer", "ratio", rate)
    result.value("stt.hard.clips", "count", len(heard))
    for what in ("lost", "looped", "invented"):
        total = sum(int(getattr(each, what)) for each in heard)
        result.value(f"stt.hard.{what}", "count", total)
    result.notes["clips"] = [each.row() for each in heard]


async def _hear(case: Case, recogniser: WhisperRecogniser) -> Heard:
    whisper, lane = recogniser.whisper, recogniser.lane

    def first() -> tuple[str, float]:
        result = whisper.generate(whisper.encode(case.samples), case.language, _ROOM)
        return whisper.tokenizer.decode(result.ids).strip(), result.score

    text, score = await lane.run(first)
    begin = time.perf_counter()
    transcript = await recogniser.hear().final(case.samples)
    ms = 1000 * (time.perf_counter() - begin)
    return Heard(case, text, score, transcript.text, transcript.fallbacks, ms)


def _of_language(recogniser: WhisperRecogniser, language: str) -> WhisperRecogniser:
    """The same engine for another language."""
    whisper = recogniser.whisper
    if whisper.language == language:
        return recogniser
    features = log_mel(whisper.executor.mels)
    return WhisperRecogniser(
        whisper.executor, whisper.tokenizer, features, recogniser.lane, language
    )


async def _cases(speakers: Speakers) -> AsyncIterator[Case]:
    """All of them, made here and now from a seed."""
    made = await clips(speakers, 70)
    for clip in made:
        yield Case("read", "en", clip.text, clip.samples)
    for language, text, voice in paragraphs():
        spoken = await speakers.say(text, Voice(voice))
        yield Case("paragraph", language, text, _around(spoken[: int(_LONGEST_S * RATE)]))
    for case in [_repeated(speakers, number) for number in range(_REPEATED)]:
        yield await case
    for sound in sounds(made, _SOUNDS):
        yield Case("sound", "en", "", sound.samples)
    for number in range(_SILENCES):
        yield Case("silence", "en", "", np.zeros(int(RATE * (0.5 + number)), np.float32))


def paragraphs() -> Iterator[tuple[str, str, str]]:
    """Whisper's code of the language, the text, and espeak-ng's voice, of every paragraph that it
    can speak."""
    file = Path(__file__).parent / "paragraphs.toml"
    for language, row in tomllib.loads(file.read_text(encoding="utf-8")).items():
        if "voice" in row:
            yield language, row["text"], row["voice"]


async def _repeated(speakers: Speakers, number: int) -> Case:
    """A phrase said two to four times, or as many sentences that differ in one word, with pauses,
    now and then in noise."""
    random = np.random.default_rng([7, number])
    voice, times = VOICES[number % len(VOICES)], 2 + number % 3
    source = PHRASES if number % 2 else SENTENCES
    text = source[number * 5 % len(source)]
    texts = [text] * times
    if number % 5 == 4:
        texts = [f"Sentence number {_COUNTED[n]} is about the harbour." for n in range(times)]
    parts: list[Samples] = []
    said: list[str] = []
    for each in texts:
        spoken = await speakers.say(each, voice)
        pause = np.zeros(int(RATE * _PAUSES_S[int(random.integers(len(_PAUSES_S)))]), np.float32)
        if sum(part.size for part in parts) + spoken.size > _LONGEST_S * RATE:
            break
        parts += [spoken, pause]
        said.append(each)
    samples = _around(np.concatenate(parts[:-1]))
    noise_db = (None, None, 20.0, 10.0)[number // 3 % 4]
    return Case("repeated", "en", " ".join(said), with_noise(samples, noise_db, random))


def _around(samples: Samples) -> Samples:
    """With a little silence before and after it."""
    silence = np.zeros(RATE // 5, np.float32)
    return np.concatenate([silence, samples, silence])


def main(profile: str, path: Path | None) -> Result:
    """Run the benchmark."""
    return asyncio.run(run(profile, path))
