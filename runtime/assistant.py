"""A loaded profile, ready to talk: what most callers need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType

import numpy as np
from voxturn.runtime.assemble import TURN_PLANS, Assembler, warm_shapes, warm_voice
from voxturn.runtime.decode import sampler
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.families.xtts.speak import XttsSpeak
from voxturn.runtime.flow.clock import Clock, WallClock
from voxturn.runtime.flow.handoff import Ahead
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.messages import PcmChunk, Sentence
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.turn.turn import Conversation, Stages, TurnSetup


class Assistant:
    """A loaded profile: hold dialogues with it, have it say or write down something. Close it when done.

    Use as `async with Assistant.load("demo") as assistant: …`.
    """

    def __init__(
        self, assembler: Assembler, stages: Stages, engine: DecodeEngine | None, clock: Clock
    ) -> None:
        self._assembler, self.stages, self.engine = assembler, stages, engine
        self.profile = assembler.profile
        self.setup = TurnSetup(
            self.profile.name,
            assembler.info,
            sampler.BACKEND,
            clock,
        )

    @classmethod
    def load(
        cls,
        profile: str | Path | Profile = "demo",
        store: Store | None = None,
        registry: Registry | None = None,
        cores: Cores | None = None,
    ) -> Assistant:
        """Load every model of a profile. Takes about two seconds for `demo`."""
        chosen = profile if isinstance(profile, Profile) else load_profile(profile)
        make = Assembler(chosen, store, registry, cores, TURN_PLANS)
        try:
            reply, engine = make.reply()
            stages = Stages(
                make.listen(), make.transcribe(), reply, make.split(), make.speak(), make.vocode()
            )
        except BaseException:
            make.close()
            raise
        return cls(make, stages, engine, WallClock())

    @property
    def rate(self) -> int:
        """The sample rate of what it says, in Hz."""
        return self.stages.vocode.rate

    async def warm(self) -> None:
        """Run every engine once, so that the first turn is as fast as the second."""
        await self.stages.reply.warm(self.conversation().messages)
        await self.stages.transcribe.transcribe(np.zeros(16000, np.float32))
        if isinstance(self.stages.speak, XttsSpeak):
            await warm_voice(self.stages.speak, self.stages.vocode)
            await warm_shapes(self.stages.speak, self.stages.vocode)
            return
        codes = [code async for code in self.stages.speak(_once(Sentence("Ready.", 0)))]
        await self.stages.vocode.warm(codes[0])
        await self.stages.vocode.warm_shapes(codes[0])

    def conversation(self) -> Conversation:
        """A new dialogue."""
        return Conversation(self.stages, self.setup, self.profile.system_prompt)

    def say(self, sentences: AsyncIterator[Sentence]) -> Ahead[PcmChunk]:
        """Sentences as audio. Close what this returns to stop early."""
        return self.stages.voice(sentences)

    async def aclose(self) -> None:
        """Let running calls end, then free engines and threads."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """As `aclose`, for code without an event loop."""
        self._assembler.close()

    async def __aenter__(self) -> Assistant:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.aclose()


async def _once(sentence: Sentence) -> AsyncIterator[Sentence]:
    yield sentence
