"""A VITS, or another that says whole sentences, as a `Voice`: its speakers and languages, and the
options of a request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol

from voxturn.runtime.errors import UnsupportedLanguage
from voxturn.runtime.families.base import WORDS, NoPreparation, VoiceOptions
from voxturn.runtime.families.vits.speakers import Speakers
from voxturn.runtime.families.windowed import Latents, WindowedVocoder
from voxturn.runtime.messages import PcmChunk, Sentence
from voxturn.runtime.text.language import find

OPTIONS, NOISES = frozenset({"seed", "speed"}), frozenset({"noise", "noise_w"})
"""Of every voice, and of those that draw their sound or their durations."""
_WARM = Sentence("Ready.", 0)


class SentenceEncoder(Protocol):
    """Sentences to latents, in a `manner`: a dataclass with `language`, `speaker` and a field for
    each option."""

    manner: Any
    languages: tuple[str, ...]

    def using(self, manner: Any) -> SentenceEncoder:
        """The same engine in another manner."""
        ...

    def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[Latents, None]:
        """Latents of each sentence that has a sound."""
        ...


class VitsVoice:
    """One speaker or several, of one language or several."""

    texts = WORDS

    def __init__(
        self,
        encoder: SentenceEncoder,
        vocoder: WindowedVocoder,
        speakers: Speakers,
        options: frozenset[str] = OPTIONS | NOISES,
    ) -> None:
        """`options`: those of a request that its manner has."""
        self._encoder = encoder
        self._vocoder = vocoder
        self._speakers = speakers
        self._options = options

    @property
    def rate(self) -> int:
        """Of its samples, in Hz."""
        return self._vocoder.rate

    @property
    def language(self) -> str:
        """The code of the language that it is set to."""
        language: str = self._encoder.manner.language
        return language

    @property
    def languages(self) -> tuple[str, ...]:
        """The codes of all languages that it speaks."""
        return self._encoder.languages

    @property
    def speakers(self) -> tuple[str, ...]:
        """The names of its speakers; empty where it has one that has no name."""
        return self._speakers.names

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        """Sentences as audio, window by window."""
        async with aclosing(self._vocoder(self._encoder(sentences))) as chunks:
            async for chunk in chunks:
                yield chunk

    def using(self, options: VoiceOptions) -> VitsVoice:
        """The same with other options.

        Raises `UsageError`, `UnknownVoice`, `UnsupportedLanguage`.
        """
        values = options.only(self._options | {"language", "speaker"}, "this voice")
        changes: dict[str, Any] = {key: values[key] for key in self._options & set(values)}
        if "language" in values:
            changes["language"] = known_language(values["language"], self.languages)
        if "speaker" in values:
            changes["speaker"] = self._speakers.row(values["speaker"])
        encoder = self._encoder.using(replace(self._encoder.manner, **changes))
        return VitsVoice(encoder, self._vocoder, self._speakers, self._options)

    def preparation(self) -> NoPreparation:
        """Nothing is computed of a sentence before it is whole: its prosody depends on all of it."""
        return NoPreparation()

    async def warm(self, later: bool = False) -> None:
        """Run both graphs; with `later`, compile what later windows would wait for."""
        async with aclosing(self._encoder(_once(_WARM))) as pieces:
            async for latents in pieces:
                if later:
                    await self._vocoder.warm_shapes(latents, idle=True)
                else:
                    await self._vocoder.warm(latents)
                break


def known_language(tag: str, languages: tuple[str, ...]) -> str:
    """The voice's own code for a tag. Raises `UnsupportedLanguage`."""
    if code := find(tag, languages.__contains__):
        return code
    raise UnsupportedLanguage(f"this voice speaks {', '.join(map(repr, languages))}, not {tag!r}")


async def _once(sentence: Sentence) -> AsyncIterator[Sentence]:
    yield sentence
