"""The gateway's page in the system's Firefox, which hears a sound server's null sink."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from clients.bidi import Tab, firefox, say, sound_server
from clients.conftest import ASKED, LONG, QUESTION, words

ANSWER = 'document.querySelectorAll("#dialogue .assistant")'


@pytest.fixture
async def sound(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    folder = tmp_path / "sound"
    folder.mkdir()
    async with sound_server(folder) as environment:
        yield environment


@pytest.fixture
async def tab(tmp_path: Path, address: str, sound: dict[str, str]) -> AsyncIterator[Tab]:
    """The page in English, which listens."""
    folder = tmp_path / "profile"
    folder.mkdir()
    async with firefox(folder, sound) as opened:
        await opened.open(f"{address}/?lang=en")
        await opened.evaluate('document.getElementById("talk-button").click()')
        await opened.until('document.getElementById("status").dataset.text === "listening"')
        # what suppresses noise and echo has learned the room by then
        await opened.until("performance.now() > 6000")
        yield opened


async def test_it_answers_what_it_is_asked_aloud(tab: Tab, sound: dict[str, str]) -> None:
    await say(QUESTION, sound)
    await tab.until(
        f'window.voxturn.figures.length && !{ANSWER}[0].querySelector("span:not(.lit)")'
    )
    (turn,) = await tab.evaluate("window.voxturn.figures")
    assert turn["status"] == "completed"
    assert turn["browser_ms"] > 0  # it came out of the loudspeaker
    asked = await tab.evaluate('document.querySelector("#dialogue .user .words").textContent')
    assert words(asked) == ASKED
    assert "Paris" in await tab.evaluate(f"{ANSWER}[0].textContent")


async def test_speech_over_the_answer_cuts_it(tab: Tab, sound: dict[str, str]) -> None:
    await tab.evaluate(
        f'document.getElementById("ask-text").value = {json.dumps(LONG)}, '
        'document.getElementById("ask").requestSubmit()'
    )
    # some seconds of the answer, from which the echo canceller learns the room
    await tab.until(f'{ANSWER}[0]?.querySelectorAll(".lit").length > 9')
    await say(QUESTION, sound)
    await tab.until("window.voxturn.figures.length === 2")
    assert await tab.evaluate(f'{ANSWER}[0].querySelectorAll("s").length') > 0
    assert "Paris" in await tab.evaluate(f"{ANSWER}[1].textContent")
