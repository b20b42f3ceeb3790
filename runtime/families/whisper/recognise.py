"""Whisper on short audio: its window, its prompt, and the guard that decides what is believed.
Blocking; runs in a lane.

Whisper was trained on windows of 30 s and knows the end of speech by the long silence after it: on
a short window it often says the sentence twice. Encoding that silence is what costs. But what the
encoder makes of silence hardly depends on the speech before it, so it is computed once, and every
short window is continued with it (docs/decisions/0009). What is still wrong is noticed (length,
loops, confidence) and tried again on longer windows. A hypothesis that is sure of itself and no
longer than its audio allows is right, whatever it says (docs/decisions/0019). Source: Radford et
al. 2022 (thresholds of section 4.5); whisper's `transcribe.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import CorruptModel, UnsupportedLanguage, UsageError
from voxturn.runtime.families.options import HearingOptions
from voxturn.runtime.families.whisper.loops import (
    POSITION_S,
    Repetition,
    Sounds,
    divided,
    repetitions,
    sounding,
    without_audio,
)
from voxturn.runtime.families.whisper.pace import SLOWEST, fastest, usual
from voxturn.runtime.families.whisper.words import timed, words_of
from voxturn.runtime.messages import Samples, Word
from voxturn.runtime.protocols import Generated, SpeechToTextExecutor
from voxturn.runtime.text.language import Languages, find
from voxturn.runtime.text.tokenizer import Tokenizer

RATE = 16000
LONGEST_S = 28.0
_FULL_WINDOW_S = 30.0
_HOP = 160
_NAME_TOKENS = 100
_CONTEXT = 448  # positions of the decoder
_MARKS = 6  # at most so many of them hold marks: what begins the prompt, and the end

Features = Callable[[Samples], npt.NDArray[np.float32]]
"""Log-mel features float32 `[mels, frames]` of 16 kHz audio, a frame every 10 ms."""


@dataclass(frozen=True)
class Guard:
    """The windows that are tried, and what makes a result believable, or silence.

    A result is no speech below the score `silence`, and below `doubt` where the model itself thinks
    so (`no_speech`). `prior`: how much more evidence a change of the language needs. `left_out_s`:
    that much sound after the last token is heard by itself.
    """

    padding_s: float = 0.3
    silence_s: float = 1.0
    shortest_s: float = 4.0
    second_window_s: float = 10.0
    tokens_spare: int = 8
    confidence: float = -1.0
    doubt: float = -0.75
    no_speech: float = 0.3
    silence: float = -1.5
    prior: float = 10.0
    left_out_s: float = 0.4

    def translating(self) -> Guard:
        """The same for translations, which are less sure of themselves than the words as they were
        spoken: by 0.4 to 0.5 on whisper-base. The first two are whisper's own."""
        return replace(self, doubt=-1.0, no_speech=0.6, silence=-2.0)


@dataclass(frozen=True)
class Window:
    """Audio of up to 28 s as it was encoded. `sounds`: which of its positions sound."""

    encoded: Any
    samples: Samples

    @property
    def seconds(self) -> float:
        return self.samples.size / RATE

    @cached_property
    def sounds(self) -> Sounds:
        return sounding(self.samples)


@dataclass(frozen=True)
class Hypothesis:
    """What the model takes the audio for. `score` is the mean log-probability of the tokens that
    were not given.

    `missing`: from and to which of its tokens it repeats others without audio. `endless`: it did
    not end within the length that its audio allows. `full`: the decoder had no room for more;
    `rest_s`: where the audio begins that was not heard for that or because it was left out, None
    where all was.
    """

    ids: tuple[int, ...]
    text: str
    language: str
    score: float
    believed: bool
    fallbacks: int = 0
    words: tuple[Word, ...] = ()
    missing: tuple[tuple[int, int], ...] = ()
    endless: bool = False
    full: bool = False
    rest_s: float | None = None

    @property
    def said(self) -> int:
        """How many of its tokens were said."""
        return len(self.ids) - sum(end - begin for begin, end in self.missing)

    def later(self, seconds: float) -> Hypothesis:
        """The same, of audio that begins so much later."""
        moved = (
            replace(w, begin_s=w.begin_s + seconds, end_s=w.end_s + seconds) for w in self.words
        )
        return replace(self, words=tuple(moved))


