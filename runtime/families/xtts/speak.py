"""Speak: sentences in, acoustic latents out. By the first half of a VITS, or code by code by XTTS v2's GPT.

Sources: Kim et al. 2021, the graph that Piper's voices carry, cut by `export.vits`; Casanova et al. 2024 (XTTS).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.decode.service import TokenService
from voxturn.runtime.errors import EmptyText, InferenceFailed, UnknownVoice
from voxturn.runtime.families.xtts.prompt import SpeechOptions, XttsIds, beginning, speech
from voxturn.runtime.families.xtts.stop_guard import StopGuard
from voxturn.runtime.families.xtts.stretch import Stretch
from voxturn.runtime.families.xtts.text import XttsTokenizer
from voxturn.runtime.families.xtts.voices import Voice
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Sentence, SpeechCodes
from voxturn.runtime.protocols import GraphExecutor

_TIMED = 10


class Speak(Protocol):
    """The stage, whatever voice it has."""

    async def warm(self) -> None:
        """Compute what does not depend on the text."""
        ...

    def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[SpeechCodes, None]: ...


class Phonemizer(Protocol):
    """Text to the voice's phoneme ids; empty for text that has no sound."""

    def ids(self, text: str) -> list[int]: ...


class VitsSpeak:
    """The stage. `scales`: noise of the prior, length, noise of the durations. Same seed and text, same latents."""

    def __init__(
        self,
        executor: GraphExecutor,
        phonemizer: Phonemizer,
        lane: Lane,
        scales: tuple[float, float, float],
        noise_frames: int,
        seed: int,
    ) -> None:
        self._executor, self._phonemizer, self._lane = executor, phonemizer, lane
        self._scales = np.array(scales, np.float32)
        self._noise_frames, self._seed = noise_frames, seed

    async def warm(self) -> None:
        """Nothing to do."""

    async def __call__(
        self, sentences: AsyncIterator[Sentence]
    ) -> AsyncGenerator[SpeechCodes, None]:
        try:
            async for sentence in sentences:
                for latents in await self._lane.run(self._speak, sentence):
                    yield SpeechCodes(latents, sentence)
        finally:
            await close_iterator(sentences)

    def _speak(self, sentence: Sentence) -> list[np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
        ids = self._phonemizer.ids(sentence.text)
        if not ids:
            return []
        random = np.random.default_rng([self._seed, sentence.index])
        try:
            out = self._executor.run(
                {
                    "input": np.array([ids], np.int64),
                    "input_lengths": np.array([len(ids)], np.int64),
                    "scales": self._scales,
                    "duration_noise": random.standard_normal((1, 2, len(ids)), np.float32),
                    "prior_noise": random.standard_normal((1, 192, self._noise_frames), np.float32),
                }
            )
        except InferenceFailed as exc:
            raise InferenceFailed(f"speak: {sentence.text[:40]!r}: {exc}") from exc
        return [np.ascontiguousarray(out["latents"][0].T)]


class XttsSpeak:
    """The stage. Latents come code by code, as they are made; many sentences may be spoken at once (other calls).

    Each sentence draws from its own seed, so the same seed and text give the same codes whatever else is spoken. The
    first `urgent` codes of an answer, those that its first audio needs, are made ahead of other streams' audio.

    `script`, where it is set, says which codes a text has, whatever the model would choose: everything is computed all
    the same. For measurements on synthetic weights.
    """

    def __init__(
        self,
        service: TokenService,
        ids: XttsIds,
        tokenizer: XttsTokenizer,
        voice: Voice | None,
        language: str,
        sampling: Sampling,
        guard: bool = True,
        speed: float = 1.0,
        urgent: int = 0,
    ) -> None:
        self.service, self.ids, self.tokenizer = service, ids, tokenizer
        self.voice, self.language, self._sampling, self._guard = voice, language, sampling, guard
        self._speed, self.urgent = speed, urgent
        self.script: Callable[[str], tuple[int, ...]] | None = None

    def with_voice(
        self,
        voice: Voice | None,
        language: str,
        sampling: Sampling,
        speed: float = 1.0,
        guard: bool = True,
    ) -> XttsSpeak:
        """The same engine with another voice, language, sampling and speed."""
        settings = (voice, language, sampling, self._guard and guard, speed, self.urgent)
        return XttsSpeak(self.service, self.ids, self.tokenizer, *settings)

    async def warm(self) -> None:
        """Compute the voice's keys and values and keep them."""
        if self.voice is not None:
            await self.service.keep(beginning(self.ids, self.voice.key, self.voice.latents))

    async def latent_s(self) -> float:
        """How long a latent takes to be made here, in seconds: the median of a few, whatever they say."""
        assert self.voice is not None
        options, tokens = (
            SpeechOptions(self._sampling, guarded=self._guard),
            [self.ids.start_text] * 4,
        )
        spoken = speech(self.ids, self.voice.key, self.voice.latents, tokens, options)
        times = []
        async for _ in self.service.stream(replace(spoken, stop_ids=(), max_tokens=_TIMED)):
            times.append(time.perf_counter())
        return float(np.median(np.diff(times))) * self._speed

    def beginning_of(self, text: str) -> list[int]:
        """The tokens of a text that is still being written, but for the last two, which may yet become others."""
        try:
            return self.tokenizer.encode(text, self.language)[:-2]
        except EmptyText:
            return []

    async def prepare(self, tokens: list[int]) -> None:
        """Compute the beginning of a text that is still being written: `codes` then pays only for the rest."""
        if self.voice is not None:
            await self.service.compute(
                beginning(self.ids, self.voice.key, self.voice.latents, tokens)
            )

    async def __call__(
        self, sentences: AsyncIterator[Sentence]
    ) -> AsyncGenerator[SpeechCodes, None]:
        try:
            async for sentence in sentences:
                pieces = self.tokenizer.split(sentence.text, self.language)
                for number, piece in enumerate(pieces):
                    forced = self.script(piece) if self.script is not None else ()
                    codes = self.codes(
                        self.tokenizer.encode(piece, self.language), sentence, number, forced
                    )
                    try:
                        async for code in codes:
                            yield code
                    finally:
                        await codes.aclose()
        finally:
            await close_iterator(sentences)

    async def codes(
        self, tokens: list[int], sentence: Sentence, number: int = 0, forced: tuple[int, ...] = ()
    ) -> AsyncGenerator[SpeechCodes, None]:
        """The latents of one piece of text. `forced` codes are given whatever is sampled: for measurements."""
        voice = self.voice
        if voice is None:
            raise UnknownVoice(
                "this model has no voice yet; add one with `voxturn voices add NAME RECORDING`"
            )
        seed = (self._sampling.seed + 1_000_003 * sentence.index + 7919 * number) % (1 << 64)
        urgent = self.urgent if sentence.index == number == 0 else 0
        options = SpeechOptions(self._sampling.with_seed(seed), forced, self._guard, urgent)
        steps = self.service.stream(speech(self.ids, voice.key, voice.latents, tokens, options))
        guard = StopGuard(len(tokens)) if self._guard and not forced else None
        stretch, cut = Stretch(self._speed) if self._speed != 1.0 else None, ""
        rest, ending, stopped = voice.latents[:0], False, asyncio.Event()
        try:
            async for step in steps:
                ending = step.stop
                if stopped.is_set():
                    break
                cut = (
                    guard.reason(step.token, step.watched)
                    if guard is not None and not step.stop
                    else ""
                )
                if cut:
                    break
                latents = step.hidden[None]
                latents = latents if stretch is None else stretch.push(latents)
                if len(latents):
                    watched = (guard.ended, stopped.set) if guard is not None else (0.0, None)
                    yield SpeechCodes(latents, sentence, False, voice.speaker, "", *watched)
            if stretch is not None and not stretch.empty:
                rest = stretch.flush()
        finally:
            await steps.aclose()
        if not (cut or ending or forced or stopped.is_set()):
            cut = f"no stop within {self.ids.max_codes} codes"
        yield SpeechCodes(rest, sentence, True, voice.speaker, cut)
