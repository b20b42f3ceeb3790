"""Sentences to latents: each in its own language."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from voxturn.runtime.errors import UnsupportedLanguage
from voxturn.runtime.families.xtts.speak import Manner, XttsSpeech
from voxturn.runtime.messages import Sentence
from voxturn.runtime.text.language import find


class NotingTokenizer:
    """Of a vocabulary with three languages; notes what it reads."""

    languages = ("en", "ar", "zh-cn")

    def __init__(self) -> None:
        self.read: list[tuple[str, str]] = []

    def known(self, language: str) -> str:
        code = find(language, self.languages.__contains__)
        if not code:
            raise UnsupportedLanguage(f"no {language}")
        return code

    def split(self, text: str, language: str) -> list[str]:
        self.read.append((text, language))
        return []


async def read(*sentences: Sentence) -> list[tuple[str, str]]:
    async def given() -> AsyncIterator[Sentence]:
        for sentence in sentences:
            yield sentence

    tokenizer, unused = NotingTokenizer(), cast(Any, object())
    speech = XttsSpeech(unused, unused, cast(Any, tokenizer), Manner(unused, "ar"))
    assert [latents async for latents in speech(given())] == []
    return tokenizer.read


async def test_a_sentence_is_read_in_its_language_else_in_the_voice_s() -> None:
    sentences = (
        Sentence("One.", 0, language="en-US"),
        Sentence("二。", 1, language="zh"),
        Sentence("ثلاثة.", 2),
    )
    assert await read(*sentences) == [("One.", "en"), ("二。", "zh-cn"), ("ثلاثة.", "ar")]


async def test_a_language_that_the_vocabulary_has_not_is_refused() -> None:
    with pytest.raises(UnsupportedLanguage):
        await read(Sentence("Ja.", 0, language="sv"))
