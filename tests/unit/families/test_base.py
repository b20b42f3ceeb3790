"""What the shipped families say that they need."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from voxturn.runtime.families.base import families

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
