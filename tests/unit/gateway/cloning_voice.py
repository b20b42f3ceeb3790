"""A gateway whose voice clones: XTTS's own store and cloner, on graphs that are functions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.executors.fake import FakeGraph
from voxturn.runtime.families.base import Cloning, VoiceOptions
from voxturn.runtime.families.xtts.voices import Cloner, VoiceStore
from voxturn.runtime.gateway.client_voices import ClientVoices
from voxturn.runtime.gateway.core import Gateway

from tests.unit.families.xtts.test_voices import WIDTH, artifact
from tests.unit.gateway.scripted_voice import ScriptedVoice, WordKeys, speak_with

MOST = 3


class CloningVoice(ScriptedVoice):
    """Its speakers are those of a store."""

    def __init__(self, store: VoiceStore) -> None:
        self.store = store
        super().__init__()

    @property
    def speakers(self) -> tuple[str, ...]:
        return tuple(self.store.names())

    @speakers.setter
    def speakers(self, value: object) -> None:
        """The store has them."""

    def using(self, options: VoiceOptions) -> ScriptedVoice:
        self.styles = self.store.styles(options.speaker or "")
        return super().using(options)


@pytest.fixture
def store(tmp_path: Path) -> VoiceStore:
    """With one voice of the checkpoint's."""
    return VoiceStore(tmp_path / "home", *artifact(tmp_path / "artifact"))


@pytest.fixture
async def cloning(
    gateway: Gateway, store: VoiceStore, tmp_path: Path
) -> AsyncIterator[CloningVoice]:
    """Its voice. `ann` and `bob` are keys; each may add so many voices."""
    folder, manifest = artifact(tmp_path / "artifact")

    def conditioning(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"latents": np.full((1, 32, WIDTH), inputs["mel"].mean(), np.float32)}

    def speaker(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"embedding": np.full((1, 512), inputs["mel"].mean(), np.float32)}

    def make() -> Cloner:
        return Cloner(folder, manifest.properties, FakeGraph(conditioning), FakeGraph(speaker))

    clients = ClientVoices(lambda: Cloning(store, make), MOST)
    voice = CloningVoice(store)
    speak_with(gateway, voice)
    gateway.voices.clients.close()
    gateway.voices.clients = clients
    gateway.keys = WordKeys("ann", "bob")
    yield voice
    clients.close()
