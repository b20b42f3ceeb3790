"""Transcribe: an utterance in, its words out. Whisper on a window as short as the utterance, with a guard.

Whisper was trained on 30 s windows. On a shorter one the words are right, but the decoder sometimes repeats itself;
so the length is capped from the duration, repetition and low confidence are noticed, and a longer window is tried.
Source: Radford et al. 2022 (thresholds of section 4.5); whisper's `transcribe.py`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import CorruptModel, UnsupportedLanguage
from voxturn.runtime.handoff import Lane, close_iterator
from voxturn.runtime.messages import Samples, Transcript, Utterance
from voxturn.runtime.protocols import SpeechToTextExecutor
from voxturn.runtime.text.filter import ContentFilter
from voxturn.runtime.text.tokenizer import Tokenizer

RATE = 16000
_HOP = 160
_FULL_WINDOW_S = 30.0
_PIECE_S = 28.0

Features = Callable[[Samples], npt.NDArray[np.float32]]
"""Log-mel features float32 `[mels, frames]` of 16 kHz audio, a frame every 10 ms."""


@dataclass(frozen=True)
class Guard:
    """The windows that are tried and what makes a result believable."""

    padding_s: float = 2.0
    shortest_window_s: float = 6.0
    second_window_s: float = 10.0
    tokens_per_second: float = 8.0
    tokens_spare: int = 12
    compression: float = 2.4
    repeated_words: int = 4
    confidence: float = -1.0
    no_speech: float = 0.6


class Transcribe:
    """The stage. `language` "auto" asks the model for each utterance."""

    def __init__(
        self,
        executor: SpeechToTextExecutor,
        tokenizer: Tokenizer,
        features: Features,
        lane: Lane,
        language: str,
        content_filter: ContentFilter,
        guard: Guard | None = None,
    ) -> None:
        self._executor, self._tokenizer, self._features, self._lane = executor, tokenizer, features, lane
        self._language, self._filter, self._guard = language, content_filter, guard or Guard()
        self._marks = [self._mark(name) for name in ("startoftranscript", "transcribe", "notimestamps")]
        if language != "auto" and tokenizer.id_of(f"<|{language}|>") is None:
            raise UnsupportedLanguage(
                f"the speech model does not know language {language!r}; use its code, as en or ar, or auto"
            )

    async def __call__(self, utterances: AsyncIterator[Utterance]) -> AsyncGenerator[Transcript, None]:
        try:
            async for utterance in utterances:
                yield await self.transcribe(utterance.samples)
        finally:
            await close_iterator(utterances)

    async def transcribe(self, samples: Samples) -> Transcript:
        """The words in 16 kHz audio of any length; empty text where there are none."""
        pieces = [samples[i : i + int(_PIECE_S * RATE)] for i in range(0, samples.size, int(_PIECE_S * RATE))]
        done = [await self._lane.run(self._piece, piece) for piece in pieces]
        if not done:
            return Transcript("", "" if self._language == "auto" else self._language)
        raw = " ".join(t.text for t in done if t.text)
        passed = self._filter.check(raw, "in")
        confidence, fallbacks = min(t.confidence for t in done), sum(t.fallbacks for t in done)
        return Transcript(passed.text, done[0].language, confidence, fallbacks, passed.actions)

    def _piece(self, samples: Samples) -> Transcript:
        """Try windows from short to long until a result is believable; the last is taken as it is, or as silence."""
        seconds = samples.size / RATE
        padded = max(seconds + self._guard.padding_s, self._guard.shortest_window_s)
        windows = [padded, *(w for w in (self._guard.second_window_s, _FULL_WINDOW_S) if w > padded)]
        cap = int(seconds * self._guard.tokens_per_second) + self._guard.tokens_spare
        language = self._language
        best = Transcript("", language)
        for fallbacks, window in enumerate(windows):
            encoded = self._executor.encode(self._window(samples, window))
            if language == "auto":
                language = self._executor.detect_language(encoded)[0]
            prompt = [self._marks[0], self._mark(language), *self._marks[1:]]
            result = self._executor.generate(encoded, prompt, cap)
            text = self._tokenizer.decode(result.ids).strip()
            best = Transcript(text, language, result.score, fallbacks)
            if result.no_speech > self._guard.no_speech and result.score < self._guard.confidence:
                return Transcript("", language, result.score, fallbacks)
            if self._believable(text, result.score, len(result.ids), cap):
                return best
        return (
            best
            if self._compression(best.text) <= self._guard.compression
            else Transcript("", language, best.confidence, best.fallbacks)
        )

    def _window(self, samples: Samples, seconds: float) -> npt.NDArray[np.float32]:
        padded = np.zeros(max(int(seconds * RATE), samples.size), np.float32)
        padded[: samples.size] = samples
        frames = self._features(padded)
        return frames[:, : padded.size // _HOP]

    def _believable(self, text: str, score: float, tokens: int, cap: int) -> bool:
        return (
            score >= self._guard.confidence
            and tokens < cap
            and self._compression(text) <= self._guard.compression
            and not repeats(text, self._guard.repeated_words)
        )

    @staticmethod
    def _compression(text: str) -> float:
        data = text.encode()
        return len(data) / len(zlib.compress(data)) if data else 0.0

    def _mark(self, name: str) -> int:
        found = self._tokenizer.id_of(f"<|{name}|>")
        if found is None:
            raise CorruptModel(f"the speech model's tokenizer has no <|{name}|>; pull the model again")
        return found


def repeats(text: str, length: int) -> bool:
    """Whether a run of `length` words comes twice: said seldom, but what a runaway decoder does first."""
    words = re.findall(r"\w+", text.lower())
    runs = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
    return len(set(runs)) < len(runs)
