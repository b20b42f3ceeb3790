"""XTTS v2 as a voice: its speakers, its manner of speaking, its pipe from sentences to audio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from voxturn.runtime.decode.service import TokenService
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.base import WRITTEN, VoiceOptions
from voxturn.runtime.families.windowed import Latents, WindowedVocoder
from voxturn.runtime.families.xtts.prompt import XttsIds
from voxturn.runtime.families.xtts.speak import Manner, XttsSpeech
from voxturn.runtime.families.xtts.speakers import Speaker, Speakers, in_style
from voxturn.runtime.families.xtts.text import XttsTokenizer
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.messages import PcmChunk, Sentence

OPTIONS = frozenset(
    {
        "guard",
        "language",
        "recordings",
        "repetition_penalty",
        "seed",
        "speaker",
        "speed",
        "style",
        "temperature",
        "top_k",
        "top_p",
    }
)
_SAMPLING = ("temperature", "top_k", "top_p", "repetition_penalty", "seed")
_TOKENS_AHEAD = 4


class XttsVoice:
    """A cloned voice in the languages of its vocabulary.

    Streams of several callers share one batched engine.
    """

    texts = WRITTEN

    def __init__(self, speech: XttsSpeech, vocoder: WindowedVocoder, people: Speakers) -> None:
        self.speech = speech
        self.vocoder = vocoder
        self.people = people

    @property
    def rate(self) -> int:
        """Of its samples, in Hz."""
        return self.vocoder.rate

    @property
    def language(self) -> str:
        """The code of the language that it is set to."""
        return self.speech.manner.language

    @property
    def languages(self) -> tuple[str, ...]:
        """The codes of the languages that its vocabulary has."""
        return self.speech.tokenizer.languages

    @property
    def speakers(self) -> tuple[str, ...]:
        """The names of the voices that are here."""
        return tuple(self.people.store.names())

    @property
    def styles(self) -> tuple[str, ...]:
        """The names of its speaker's styles."""
        return tuple(self.speech.manner.styles)

    @property
    def service(self) -> TokenService:
        """The GPT's token engine."""
        return self.speech.service

    @property
    def ids(self) -> XttsIds:
        """The sizes and ids of the checkpoint."""
        return self.speech.ids

    @property
    def tokenizer(self) -> XttsTokenizer:
        """Its text's."""
        return self.speech.tokenizer

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        """Sentences as audio, window by window."""
        async with aclosing(self.vocoder(self.speech(sentences))) as chunks:
            async for chunk in chunks:
                yield chunk

    def of_latents(self, latents: AsyncIterator[Latents]) -> AsyncGenerator[PcmChunk, None]:
        """The later half of its pipe: latents, as `XttsSpeech.codes` gives them, as audio."""
        return self.vocoder(latents)

    def using(self, options: VoiceOptions) -> XttsVoice:
        """The same engines in another manner. Blocks where a recording is cloned.

        Raises `UsageError`, `UnknownVoice`, `UnknownStyle`, `UnsupportedLanguage`, `AudioError`.
        """
        values, manner = options.only(OPTIONS, "XTTS"), self.speech.manner
        if values.get("speaker") and values.get("recordings"):
            raise UsageError("give a speaker's name or recordings, not both")
        language = self.tokenizer.known(values.get("language", manner.language))
        speaker = self._speaker(options)
        chosen = {key: values[key] for key in _SAMPLING if key in values}
        return XttsVoice(
            self.speech.using(
                Manner(
                    voice=None if speaker is None else speaker.voice,
                    language=language,
                    sampling=replace(manner.sampling, **chosen),
                    speed=values.get("speed", manner.speed),
                    guard=values.get("guard", manner.guard),
                    styles={} if speaker is None else speaker.styles,
                )
            ),
            self.vocoder,
            self.people,
        )

    def preparation(self) -> XttsPreparation:
        """Computes the keys of a clause while the rest of it is written."""
        return XttsPreparation(self.speech)

    async def warm(self, later: bool = False) -> None:
        """Compute the voice's keys and choose the vocoder's windows by how fast the voice is made
        here.

        With `later`: compile what later windows of the first answers would wait for, while nobody
        is answered.
        """
        if (voice := self.speech.manner.voice) is None:
            return
        like = Latents(
            voice.latents, Sentence("", 0), inputs={"speaker": voice.speaker.reshape(1, -1, 1)}
        )
        if later:
            await self.speech.warm_styles()
            await self.vocoder.warm_shapes(like, idle=True)
            return
        await self.speech.warm()
        await self.vocoder.warm(like, await self.speech.latent_s())
        self.speech.urgent = self.vocoder.urgent_for(self.vocoder.plan)

    def _speaker(self, options: VoiceOptions) -> Speaker | None:
        """Who is to speak; None where there is no voice yet."""
        speaker: Speaker | None
        if options.recordings:
            speaker = self.people.cloned(options.recordings)
        elif options.speaker:
            speaker = self.people.named(options.speaker)
        elif (voice := self.speech.manner.voice) is not None:
            speaker = Speaker(voice, self.speech.manner.styles)
        else:
            speaker = None
        return in_style(speaker, options.style or "")


class XttsPreparation:
    """Computes the beginning of a clause that is being written, one piece of it at a time, in a
    task of its own."""

    def __init__(self, speech: XttsSpeech) -> None:
        self._speech = speech
        self._task: asyncio.Task[None] | None = None
        self._style = ""
        self._done = 0

    def update(self, text: str, style: str = "") -> None:
        """What has come of the clause so far, and its style."""
        if self._task is not None and not self._task.done():
            return
        if self._task is not None:
            self._task.result()  # its error is the caller's
        tokens = self._speech.beginning_of(text)[: self._speech.ids.max_text]
        if len(tokens) < self._done:
            self._done = 0  # another clause
        if style != self._style:
            self._style, self._done = style, 0
        if len(tokens) >= self._done + _TOKENS_AHEAD:
            self._done = len(tokens)
            self._task = asyncio.create_task(self._speech.prepare(tokens, style))

    async def aclose(self) -> None:
        """Stop what is under way."""
        if self._task is not None:
            await cancel_and_wait(self._task)
