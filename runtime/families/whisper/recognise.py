"""Whisper on short audio: its window, its prompt, and the guard that decides what is believed. Blocking; runs in a lane.

Whisper was trained on windows of 30 s and knows the end of speech by the long silence after it: on a short window it
often says the sentence twice. Encoding that silence is what costs. But what the encoder makes of silence hardly depends
on the speech before it, so it is computed once, and every short window is continued with it (docs/decisions/0009).
What is still wrong is noticed (length, repetition, confidence) and tried again on longer windows.
Source: Radford et al. 2022 (thresholds of section 4.5); whisper's `transcribe.py`.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import CorruptModel, UnsupportedLanguage, UsageError
from voxturn.runtime.families.whisper.words import timed, words_of
from voxturn.runtime.messages import Samples, Word
from voxturn.runtime.protocols import Generated, SpeechToTextExecutor
from voxturn.runtime.text.language import find, is_auto
from voxturn.runtime.text.tokenizer import Tokenizer

RATE = 16000
LONGEST_S = 28.0
_FULL_WINDOW_S = 30.0
_HOP = 160
_POSITION_S = 0.02
_NAME_TOKENS = 100
_LONGEST_TEXT = 224  # half of the decoder's context, as upstream

Features = Callable[[Samples], npt.NDArray[np.float32]]
"""Log-mel features float32 `[mels, frames]` of 16 kHz audio, a frame every 10 ms."""


@dataclass(frozen=True)
class Guard:
    """The windows that are tried, and what makes a result believable, or silence.

    A result is no speech below the score `silence`, and below `doubt` where the model itself thinks so (`no_speech`).
    `prior`: how much more evidence a change of the language needs.
    """

    padding_s: float = 0.3
    silence_s: float = 1.0
    shortest_s: float = 4.0
    second_window_s: float = 10.0
    tokens_per_second: float = 8.0
    tokens_spare: int = 12
    compression: float = 2.4
    repeated_words: int = 4
    confidence: float = -1.0
    doubt: float = -0.75
    no_speech: float = 0.3
    silence: float = -1.5
    prior: float = 10.0


@dataclass(frozen=True)
class Hypothesis:
    """What the model takes the audio for. `score` is the mean log-probability of the tokens that were not given."""

    ids: tuple[int, ...]
    text: str
    language: str
    score: float
    believed: bool
    fallbacks: int = 0
    words: tuple[Word, ...] = ()

    def later(self, seconds: float) -> Hypothesis:
        """The same, of audio that begins so much later."""
        moved = (
            replace(w, begin_s=w.begin_s + seconds, end_s=w.end_s + seconds) for w in self.words
        )
        return replace(self, words=tuple(moved))


class Whisper:
    """Recognises 16 kHz audio of up to 28 s. `language` is a tag, or "auto"; `names` are made likelier.

    Raises `UnsupportedLanguage`, `UsageError` for too many names, `CorruptModel` for a tokenizer without its marks.
    """

    def __init__(
        self,
        executor: SpeechToTextExecutor,
        tokenizer: Tokenizer,
        features: Features,
        language: str,
        names: Sequence[str] = (),
        guard: Guard | None = None,
    ) -> None:
        self.executor = executor
        self.tokenizer = tokenizer
        self._features = features
        self._guard = guard or Guard()
        auto = is_auto(language)
        if not executor.multilingual and not auto and not find(language, "en".__eq__):
            raise UnsupportedLanguage(f"this speech model knows English alone, not {language!r}")
        self.language = "" if auto else language_code(tokenizer, language)
        self._start, self._task, self._untimed = (
            self._mark(name) for name in ("startoftranscript", "transcribe", "notimestamps")
        )
        self._context = self._named(names)
        self._silence: Any = None

    def recognise(
        self, samples: Samples, language: str, prior: str, words: bool = False
    ) -> Hypothesis:
        """The words in `samples`, tried on ever longer windows until they are believed; else the likeliest, or none.

        `language` "" asks the model, nudged towards `prior`. With `words`, their times, too.
        """
        seconds = samples.size / RATE
        tried: list[tuple[Hypothesis, Any]] = []
        for encoded in self._windows(samples):
            language = language or self.language_of(encoded, prior)
            tried.append((self.decode(encoded, seconds, language), encoded))
            if tried[-1][0].believed:
                break
        attempt, encoded = max(reversed(tried), key=lambda each: self._rank(each[0]))
        best: Hypothesis = replace(attempt, fallbacks=len(tried) - 1)
        if not best.believed and _compression(best.text) > self._guard.compression:
            return replace(best, ids=(), text="")
        return replace(best, words=self._timed(encoded, best, seconds)) if words else best

    def encode(self, samples: Samples) -> Any:
        """The encoder's output of a window hardly longer than the audio, continued with silence."""
        guard = self._guard
        if self._silence is None:
            self._silence = self.executor.encode(self._window(_burst(), _FULL_WINDOW_S))
        window = samples.size / RATE + guard.padding_s
        positions = int(max(guard.shortest_s, window + guard.silence_s) / _POSITION_S)
        return self.executor.extend(
            self.executor.encode(self._window(samples, window)), self._silence, positions
        )

    def language_of(self, encoded: Any, prior: str) -> str:
        """The code of the language that is spoken, likelier that of `prior`; of a model that knows English alone, "en"."""
        if not self.executor.multilingual:
            return "en"
        chances = self.executor.detect_language(encoded)
        return max(
            chances, key=lambda code: chances[code] * (self._guard.prior if code == prior else 1.0)
        )

    def decode(
        self, encoded: Any, seconds: float, language: str, prefix: Sequence[int] = ()
    ) -> Hypothesis:
        """One attempt at an encoded window that holds `seconds` of audio, whose first tokens are taken to be `prefix`."""
        cap = min(
            int(seconds * self._guard.tokens_per_second) + self._guard.tokens_spare, _LONGEST_TEXT
        )
        prompt = [*self._context, *self._heading(language), self._untimed, *prefix]
        result = self.executor.generate(
            encoded, prompt, max(cap - len(prefix), self._guard.tokens_spare)
        )
        if not result.ids:
            return Hypothesis(tuple(prefix), self._text(prefix), language, 0.0, believed=True)
        if self._silent(result):
            return Hypothesis((), "", language, result.score, believed=True)
        ids = (*prefix, *result.ids)
        text = self._text(ids)
        believed = (
            result.score >= self._guard.confidence and len(ids) < cap and not self._runaway(text)
        )
        return Hypothesis(ids, text, language, result.score, believed)

    def _rank(self, found: Hypothesis) -> tuple[bool, bool, float]:
        """The greatest is taken. A runaway is surer of itself than an attempt that is only doubted for how it ends."""
        plausible = (
            found.score >= self._guard.confidence
            and _compression(found.text) <= self._guard.compression
        )
        return found.believed, plausible, found.score

    def _windows(self, samples: Samples) -> Iterator[Any]:
        """Encoded windows, from short to long."""
        yield self.encode(samples)
        for window in (self._guard.second_window_s, _FULL_WINDOW_S):
            if window > samples.size / RATE + self._guard.padding_s:
                yield self.executor.encode(self._window(samples, window))

    def _silent(self, result: Generated) -> bool:
        doubtful = result.no_speech > self._guard.no_speech and result.score < self._guard.doubt
        return doubtful or result.score < self._guard.silence

    def _runaway(self, text: str) -> bool:
        return _compression(text) > self._guard.compression or repeats(
            text, self._guard.repeated_words
        )

    def _timed(self, encoded: Any, found: Hypothesis, seconds: float) -> tuple[Word, ...]:
        if not found.ids:
            return ()
        positions = math.ceil(seconds / _POSITION_S)
        begins = self.executor.align(encoded, self._heading(found.language), found.ids, positions)
        words = words_of(found.ids, self.tokenizer, found.language)
        return timed(words, [_POSITION_S * position for position in begins], self.tokenizer)

    def _window(self, samples: Samples, seconds: float) -> npt.NDArray[np.float32]:
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

    def _named(self, names: Sequence[str]) -> list[int]:
        """The names as words that were said before."""
        if not names:
            return []
        ids = self.tokenizer.encode(f" {', '.join(names)}.")
        if len(ids) > _NAME_TOKENS:
            raise UsageError(
                f"the names take {len(ids)} tokens; at most {_NAME_TOKENS} are heeded, so give fewer"
            )
        return [self._mark("startofprev"), *ids]

    def _mark(self, name: str) -> int:
        found = self.tokenizer.id_of(f"<|{name}|>")
        if found is None:
            raise CorruptModel(
                f"the speech model's tokenizer has no <|{name}|>; pull the model again"
            )
        return found


def language_code(tokenizer: Tokenizer, language: str) -> str:
    """The model's own code for a language tag. Raises `UnsupportedLanguage` where its tokenizer has no mark of it."""
    code = find(language, lambda each: tokenizer.id_of(f"<|{each}|>") is not None)
    if not code:
        raise UnsupportedLanguage(
            f"the speech model does not know language {language!r}; use another, as en or ar, or auto"
        )
    return code


def repeats(text: str, length: int) -> bool:
    """Whether the last `length` words came before: said seldom, but what a runaway decoder does to its end."""
    words = re.findall(r"\w+", text.lower())
    runs = [words[i : i + length] for i in range(len(words) - length + 1)]
    return bool(runs) and runs[-1] in runs[:-1]


def _compression(text: str) -> float:
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def _burst() -> Samples:
    """A second of noise at −20 dBFS: something before the silence, as loud as speech."""
    return 0.1 * np.random.default_rng(0).standard_normal(RATE, np.float32)
