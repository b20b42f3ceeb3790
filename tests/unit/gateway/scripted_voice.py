"""A voice whose every step a test decides, and keys that are their own words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from copy import copy
from dataclasses import replace

from voxturn.runtime.errors import UnknownStyle
from voxturn.runtime.families.base import VoiceOptions
from voxturn.runtime.families.fake import FakeVoice
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.messages import PcmChunk, Sentence


class ScriptedVoice(FakeVoice):
    """A `FakeVoice` with styles and a speed.

    `error` is raised before its chunk number `at`, counted over the whole text; with `holds`, it
    waits there for `go` instead. `chosen` are the options it was asked for, `clients` whom it spoke
    for; `closed` is set once a text has ended, however it did.
    """

    def __init__(
        self,
        rate: int = 24_000,
        speakers: Sequence[str] = (),
        styles: Sequence[str] = (),
        error: Exception | None = None,
        at: int = 0,
        holds: bool = False,
    ) -> None:
        super().__init__(rate=rate, languages=("en", "de"), speakers=speakers)
        self.styles = tuple(styles)
        self.error = error
        self.at = at
        self.holds = holds
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.closed = asyncio.Event()
        self.chosen: list[VoiceOptions] = []
        self.clients: list[str] = []
        self.texts_said: list[str] = []

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        self.clients.append(CLIENT.get())
        self.begun.set()
        number = 0
        try:
            async with aclosing(super().__call__(sentences)) as chunks:
                async for chunk in chunks:
                    if number == self.at:
                        if self.holds:
                            await self.go.wait()
                        if self.error is not None:
                            raise self.error
                    self.texts_said.append(chunk.sentence.text)
                    yield chunk
                    number += 1
        finally:
            self.closed.set()

    def using(self, options: VoiceOptions) -> ScriptedVoice:
        self.chosen.append(options)
        if options.style and options.style not in self.styles:
            raise UnknownStyle(f"no style {options.style}")
        other = copy(self)
        plain = super().using(replace(options, style=None, speed=None, seed=None))
        other.language = plain.language
        other.speaker = plain.speaker
        return other


class WordKeys:
    """Each of these words is a key, and its own id."""

    def __init__(self, *words: str) -> None:
        self._words = words

    async def caller(self, secret: str) -> Caller | None:
        return Caller(secret, secret) if secret in self._words else None


def speak_with(gateway: Gateway, voice: FakeVoice) -> None:
    """Let a gateway speak with this voice."""
    gateway.assistant.stages = replace(gateway.assistant.stages, voice=voice)
