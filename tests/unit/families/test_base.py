"""What the shipped families say that they need."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.base import VoiceOptions, families

EXTRAS = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))[
    "project"
]["optional-dependencies"]
DISTRIBUTIONS = {"piper": "piper-tts", "faster_whisper": "faster-whisper"}


@pytest.mark.parametrize("kind", ["vits", "xtts"])
def test_a_voice_needs_what_writes_its_numbers_as_words(kind: str) -> None:
    assert "num2words" in {need.module for need in families()[kind].needs}


@pytest.mark.parametrize("kind", sorted(families()))
def test_the_extra_that_a_family_names_brings_what_it_needs(kind: str) -> None:
    for need in families()[kind].needs:
        names = {re.split(r"[<>=\[]", line)[0] for line in EXTRAS[need.extra]}
        assert DISTRIBUTIONS.get(need.module, need.module) in names


@pytest.mark.parametrize("speed", [0.0, -1.0, 0.1, 4.5, float("nan"), float("inf")])
def test_a_speed_that_no_voice_takes_is_refused_whatever_the_voice(speed: float) -> None:
    with pytest.raises(UsageError, match="speed"):
        VoiceOptions(speed=speed)


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_that_no_generator_takes_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match="seed"):
        VoiceOptions(seed=seed)


@pytest.mark.parametrize("name", ["noise", "noise_w"])
@pytest.mark.parametrize("value", [-0.1, 2.1, float("nan")])
def test_a_noise_that_no_voice_takes_is_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=name):
        VoiceOptions(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("tag", ["auto", "AUTO", " auto "])
def test_auto_is_the_language_that_the_voice_is_set_to(tag: str) -> None:
    assert VoiceOptions(language=tag, seed=1) == VoiceOptions(seed=1)
    assert VoiceOptions(language=tag).given() == {}
