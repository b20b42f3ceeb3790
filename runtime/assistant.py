"""A loaded profile, ready to talk: what most callers need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType

from voxturn.runtime.decode import sampler
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.families.base import Cloning, opens_thought, styles_of
from voxturn.runtime.families.pipe import spoken
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.flow.handoff import Ahead
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.messages import PcmChunk, Sentence
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store, quiet
from voxturn.runtime.parts import LoadedParts, Occupancy
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.text.judge import judge_of
from voxturn.runtime.turn.end_of_turn import TextCompleteness
from voxturn.runtime.turn.interrupt.choose import strategy_of
from voxturn.runtime.turn.listen import Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser
from voxturn.runtime.turn.session import Session, SessionOptions
from voxturn.runtime.turn.split import Split
from voxturn.runtime.turn.stages import Stages, TurnSetup
from voxturn.runtime.turn.tools import Tool
from voxturn.runtime.turn.turn import Conversation


class Assistant:
    """A loaded profile: hold dialogues with it, have it say or write down something. Close it when
    done.

    Use as `async with Assistant.load("demo") as assistant: …`.
    """

    def __init__(self, parts: LoadedParts, stages: Stages) -> None:
        self._parts = parts
        self.stages = stages
        self.converter = parts.converter()
        """What gives speech another voice; None where the profile has none."""
        self.profile = parts.profile
        self.setup = TurnSetup(parts.profile.name, parts.info, sampler.BACKEND, parts.clock)

    @classmethod
    def load(
        cls,
        profile: str | Path | Profile = "demo",
        store: Store | None = None,
        registry: Registry | None = None,
        cores: Cores | None = None,
        clock: Clock | None = None,
        progress: Progress = quiet,
    ) -> Assistant:
        """Load every model of a profile. Takes about two seconds for `demo`.

        `progress` is told of what takes longer, as building engines for a GPU. Raises
        `ConfigError`, `ModelError`, `ResourceError` or `UnsupportedLanguage`.
        """
        chosen = profile if isinstance(profile, Profile) else load_profile(profile)
        parts = LoadedParts(
            chosen, store, registry, cores, in_turn=True, clock=clock, progress=progress
        )
        try:
            return cls(parts, stages_of(parts))
        except BaseException:
            parts.close()
            raise

    @property
    def rate(self) -> int:
        """The sample rate of what it says, in Hz."""
        return self.stages.voice.rate

    @property
    def engine(self) -> DecodeEngine | None:
        """The reply's token engine, where that is in this process."""
        service = getattr(self.stages.replier, "service", None)
        return getattr(service, "engine", None)

    def occupancy(self) -> dict[str, Occupancy]:
        """How busy the engine of each stage is, now."""
        return self._parts.occupancy()

    async def warm(self, tools: Sequence[Tool] = ()) -> None:
        """Run every engine once, so that the first turn is as fast as the second; with `tools`,
        that of a conversation which has them."""
        conversation = self.conversation(tools)
        await self.stages.replier.warm(conversation.messages, *([tools] if tools else []))
        await self.stages.recogniser.warm()
        if self.stages.sound_of_end is not None:
            await self.stages.sound_of_end.warm()
        await self.stages.voice.warm()
        await self.stages.voice.warm(later=True)
        if self.converter is not None:
            await self.converter.warm()

    def conversation(self, tools: Sequence[Tool] = ()) -> Conversation:
        """A new dialogue, in which the model may call `tools`.

        Raises `UsageError` for what are no tools, and where the model takes none.
        """
        return Conversation(self.stages, self.setup, self.profile.instructions, tools)

    def session(self, options: SessionOptions | None = None) -> Session:
        """A new dialogue that listens while it speaks.

        Call it within an event loop, and close what it returns.
        """
        tools = options.tools if options is not None else ()
        return Session(self.conversation(tools), options)

    def say(self, sentences: AsyncIterator[Sentence]) -> Ahead[PcmChunk]:
        """Sentences as audio. Close what this returns to stop early."""
        return spoken(self.stages.voice, sentences)

    def cloning(self) -> Cloning | None:
        """How speakers are added to the voice; None where it clones none. Reads files."""
        return self._parts.cloning()

    async def aclose(self) -> None:
        """Let running calls end, then free engines and threads."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """As `aclose`, for code without an event loop."""
        self._parts.close()

    async def __aenter__(self) -> Assistant:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.aclose()


def stages_of(parts: LoadedParts) -> Stages:
    """Everything that a turn is composed of."""
    profile = parts.profile
    listen = Listen(parts.activity(), profile.endpointing)
    recogniser = FilteredRecogniser(parts.recogniser(), parts.content_filter())
    replier = parts.replier()
    voice = parts.voice()
    split = Split(
        parts.content_filter(),
        profile.speak.max_chars,
        voice.language,
        judge=judge_of(parts.languages, voice.languages),
        in_thought=opens_thought(replier),
        styles=styles_of(voice),
    )
    return Stages(
        listen=listen,
        recogniser=recogniser,
        replier=replier,
        split=split,
        voice=voice,
        end_of_turn=TextCompleteness() if profile.end_of_turn.by_words else None,
        sound_of_end=parts.sound_of_end(),
        partial_share=profile.transcribe.partial_share,
        interrupt=strategy_of(profile.interrupt),
        tools=profile.tools,
    )
