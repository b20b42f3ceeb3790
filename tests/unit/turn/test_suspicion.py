"""A suspected end: what is known of words and sound decides, and nothing is waited for."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.messages import Samples, Transcript
from voxturn.runtime.turn.end_of_turn import (
    FINISHED,
    LIKELY,
    UNFINISHED,
    UNLIKELY,
    TextCompleteness,
    together,
)
from voxturn.runtime.turn.suspicion import Suspicion

SAMPLES = np.ones(1600, np.float32)
SENTENCE = Transcript("It was closed.", "en")
LEADS_ON = Transcript("It was closed and", "en")


class Sound:
    """A `SoundOfEnd` that says its chance when it is let to."""

    def __init__(self, chance: float | Exception) -> None:
        self._chance = chance
        self.let = asyncio.Event()
        self.begun = 0
        self.cancelled = False

    async def __call__(self, samples: Samples) -> float:
        assert samples is SAMPLES
        self.begun += 1
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if isinstance(self._chance, Exception):
            raise self._chance
        return self._chance

    async def warm(self) -> None:
        raise AssertionError("a suspicion warms nothing")


async def known(sound: Sound) -> None:
    sound.let.set()
    for _ in range(3):
        await asyncio.sleep(0)


async def test_words_are_not_kept_waiting_by_the_sound() -> None:
    sound = Sound(0.05)
    suspicion = Suspicion(TextCompleteness(), sound, SAMPLES)
    assert suspicion.chance(None) == UNFINISHED
    assert suspicion.chance(SENTENCE) == LIKELY
    await known(sound)
    assert suspicion.chance(None) == UNFINISHED
    assert suspicion.chance(SENTENCE) == UNFINISHED
    assert suspicion.chance(LEADS_ON) == UNFINISHED
    assert sound.begun == 1
    await suspicion.aclose()


async def test_sound_alone_needs_no_words() -> None:
    sound = Sound(0.9)
    suspicion = Suspicion(None, sound, SAMPLES)
    assert suspicion.chance(SENTENCE) == UNFINISHED
    await known(sound)
    assert suspicion.chance(None) == 0.9
    await suspicion.aclose()


async def test_silence_alone_knows_nothing() -> None:
    suspicion = Suspicion(None, None, SAMPLES)
    assert suspicion.chance(None) is None
    assert suspicion.chance(LEADS_ON) is None
    await suspicion.aclose()


async def test_what_is_over_is_judged_no_further() -> None:
    sound = Sound(0.9)
    suspicion = Suspicion(TextCompleteness(), sound, SAMPLES)
    await asyncio.sleep(0)
    await suspicion.aclose()
    assert sound.cancelled


async def test_an_engine_that_dies_is_told() -> None:
    sound = Sound(InferenceFailed("the engine died"))
    suspicion = Suspicion(TextCompleteness(), sound, SAMPLES)
    await known(sound)
    with pytest.raises(InferenceFailed, match="the engine died"):
        suspicion.chance(SENTENCE)
    await suspicion.aclose()


@pytest.mark.parametrize("words", [UNFINISHED, UNLIKELY, LIKELY, FINISHED])
def test_either_may_say_that_somebody_goes_on(words: float) -> None:
    assert together(words, 0.0) == together(words, 0.09) == UNFINISHED
    assert together(words, 0.1) == together(words, 1.0) == words
