"""`examples/web_page` in the system's Chromium, from a server of its own, whose microphone is a file."""

from __future__ import annotations

import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from clients.chromium import CHROMIUM
from clients.conftest import ASKED, LONG, QUESTION, ROOT, heard, pcm_of, served, wav_of, words
from playwright.async_api import Page, async_playwright, expect

FOLDER = ROOT / "examples/web_page"
PROFILE = (ROOT / "runtime/profiles/demo.toml").read_text(encoding="utf-8")
WRITTEN = "http://127.0.0.1:8000"
MOST_MS = 60_000
LISTEN = """
window.sounded = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when) {
  sounded.push({ when, rate: this.buffer.sampleRate, samples: Array.from(this.buffer.getChannelData(0)) });
  start.call(this, when);
};
"""
"""Keeps what the page has its loudspeaker play, and when."""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextmanager
def site() -> Iterator[str]:
    """The example's folder on a port of its own; gives its origin."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(FOLDER)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with site() as where:
        yield where


@pytest.fixture(scope="module")
def gateway(origin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway that allows the page's origin as the README says."""
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    (table,) = [each for each in readme.split("```") if each.startswith("toml\n")]
    assert WRITTEN in table
    path = tmp_path_factory.mktemp("profile") / "page.toml"
    path.write_text(PROFILE + table.removeprefix("toml\n").replace(WRITTEN, origin), "utf-8")
    with served(str(path)) as where:
        yield where


@pytest.fixture
async def page(origin: str, tmp_path: Path) -> AsyncIterator[Page]:
    """The page in a browser that hears a second of silence, the question, and silence."""
    silence = np.zeros(48_000, np.int16)
    sound = np.concatenate([silence, pcm_of(QUESTION, 48_000), np.tile(silence, 30)])
    microphone = tmp_path / "question.wav"
    microphone.write_bytes(wav_of(sound.tobytes(), 48_000))
    options = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
    ]
    async with async_playwright() as play:
        chromium = await play.chromium.launch(executable_path=CHROMIUM, args=options)
        context = await chromium.new_context(permissions=["microphone"])
        opened = await context.new_page()
        opened.set_default_timeout(MOST_MS)
        await opened.add_init_script(LISTEN)
        await opened.goto(origin)
        yield opened
        await chromium.close()


async def talk(page: Page, gateway: str) -> None:
    await page.get_by_label("Gateway").fill(gateway.replace("http", "ws"))
    await page.get_by_role("button", name="Talk").click()


async def test_it_answers_what_it_is_asked_aloud(page: Page, gateway: str) -> None:
    await talk(page, gateway)
    lines = page.locator("#dialogue li")
    await expect(lines.nth(1)).to_be_visible(timeout=MOST_MS)
    await page.wait_for_function("sounded.length && playing.size === 0 && end > 0")
    asked, *sentences = await lines.all_inner_texts()
    assert words(asked) == ASKED
    pieces = await page.evaluate("sounded")
    for before, after in itertools.pairwise(pieces):
        assert after["when"] >= before["when"] + len(before["samples"]) / before["rate"] - 1e-6
    samples = np.concatenate([each["samples"] for each in pieces])
    pcm = np.rint(samples * 32767).astype(np.int16).tobytes()
    answer = words(" ".join(sentences))
    assert "paris" in answer
    assert await heard(f"{gateway}/v1", pcm, pieces[0]["rate"]) == answer
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_role("status")).to_have_text("Not connected")


async def test_an_answer_that_is_cut_is_silent(page: Page, gateway: str) -> None:
    await talk(page, gateway)
    await expect(page.get_by_role("status")).to_have_text("Listening")
    await page.evaluate("recorder.stop()")  # the question in the microphone would cut it as well
    await page.evaluate("text => send({ type: 'text.ask', text })", LONG)
    await page.wait_for_function("playing.size > 0")
    await page.evaluate("send({ type: 'cancel' })")
    await page.wait_for_function("playing.size === 0 && end === 0")


async def test_a_gateway_that_was_not_told_of_it_refuses_the_page(page: Page, address: str) -> None:
    await talk(page, address)
    await expect(page.get_by_role("status")).to_have_text("Not connected")
    assert await page.locator("#dialogue li").count() == 0
