"""The dialogue of `bench languages`: what it counts is what it says."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from voxturn.bench import session_languages
from voxturn.bench.session_languages import Dialogue, dialogue
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import load_profile

from tests.conftest import tone


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoadedParts]:
    """Fake ears that hear Arabic in everything."""
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))
    profile = load_profile(write_profile(tmp_path / "fakes", heard="نعم."))
    loaded = LoadedParts(replace(profile, language=("ar", "en")))
    yield loaded
    loaded.close()


async def test_twenty_typed_turns_are_right_in_both_languages(parts: LoadedParts) -> None:
    asked = dialogue()
    assert [each.language for each in asked] == ["ar", "en"] * 10
    held = Dialogue(parts, asked)
    for number, each in enumerate(asked):
        turn = await held.turn(number, each, None)
        assert all(turn["right"].values()), turn
        assert held.conversation.language == each.language


async def test_what_is_misheard_or_misread_is_counted_as_wrong(parts: LoadedParts) -> None:
    asked = dialogue()
    held = Dialogue(parts, asked)
    first, second = [
        (await held.turn(number, each, tone(0.5, 0.5)))["right"]
        for number, each in enumerate(asked[:2])
    ]
    assert all(first.values())
    assert second == {"transcript": False, "reply": True, "read": True, "filter": False}
    wrong = replace(asked[0], read=(("en", "Not this."),))
    turn = await held.turn(0, wrong, None)
    assert turn["right"] == {"transcript": True, "reply": False, "read": False, "filter": False}


async def test_as_many_recordings_as_questions_are_needed(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "one.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.full(16_000, 1000, np.int16).tobytes())
    with pytest.raises(UsageError, match="has 1 WAV files; there are 20 questions"):
        await session_languages.run("demo", None, tmp_path)
