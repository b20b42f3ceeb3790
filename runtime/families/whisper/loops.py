"""Whether words that a hypothesis repeats were said so often, or are a decoder's loop: tokens
without audio. Pure.

Both look the same as text, and a loop is as sure of itself as speech is. They differ in where they
lie in the audio: of what was said twice each time has sound of its own; of a loop one time has it,
and the others are squeezed into a few positions or lie in the silence after the speech.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from voxturn.runtime.messages import Samples

POSITION_S = 0.02
_SAMPLES = 320  # of a position
_TAIL_WORDS = 4  # that many at the end, said anywhere before, may be the beginning of a loop
_CHANTED, _LONGEST_CHANT = (
    6,
    8,
)  # so often no word of any language has the same tokens, but "hahaha" and loops
_LEAST_SHARE = 0.6  # of the sound of the best-heard time: said again it has 0.8 and more, of a loop two share one's
_FAST = 1.2  # seconds that a token has in natural speech, in those of the fastest
_ALIGNED_S = 0.06  # how exactly a time's ends are known
_BELOW_LOUD_DB = 20.0  # softer than that is no sound of speech
_ABOVE_FLOOR_DB = 3.0
_SILENCE_DBFS = -85.0  # what the least bit of 16 makes

Sounds = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Repetition:
    """Words `start` to `stop`, each of which is the one `period` before it, but for the first
    `period`."""

    start: int
    period: int
    stop: int

    def times(self) -> list[tuple[int, int]]:
        """Where each time begins and ends; the last may be a part."""
        begins = range(self.start, self.stop, self.period)
        return [(begin, min(begin + self.period, self.stop)) for begin in begins]


def repetitions(words: Sequence[str]) -> list[Repetition]:
    """What is said again at once and whole, and what the words end in that was said before, those
    of short periods first."""
    plain = [_plain(word) for word in words]
    runs: list[Repetition] = []
    for period in range(1, len(plain) // 2 + 1):
        for begin, end in _equal(plain, period):
            run = Repetition(begin - period, period, end)
            if end - begin >= period and not any(_same(run, other) for other in runs):
                runs.append(run)
    tail = _tail(plain)
    if tail is not None and not any(tail.stop == run.stop for run in runs):
        runs.append(tail)
    return runs


def divided(word: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The tokens of a word; one that says the same tokens again and again is divided where each
    time begins.

    A loop may lie within one word ("kārākārākārā…"), which has no other end.
    """
    for period in range(1, min(_LONGEST_CHANT, len(word) // _CHANTED) + 1):
        for begin, end in _equal(word, period):
            first = begin - period
            if end - first >= _CHANTED * period:
                times = [word[at : min(at + period, end)] for at in range(first, end, period)]
                return [part for part in (word[:first], *times, *divided(word[end:])) if part]
    return [word] if word else []


def sounding(samples: Samples) -> Sounds:
    """For every position of 20 ms whether it sounds: louder than the background, and not far below
    the loudest."""
    count = -(-samples.size // _SAMPLES)
    if not count:
        return np.zeros(0, np.bool_)
    padded = np.zeros(count * _SAMPLES, np.float32)
    padded[: samples.size] = samples
    level = 10 * np.log10((padded.reshape(count, _SAMPLES) ** 2).mean(1) + 1e-12)
    floor, loud = np.percentile(level, [5, 95])
    least = max(loud - _BELOW_LOUD_DB, min(floor + _ABOVE_FLOOR_DB, loud), _SILENCE_DBFS)
    return np.asarray(level >= least)


def without_audio(
    runs: Sequence[Repetition],
    tokens: Sequence[int],
    begins: Sequence[int],
    sounds: Sounds,
    fastest: float,
) -> list[tuple[int, int]]:
    """The words, from and to, that repeat others and were not said.

    `tokens`: how many tokens are before each word, and before the end. `begins`: the position at
    which each token begins, and the end of the last. `fastest`: tokens a second that nobody
    exceeds.
    """
    before = POSITION_S * np.concatenate([[0], np.cumsum(sounds)])

    def sound_s(begin: int, end: int) -> float:
        first, last = (min(begins[tokens[word]], sounds.size) for word in (begin, end))
        return float(before[max(first, last)] - before[first])

    missing: list[tuple[int, int]] = []
    for run in runs:
        times = run.times()
        sizes = [tokens[end] - tokens[begin] for begin, end in times]
        seconds = [sound_s(begin, end) for begin, end in times]
        missing += times[
            _said(seconds, sizes, fastest) :
        ]  # they are all alike: it does not matter which are dropped
    return missing


def _said(seconds: Sequence[float], sizes: Sequence[int], fastest: float) -> int:
    """How many of the times that are so long and have so many tokens were said, at least one."""
    paces = [each / size for each, size in zip(seconds, sizes, strict=True)]
    best = max(paces)
    room = fastest * sum(seconds)  # tokens that can be said in that time
    fast = _FAST / fastest
    least = [min(fast, _LEAST_SHARE * best - _ALIGNED_S / size) for size in sizes]
    if sum(sizes) <= room and all(p >= each for p, each in zip(paces, least, strict=True)):
        return len(sizes)
    often = round(sum(paces) / best) if best > 0 else 1
    return max(1, min(often, int(room / sizes[0])))


def _plain(word: str) -> str:
    """A word as it is compared: without case and marks."""
    letters = "".join(char for char in word.lower() if unicodedata.category(char)[0] in "LMN")
    return letters or word.strip()


def _equal(words: Sequence[Hashable], period: int) -> Iterator[tuple[int, int]]:
    """Stretches of words each of which is the one `period` before it."""
    begin = period
    for index in range(period, len(words) + 1):
        if index == len(words) or words[index] != words[index - period]:
            if index > begin:
                yield begin, index
            begin = index + 1


def _same(run: Repetition, other: Repetition) -> bool:
    """Whether `other`, of a shorter period, is the same run."""
    return run.period % other.period == 0 and other.start <= run.start and run.stop <= other.stop


def _tail(words: Sequence[str]) -> Repetition | None:
    """The longest end that was said before, if it is long enough to be the beginning of a loop."""
    for start in range(len(words) - _TAIL_WORDS):
        for distance in range(_TAIL_WORDS, len(words) - start):
            if words[start] != words[start + distance]:
                continue
            end = list(words[start + distance :])
            if len(end) >= _TAIL_WORDS and list(words[start : start + len(end)]) == end:
                return Repetition(start, distance, len(words))
    return None
