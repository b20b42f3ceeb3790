"""Everyday paragraphs in Whisper's scripts are no longer than their language allows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from voxturn.bench.hard import paragraphs
from voxturn.runtime.families.whisper.pace import fastest
from voxturn.runtime.text.scripts import scripts_of

DATA = Path(__file__).parents[3] / "data" / "whisper_paragraphs.json"
PARAGRAPHS = json.loads(DATA.read_text(encoding="utf-8"))
"""By language: how many of Whisper's tokens the paragraph of `bench/paragraphs.toml` has, and how
long it is spoken."""

_CODES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk"
    " te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo"
    " ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"
)  # openai-whisper's tokenizer.py
LANGUAGES = _CODES.split()


@pytest.mark.parametrize("language", PARAGRAPHS)
def test_nobody_is_cut_off_who_speaks_twice_as_fast(language: str) -> None:
    row = PARAGRAPHS[language]
    assert row["tokens"] <= fastest(language) * row["seconds"] / 2
    assert row["tokens"] >= fastest(language) * row["seconds"] / 6  # a limit for what it measures


def test_every_script_of_whisper_is_among_the_paragraphs() -> None:
    scripts = {script for language in LANGUAGES for script in scripts_of(language)}
    spoken = {script for language in PARAGRAPHS for script in scripts_of(language)}
    assert scripts - spoken <= {"Mongolian"}  # that Mongolian is written in Cyrillic
    assert {language for language, _, _ in paragraphs()} <= set(PARAGRAPHS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_a_limit(language: str) -> None:
    assert 10 <= fastest(language) <= 120


def test_a_language_that_is_not_known_has_one_that_few_exceed() -> None:
    assert fastest("xx") > fastest("hi") - 1
