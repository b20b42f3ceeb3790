"""The longest texts that a request may have, and the worst: no step between a text and its audio is
slow with them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from voxturn.runtime.errors import EmptyText, UnsupportedLanguage
from voxturn.runtime.text.filter import PassAll, WordListFilter
from voxturn.runtime.text.normalize import LANGUAGES, in_words, normalize
from voxturn.runtime.text.phonemes import EspeakPhonemizer
from voxturn.runtime.text.scripts import check_script
from voxturn.runtime.text.split import filled
from voxturn.runtime.text.spoken import spoken_text
from voxturn.runtime.turn.split import Split

from tests.security.strangers import WORST_TEXTS

SLOW_S = 20.0
"""Far more than the slowest takes: what grows with the square takes minutes."""


def whole(text: str) -> list[str]:
    async def sentences() -> list[str]:
        return [sentence.text async for sentence in Split(PassAll(), 220, "en").whole(text)]

    return asyncio.run(sentences())


_IDS = {symbol: [number] for number, symbol in enumerate("_^$abcdefghijklmnopqrstuvwxyz ")}
STEPS: dict[str, Callable[[str], object]] = {
    "split": whole,
    "spoken": spoken_text,
    "filled": lambda text: list(filled(text, 250)),
    "script": lambda text: check_script(text, "en"),
    "filter": lambda text: WordListFilter("en").check(text, "out"),
    "phonemes": lambda text: EspeakPhonemizer("en-us", _IDS).read(text[:1000]),
}


def timed(step: Callable[[], object], what: str) -> None:
    begin = time.thread_time()
    with suppress(EmptyText, UnsupportedLanguage):
        step()
    assert time.thread_time() - begin < SLOW_S, what


@pytest.mark.parametrize("step", STEPS)
def test_no_step_is_slow(step: str) -> None:
    for text in WORST_TEXTS:
        timed(lambda: STEPS[step](text), repr(text[:12]))  # noqa: B023  it is called here


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_language_is_slow_to_be_written_out(language: str) -> None:
    begin = LANGUAGES.index(language) % 2  # each text in every other language: it takes a second
    for text in WORST_TEXTS[begin::2]:
        timed(lambda: in_words(text, language), repr(text[:12]))  # noqa: B023  it is called here


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_piece_is_slow_to_be_normalised(language: str) -> None:
    for text in WORST_TEXTS:
        timed(lambda: normalize(text[:250], language), repr(text[:12]))  # noqa: B023  as above