class Whisper:
    """Recognises 16 kHz audio of up to 28 s. `language` as in `Languages.of`: a tag, several among
    which the model tells, or "auto"; `names` are made likelier.

    Raises `UnsupportedLanguage`, `UsageError` for too many names, `CorruptModel` for a tokenizer
    without its marks.
    """

    def __init__(
        self,
        executor: SpeechToTextExecutor,
        tokenizer: Tokenizer,
        features: Features,
        language: str | Sequence[str],
        names: Sequence[str] = (),
        guard: Guard | None = None,
    ) -> None:
        self.executor = executor
        self.tokenizer = tokenizer
        self._features = features
        self._guard = guard or Guard()
        self._set(language)
        self._start, self._task, self._untimed = (self._mark(name) for name in MARKS)
        self._names = tuple(names)
        self._context = named(tokenizer, names)
        self._silence: Any = None
        self.translates = False

    def using(self, options: HearingOptions) -> Whisper:
        """The same engine with other options.

        Raises `UnsupportedLanguage`, and `UsageError` for too many names, or where the model has
        English alone and is to translate.
        """
        other = copy(self)
        if options.language:
            other._set(options.language)
        if options.names or options.prompt:
            names = (*self._names, *(plain(self.tokenizer, name) for name in options.names))
            other._context = named(self.tokenizer, names, plain(self.tokenizer, options.prompt))
        if options.translate:
            if not self.executor.multilingual:
                raise UsageError("translate: this speech model knows English alone")
            other._task, other.translates = self._mark("translate"), True
            other._guard = self._guard.translating()
        return other

    @property
    def _aligns(self) -> bool:
        """Whether it is known when words were said: a translation's do not follow the audio."""
        return self.executor.aligns and not self.translates

    def written(self, language: str) -> str:
        """The code of the language that what is spoken in `language` is written in."""
        return "en" if self.translates else language

    def _set(self, language: str | Sequence[str]) -> None:
        """Set `candidates`, the model's codes of the languages that may be spoken (empty: all of
        its), and `language`, the one that is; empty where the model is asked."""
        self.candidates = tuple(self._code(tag) for tag in Languages.of(language).tags)
        self.language = self.candidates[0] if len(self.candidates) == 1 else ""

    def _code(self, language: str) -> str:
        """The model's code of a language."""
        if not self.executor.multilingual and not find(language, "en".__eq__):
            raise UnsupportedLanguage(f"this speech model knows English alone, not {language!r}")
        return language_code(self.tokenizer, language)

    def recognise(
        self, samples: Samples, language: str, prior: str, words: bool = False
    ) -> Hypothesis:
        """The words in `samples`, tried on ever longer windows until they are believed; else the
        likeliest, or none.

        `language` "" asks the model, nudged towards `prior`. With `words`, their times, too.
        """
        tried: list[tuple[Hypothesis, Window]] = []
        for window in self._windows(samples):
            language = language or self.language_of(window, prior)
            tried.append((self.decode(window, language), window))
            if tried[-1][0].believed:
                break
        attempt, window = max(reversed(tried), key=lambda each: self._rank(each[0]))
        first, short = tried[0]
        if first.missing and not first.endless and first.said > len(attempt.ids):
            attempt, window = first, short  # the longer windows lost of what is said again
        best: Hypothesis = replace(attempt, fallbacks=len(tried) - 1)
        if best.missing:
            best = self._without_loops(window, best)
        cut_off = best.full and self._aligns  # where the rest begins is known by alignment
        words = words and not self.translates
        begins = self._begins(window, best.ids, language) if words or cut_off else []
        if cut_off:
            best = self._whole_words(best, begins)
        return replace(best, words=self._timed(best, begins)) if words else best

    def encode(self, samples: Samples) -> Window:
        """The encoder's output of a window hardly longer than the audio, continued with silence."""
        guard = self._guard
        if self._silence is None:
            self._silence = self.executor.encode(self._features_of(_burst(), _FULL_WINDOW_S))
        window_s = samples.size / RATE + guard.padding_s
        positions = int(max(guard.shortest_s, window_s + guard.silence_s) / POSITION_S)
        short = self.executor.encode(self._features_of(samples, window_s))
        return Window(self.executor.extend(short, self._silence, positions), samples)

    def language_of(self, window: Window, prior: str) -> str:
        """The code of the language that is spoken, likelier that of `prior`; of a model that knows
        English alone, "en"."""
        if not self.executor.multilingual:
            return "en"
        chances = self.executor.detect_language(window.encoded)
        return max(
            self.candidates or chances,
            key=lambda code: chances.get(code, 0) * (self._guard.prior if code == prior else 1.0),
        )

    def decode(self, window: Window, language: str, prefix: Sequence[int] = ()) -> Hypothesis:
        """One attempt at a window, whose first tokens are taken to be `prefix`."""
        spare = self._guard.tokens_spare
        room = _CONTEXT - _MARKS - len(self._context)
        cap = min(int(window.seconds * fastest(self.written(language))) + spare, room)
        most = min(max(cap - len(prefix), spare), room - len(prefix))
        if most <= 0:
            return Hypothesis(tuple(prefix), self._text(prefix), language, 0.0, believed=True)
        result = self.generate(window, language, most, prefix)
        if not result.ids:
            return Hypothesis(tuple(prefix), self._text(prefix), language, 0.0, believed=True)
        if self._silent(result) or (not prefix and self._chanted(window, result, language)):
            return Hypothesis((), "", language, result.score, believed=True)
        ids = (*prefix, *result.ids)
        full = len(ids) >= room
        endless = len(ids) >= cap and not full
        missing, rest_s, looping = self._judged(window, ids, language, endless, full)
        believed = result.score >= self._guard.confidence and not endless and not missing
        return Hypothesis(
            ids,
            self._text(ids),
            language,
            result.score,
            believed,
            missing=missing,
            endless=endless or looping,
            full=full and not looping,
            rest_s=rest_s if believed and not full else None,
        )

    def generate(
        self, window: Window, language: str, most: int, prefix: Sequence[int] = ()
    ) -> Generated:
        prompt = [*self._context, *self._heading(language), self._untimed, *prefix]
        return self.executor.generate(window.encoded, prompt, most)

    def _rank(self, attempt: Hypothesis) -> tuple[bool, bool, float]:
        """The greatest is taken.

        A loop is surer of itself than an attempt that is only doubted for its length.
        """
        plausible = attempt.score >= self._guard.confidence and not attempt.missing
        return attempt.believed, plausible, attempt.score

    def _judged(
        self, window: Window, ids: tuple[int, ...], language: str, endless: bool, full: bool
    ) -> tuple[tuple[tuple[int, int], ...], float | None, bool]:
        """Which tokens repeat others and were not said, where sound begins again after the last
        one, and whether a loop filled the decoder's room.

        They are aligned where they repeat something or are few for the sound. Of a hypothesis
        without an end all is missing that its last words repeat.
        """
        words, runs = self._repeated(ids, language)
        few = len(ids) < usual(language) * POSITION_S * int(window.sounds.sum())
        before = np.cumsum([0, *map(len, words)]).tolist()
        missing: list[tuple[int, int]] = []
        rest_s = None
        if (runs or few) and self._aligns:
            begins = self._begins(window, ids, language)
            missing += without_audio(runs, before, begins, window.sounds, fastest(language))
            after_s = POSITION_S * int(window.sounds[begins[-1] :].sum())
            rest_s = POSITION_S * begins[-1] if after_s >= self._guard.left_out_s else None
        last = [run for run in runs if run.stop >= len(words) - 1]  # half a time may follow
        looping = full and any(2 * before[run.start] < len(ids) for run in last)
        if endless or looping:
            missing += [time for run in last for time in run.times()[1:]]
            missing += [(run.stop, len(words)) for run in last if run.stop < len(words)]
        spans = sorted({(before[begin], before[end]) for begin, end in missing})
        return tuple(spans), rest_s, looping

    def _without_loops(self, window: Window, looped: Hypothesis) -> Hypothesis:
        """The hypothesis without what was not said; nothing where the model is not sure of what
        comes before."""
        silence = replace(looped, ids=(), text="", full=False)
        dropped = {token for begin, end in looped.missing for token in range(begin, end)}
        sound_s = POSITION_S * int(window.sounds.sum())
        if looped.endless and (not sound_s or looped.said < SLOWEST * sound_s):
            return silence
        first = min(dropped)
        before = self.generate(window, looped.language, first)
        if self._silent(before) or before.score < self._guard.confidence:
            return replace(silence, score=before.score)
        ids = tuple(token for at, token in enumerate(looped.ids) if at not in dropped)
        return replace(looped, ids=ids, text=self._text(ids), score=before.score, full=False)

    def _whole_words(self, cut_off: Hypothesis, begins: Sequence[int]) -> Hypothesis:
        """A hypothesis that the decoder had no room to end, without its last word: it and the rest
        are heard anew."""
        cut = words_of(cut_off.ids, self.tokenizer, self.written(cut_off.language))
        ids = cut_off.ids if len(cut) == 1 else cut_off.ids[: -len(cut[-1])]
        rest_s = POSITION_S * begins[len(ids)]
        return replace(cut_off, ids=ids, text=self._text(ids), rest_s=rest_s)

    def _windows(self, samples: Samples) -> Iterator[Window]:
        """Encoded windows, from short to long."""
        yield self.encode(samples)
        for window_s in (self._guard.second_window_s, _FULL_WINDOW_S):
            if window_s > samples.size / RATE + self._guard.padding_s:
                yield Window(self.executor.encode(self._features_of(samples, window_s)), samples)

    def _silent(self, result: Generated) -> bool:
        doubtful = result.no_speech > self._guard.no_speech and result.score < self._guard.doubt
        return doubtful or result.score < self._guard.silence

    def _chanted(self, window: Window, result: Generated, language: str) -> bool:
        """Whether it is one thing again and again, and the model is not sure that there is speech
        or of the first time.

        What is said again scores ever better: in the noise of many voices "No, no, no, no" is heard
        with a score of −0.2, its first word with −1.2.
        """
        if result.no_speech <= self._guard.no_speech:
            return False
        words, runs = self._repeated(result.ids, language)
        for run in runs:
            if run.start == 0 and run.stop == len(words):
                first = sum(map(len, words[: run.period]))
                return self._silent(self.generate(window, language, first))
        return False

    def _repeated(
        self, ids: Sequence[int], language: str
    ) -> tuple[list[tuple[int, ...]], list[Repetition]]:
        """The words as tokens, those that repeat themselves in parts, and what they say again."""
        words = [
            part
            for word in words_of(ids, self.tokenizer, self.written(language))
            for part in divided(word)
        ]
        return words, repetitions([self.tokenizer.decode(word) for word in words])

    def _begins(self, window: Window, ids: tuple[int, ...], language: str) -> list[int]:
        """The position at which each token begins, and the end of the last."""
        if not ids:
            return [0]
        heading = self._heading(language)
        return self.executor.align(window.encoded, heading, ids, window.sounds.size)

    def _timed(self, of: Hypothesis, begins: Sequence[int]) -> tuple[Word, ...]:
        words = words_of(of.ids, self.tokenizer, of.language)
        return timed(words, [POSITION_S * position for position in begins], self.tokenizer)

    def _features_of(self, samples: Samples, seconds: float) -> npt.NDArray[np.float32]:
        padded = np.zeros(max(int(seconds * RATE), samples.size), np.float32)
        padded[: samples.size] = samples
        return self._features(padded)[:, : padded.size // _HOP]

    def _text(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids).strip()

    def _heading(self, language: str) -> list[int]:
        return [
            self._start,
            *([self._mark(language), self._task] if self.executor.multilingual else ()),
        ]

    def _mark(self, name: str) -> int:
        return mark(self.tokenizer, name)


MARKS = ("startoftranscript", "transcribe", "notimestamps")


def mark(tokenizer: Tokenizer, name: str) -> int:
    """The token of a mark as `<|transcribe|>`.

    Raises `CorruptModel` where the tokenizer has none.
    """
    token = tokenizer.id_of(f"<|{name}|>")
    if token is None:
        raise CorruptModel(f"the speech model's tokenizer has no <|{name}|>; pull the model again")
    return token


def named(tokenizer: Tokenizer, names: Sequence[str], prompt: str = "") -> list[int]:
    """The tokens of names as words that were said before, then the last of `prompt` that there is
    room for: whisper, too, heeds the end of a long one.

    Raises `UsageError` for too many names, `CorruptModel`.
    """
    ids = tokenizer.encode(f" {', '.join(names)}.") if names else []
    if len(ids) > _NAME_TOKENS:
        raise UsageError(
            f"the names take {len(ids)} tokens; at most {_NAME_TOKENS} are heeded, so give fewer"
        )
    before = tokenizer.encode(f" {prompt.strip()}") if prompt.strip() else []
    ids += before[max(0, len(before) + len(ids) - _NAME_TOKENS) :]
    return [mark(tokenizer, "startofprev"), *ids] if ids else []


def plain(tokenizer: Tokenizer, text: str) -> str:
    """A text that anyone may have written, with no mark of the tokenizer's in it."""
    marks = "|".join(map(re.escape, sorted(tokenizer.marks, key=len, reverse=True)))
    return re.sub(marks, lambda found: f"{found[0][0]} {found[0][1:]}", text) if marks else text


def language_code(tokenizer: Tokenizer, language: str) -> str:
    """The model's own code for a language tag.

    Raises `UnsupportedLanguage` where its tokenizer has no mark of it.
    """
    code = find(language, lambda each: tokenizer.id_of(f"<|{each}|>") is not None)
    if not code:
        raise UnsupportedLanguage(
            f"the speech model does not know language {language!r}; use another, as en or ar, or auto"
        )
    return code


def _burst() -> Samples:
    """A second of noise at −20 dBFS: something before the silence, as loud as speech."""
    return 0.1 * np.random.default_rng(0).standard_normal(RATE, np.float32)
