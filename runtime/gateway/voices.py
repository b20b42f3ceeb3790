"""The voices that clients may name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from voxturn.runtime.assistant import Assistant
from voxturn.runtime.errors import UnknownStyle, UnknownVoice, UsageError
from voxturn.runtime.families.base import Voice, VoiceOptions, styles_of
from voxturn.runtime.gateway.client_voices import HIDDEN, ClientVoices
from voxturn.runtime.text.judge import judge_of
from voxturn.runtime.turn.split import Split
from voxturn.runtime.turn.stages import Stages

ALIASES = (
    "alloy",
    "ash",
    "ballad",
    "cedar",
    "coral",
    "echo",
    "fable",
    "marin",
    "nova",
    "onyx",
    "sage",
    "shimmer",
    "verse",
)
"""OpenAI's names, which its clients send: where the profile maps one to no voice, it is the
profile's own."""


DEFAULT = "default"
"""What the profile's own voice is called where a list needs a name."""


class Voices:
    """The profile's voice with the options that a request asks for.

    `clients`: the voices that keys have added for themselves.
    """

    def __init__(
        self, assistant: Assistant, aliases: Mapping[str, str], clients: ClientVoices
    ) -> None:
        self._assistant = assistant
        self._aliases = dict(aliases)
        self.clients = clients

    @property
    def speakers(self) -> tuple[str, ...]:
        """The speakers that everyone may name."""
        every = self._assistant.stages.voice.speakers
        return tuple(name for name in every if not HIDDEN.search(name))

    @property
    def aliases(self) -> Mapping[str, str]:
        """The other names of speakers; empty: of the profile's own."""
        return dict.fromkeys((DEFAULT, *ALIASES), "") | self._aliases

    @property
    def names(self) -> tuple[str, ...]:
        """The speakers, then the other names that the profile has for them."""
        return (*self.speakers, *self._aliases)

    def speaker(self, name: str, key: str = "") -> str | None:
        """The speaker that a client's name means, or the id of a voice of his; None: the profile's.

        Reads files for what is no alias. Raises `UnknownVoice` for a name that is another's.
        """
        if name in self._aliases:
            return self._aliases[name]
        if HIDDEN.search(name):
            raise self._unknown(name, key)
        return None if self._is_own(name) else self.clients.stored(key, name) or name

    async def chosen(
        self,
        name: str = "",
        language: str = "",
        style: str = "",
        speed: float = 1.0,
        seed: int | None = None,
        key: str = "",
    ) -> Voice:
        """A voice by what the client with that key calls it.

        Raises `UnknownVoice`, `UnknownStyle`, `UnsupportedLanguage` or `UsageError`.
        """
        asked = VoiceOptions(
            language=language or None,
            style=style or None,
            speed=speed if speed != 1.0 else None,
            seed=seed,
        )
        if not asked.given() and self._is_own(name):
            return self._assistant.stages.voice
        return await asyncio.to_thread(self._using, name, key, asked)

    def _is_own(self, name: str) -> bool:
        """Whether a name is the profile's own voice, as most that OpenAI's clients send are."""
        return not name or (self.aliases.get(name) == "" and name not in self.speakers)

    def _using(self, name: str, key: str, asked: VoiceOptions) -> Voice:
        options = replace(asked, speaker=self.speaker(name, key))
        voice = self._assistant.stages.voice
        if not options.given():
            return voice
        try:
            return voice.using(options)
        except UnknownVoice as exc:
            raise self._unknown(name, key) from exc
        except UsageError as exc:
            if options.speaker and not voice.speakers:
                raise self._unknown(name, key) from exc  # it has one, without a name
            raise
        except UnknownStyle as exc:
            raise UnknownStyle(HIDDEN.sub(name, str(exc))) from exc

    def _unknown(self, name: str, key: str) -> UnknownVoice:
        """Names what this client may name, and nothing else."""
        known = [*self.names, *(voice.name for voice in self.clients.of(key)), DEFAULT]
        return UnknownVoice(f"no voice {name[:80]!r}; there are {', '.join(known)}")

    def stages(self, voice: Voice) -> Stages:
        """The profile's stages with another voice."""
        stages = self._assistant.stages
        if voice is stages.voice:
            return stages
        return replace(stages, voice=voice, split=self.split(voice))

    def split(self, voice: Voice) -> Split:
        """What cuts a text into what a voice says at once."""
        judge = judge_of(self._assistant.profile.languages, voice.languages)
        return self._assistant.stages.split.suiting(voice.language, judge, styles_of(voice))
