"""Sentences to latents, code by code, by XTTS v2's GPT.

Source: Casanova et al. 2024; coqui-tts 0.28, `layers/xtts`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.decode.service import TokenService
from voxturn.runtime.errors import EmptyText, UnknownVoice
from voxturn.runtime.families.windowed import Latents
from voxturn.runtime.families.xtts.prompt import SpeechOptions, XttsIds, beginning, speech
from voxturn.runtime.families.xtts.stop_guard import StopGuard
from voxturn.runtime.families.xtts.stretch import Stretch
from voxturn.runtime.families.xtts.text import XttsTokenizer
from voxturn.runtime.families.xtts.voices import Voice
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.messages import Sentence
from voxturn.runtime.protocols import Tensor

_TIMED, _STYLES_KEPT = 10, 8
SAMPLING = Sampling(0.75, 50, 0.85, 0.0, 10.0, 0)
"""Upstream's defaults."""


@dataclass(frozen=True)
class Manner:
    """Who speaks and how.

    `voice` is None until one was added; `guard`: end speech whose stop token was missed; `styles`
    are the voices that sentences may ask for instead.
    """

    voice: Voice | None
    language: str
    sampling: Sampling = field(default=SAMPLING)
    speed: float = 1.0
    guard: bool = True
    styles: Mapping[str, Voice] = field(default_factory=dict)

    def voice_in(self, style: str) -> Voice | None:
        """The voice of a style; its own where it has not that one."""
        return self.styles.get(style, self.voice)


class XttsSpeech:
    """The GPT. Latents come as they are made; many sentences may be spoken at once (other calls).

    Each sentence draws from its own seed, so the same seed and text give the same codes whatever
    else is spoken. The first `urgent` codes of an answer, those that its first audio needs, are
    made ahead of other streams' audio.

    `script`, where it is set, says which codes a text has, whatever the model would choose:
    everything is computed all the same. For measurements on synthetic weights.
    """

    def __init__(
        self,
        service: TokenService,
        ids: XttsIds,
        tokenizer: XttsTokenizer,
        manner: Manner,
        urgent: int = 0,
        script: Callable[[str], tuple[int, ...]] | None = None,
    ) -> None:
        self.service = service
        self.ids = ids
        self.tokenizer = tokenizer
        self.manner = manner
        self.urgent = urgent
        self.script = script

    def using(self, manner: Manner) -> XttsSpeech:
        """The same engine, spoken with in another manner."""
        return XttsSpeech(self.service, self.ids, self.tokenizer, manner, self.urgent, self.script)

    async def warm(self) -> None:
        """Compute the voice's keys and values and keep them."""
        if (voice := self.manner.voice) is not None:
            await self._keep(voice)

    async def warm_styles(self) -> None:
        """As `warm`, for the voice's styles, as many as are kept."""
        for voice in islice(self.manner.styles.values(), _STYLES_KEPT):
            await self._keep(voice)

    async def _keep(self, voice: Voice) -> None:
        await self.service.keep(beginning(self.ids, voice.key, voice.latents))

    async def latent_s(self) -> float:
        """How long a latent takes to be made here, in seconds: the median of a few, whatever they
        say."""
        voice = self._voice()
        options = SpeechOptions(self.manner.sampling, guarded=self.manner.guard)
        spoken = speech(self.ids, voice.key, voice.latents, [self.ids.start_text] * 4, options)
        times = []
        async for _ in self.service.stream(replace(spoken, stop_ids=(), max_tokens=_TIMED)):
            times.append(time.perf_counter())
        return float(np.median(np.diff(times))) * self.manner.speed

    def beginning_of(self, text: str) -> list[int]:
        """The tokens of a text that is still being written, but for the last two, which may yet
        become others."""
        try:
            return self.tokenizer.encode(text, self.manner.language)[:-2]
        except EmptyText:
            return []

    async def prepare(self, tokens: list[int], style: str = "") -> None:
        """Compute the beginning of a text that is still being written: `codes` then pays only for
        the rest."""
        if (voice := self.manner.voice_in(style)) is not None:
            await self.service.compute(beginning(self.ids, voice.key, voice.latents, tokens))

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[Latents, None]:
        """The latents of sentences, each in its own language, split where it is longer than the
        model takes.

        Raises `UnsupportedLanguage`.
        """
        speaks = self.manner.voice
        try:
            async for sentence in sentences:
                language = self.tokenizer.known(sentence.language or self.manner.language)
                voice = self._voice(sentence.style)
                if voice is not speaks:  # sentences in turns: its keys outlast those in between
                    speaks = voice
                    await self._keep(voice)
                pieces = self.tokenizer.split(sentence.text, language)
                for number, piece in enumerate(pieces):
                    forced = self.script(piece) if self.script is not None else ()
                    tokens = self.tokenizer.encode(piece, language)
                    codes = self.codes(tokens, sentence, number, forced)
                    try:
                        async for code in codes:
                            yield code
                    finally:
                        await codes.aclose()
        finally:
            await close_iterator(sentences)

    async def codes(
        self, tokens: list[int], sentence: Sentence, number: int = 0, forced: tuple[int, ...] = ()
    ) -> AsyncGenerator[Latents, None]:
        """The latents of one piece of text.

        `forced` codes are given whatever is sampled: for measurements.
        """
        voice, manner = self._voice(sentence.style), self.manner
        seed = (manner.sampling.seed + 1_000_003 * sentence.index + 7919 * number) % (1 << 64)
        urgent = self.urgent if sentence.index == number == 0 else 0
        options = SpeechOptions(manner.sampling.with_seed(seed), forced, manner.guard, urgent)
        steps = self.service.stream(speech(self.ids, voice.key, voice.latents, tokens, options))
        guard = StopGuard(len(tokens)) if manner.guard and not forced else None
        stretch = Stretch(manner.speed) if manner.speed != 1.0 else None
        speaker: dict[str, Tensor] = {"speaker": voice.speaker.reshape(1, -1, 1)}
        rest, cut, ending, cancelled = voice.latents[:0], "", False, asyncio.Event()
        try:
            async for step in steps:
                ending = step.stop
                if cancelled.is_set():
                    break
                if guard is not None and not step.stop:
                    cut = guard.reason(step.token, step.watched)
                if cut:
                    break
                values = step.hidden[None]
                values = values if stretch is None else stretch.push(values)
                if len(values):
                    watched = (0.0, None) if guard is None else (guard.ended, cancelled.set)
                    yield Latents(values, sentence, False, speaker, "", *watched)
            if stretch is not None and not stretch.empty:
                rest = stretch.flush()
        finally:
            await steps.aclose()
        if not (cut or ending or forced or cancelled.is_set()):
            cut = f"no stop within {self.ids.max_codes} codes"
        yield Latents(rest, sentence, True, speaker, cut)

    def _voice(self, style: str = "") -> Voice:
        if (voice := self.manner.voice_in(style)) is None:
            raise UnknownVoice(
                "this model has no voice yet; add one with `voxturn voices add NAME RECORDING`"
            )
        return voice
