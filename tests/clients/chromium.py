"""The system's Chromium on the gateway's page: its microphone is a file, or a test."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clients.conftest import QUESTION, pcm_of, wav_of
from playwright.async_api import Browser, Locator, Page, async_playwright

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
MOST_MS = 60_000
FOREIGN = "voxturn.test"
"""A name of this machine that browsers take for another one."""

SPOKEN_BY_THE_TEST = """
const audio = new AudioContext(), microphone = audio.createMediaStreamDestination();
navigator.mediaDevices.getUserMedia = async () => microphone.stream;
window.speak = async (base64) => {
  const wav = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const source = new AudioBufferSourceNode(audio, { buffer: await audio.decodeAudioData(wav.buffer) });
  source.connect(microphone);
  source.start();
  return new Promise((done) => (source.onended = done));
};
"""
"""A microphone that is silent until `speak` is called."""


@pytest.fixture(scope="session")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser hears: a second of silence, the question, and silence."""
    silence = np.zeros(48_000, np.int16)
    sound = np.concatenate([silence, pcm_of(QUESTION, 48_000), np.tile(silence, 30)])
    path = tmp_path_factory.mktemp("microphone") / "question.wav"
    path.write_bytes(wav_of(sound.tobytes(), 48_000))
    return path


@pytest.fixture
async def browser(microphone: Path) -> AsyncIterator[Browser]:
    options = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
        "--autoplay-policy=no-user-gesture-required",
        f"--host-resolver-rules=MAP {FOREIGN} 127.0.0.1",
    ]
    async with async_playwright() as play:
        chromium = await play.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        await chromium.close()


@pytest.fixture
async def page(browser: Browser, address: str) -> AsyncIterator[Page]:
    """The page in English; what it logs as an error fails the test."""
    context = await browser.new_context(
        permissions=["microphone"],
        bypass_csp=True,  # for what the test evaluates
    )
    opened = await context.new_page()
    opened.set_default_timeout(MOST_MS)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    await opened.goto(f"{address}/?lang=en")
    yield opened
    await context.close()
    assert errors == []


async def opened_at(browser: Browser, url: str, script: str = "") -> Page:
    """Another page in English, which may log errors. `script` runs before its own."""
    page = await browser.new_page(bypass_csp=True)
    page.set_default_timeout(MOST_MS)
    if script:
        await page.add_init_script(script)
    await page.goto(f"{url}/?lang=en")
    return page


async def figures(page: Page, count: int) -> list[dict[str, Any]]:
    """What the page measured of its turns, once there are so many."""
    await page.wait_for_function(f"window.voxturn.figures.length >= {count}")
    return list(await page.evaluate("window.voxturn.figures"))


async def ask(page: Page, question: str = "What is the capital of France?") -> None:
    """Type a question, and send it."""
    await page.locator("#ask-text").fill(question)
    await page.get_by_role("button", name="Send").click()


async def speak(page: Page, wav: bytes = QUESTION.read_bytes()) -> None:
    """Say something, in a page with `SPOKEN_BY_THE_TEST`."""
    await page.evaluate("(wav) => speak(wav)", base64.b64encode(wav).decode())


def said(page: Page, who: str, number: int = 0) -> Locator:
    """The words of a question (`user`) or an answer (`assistant`)."""
    return page.locator(f"#dialogue .{who} .words").nth(number)


class Frames:
    """What a page's sockets send and get, each event with `sent` or `got` before its type."""

    def __init__(self, page: Page) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.sockets = 0
        page.on("websocket", self._opened)

    def _opened(self, socket: Any) -> None:
        self.sockets += 1
        socket.on("framesent", lambda text: self._add("sent", text))
        socket.on("framereceived", lambda text: self._add("got", text))

    def _add(self, way: str, text: str | bytes) -> None:
        event = json.loads(text)
        self.events.append((f"{way} {event['type']}", event))

    def of(self, name: str) -> list[dict[str, Any]]:
        """All events of one kind, as `sent session.update`."""
        return [event for kind, event in self.events if kind == name]

    def first(self, name: str) -> int:
        """When the first of a kind came, counted in events."""
        return next(at for at, (kind, _) in enumerate(self.events) if kind == name)
