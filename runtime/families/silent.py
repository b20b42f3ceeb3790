"""A voice that says nothing, for answers that are read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from voxturn.runtime.families.base import (
    WRITTEN,
    NoPreparation,
    Preparation,
    Voice,
    VoiceOptions,
    styles_of,
)
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.messages import PcmChunk, Sentence

_NOTHING: tuple[PcmChunk, ...] = ()


class SilentVoice:
    """A `Voice` with another's languages and styles: a turn with it is one of text alone."""

    texts = WRITTEN

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    @property
    def rate(self) -> int:
        """That of the voice in whose place it is."""
        return self._voice.rate

    @property
    def language(self) -> str:
        """The code of the language that the voice is set to."""
        return self._voice.language

    @property
    def languages(self) -> tuple[str, ...]:
        """The codes of all languages that the voice speaks."""
        return self._voice.languages

    @property
    def speakers(self) -> tuple[str, ...]:
        """The names of the voice's speakers."""
        return self._voice.speakers

    @property
    def styles(self) -> tuple[str, ...]:
        """The voice's: their tags are no text."""
        return styles_of(self._voice)

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        """No audio; the sentences are read to their end."""
        try:
            async for _ in sentences:
                pass
        finally:
            await close_iterator(sentences)
        for chunk in _NOTHING:
            yield chunk

    def using(self, options: VoiceOptions) -> SilentVoice:
        """The same with other options."""
        return SilentVoice(self._voice.using(options))

    def preparation(self) -> Preparation:
        """Nothing is computed of a sentence."""
        return NoPreparation()

    async def warm(self, later: bool = False) -> None:
        """Nothing to compute."""
