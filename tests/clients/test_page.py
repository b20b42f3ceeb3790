"""The gateway's page in the system's Chromium, whose microphone is a file."""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
import statistics
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import numpy as np
import pytest
from clients.conftest import ASKED, LONG, QUESTION, pcm_of, wav_of, words
from playwright.async_api import Browser, Page, Route, WebSocketRoute, async_playwright, expect

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
VIEWS = ("talk", "speak", "transcribe", "about")
BUDGET = 100_000
"""Bytes of the whole page."""

FIRST_PAINT_MS = 300
_MOST_MS = 60_000

SPOKEN_BY_THE_TEST = """
const audio = new AudioContext(), microphone = audio.createMediaStreamDestination();
navigator.mediaDevices.getUserMedia = async () => microphone.stream;
window.speak = async (base64) => {
  const wav = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const source = new AudioBufferSourceNode(audio, { buffer: await audio.decodeAudioData(wav.buffer) });
  source.connect(microphone);
  source.start();
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
    opened.set_default_timeout(_MOST_MS)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    await opened.goto(f"{address}/?lang=en")
    yield opened
    await context.close()
    assert errors == []


async def figures(page: Page, count: int) -> list[dict[str, Any]]:
    """What the page measured of its turns, once there are so many."""
    await page.wait_for_function(f"window.voxturn.figures.length >= {count}")
    return list(await page.evaluate("window.voxturn.figures"))


async def test_it_answers_what_it_is_asked_aloud(page: Page) -> None:
    await page.get_by_role("button", name="Start talking").click()
    (turn,) = await figures(page, 1)
    assert turn["status"] == "completed"
    assert turn["underruns"] == 0
    assert turn["browser_ms"] > 0  # it came out of the loudspeaker
    asked = await page.locator("#dialogue .user").inner_text()
    assert words(asked) == ASKED
    answer = page.locator("#dialogue .assistant")
    await expect(answer).to_contain_text("Paris")
    await expect(answer.locator("span:not(.lit)")).to_have_count(0)  # all of it was heard
    await expect(page.locator("#waterfall .bar").first).to_be_visible()
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_role("status").first).to_have_text("Press and talk")


async def test_whoever_speaks_over_an_answer_is_heard(browser: Browser, address: str) -> None:
    context = await browser.new_context()
    await context.add_init_script(SPOKEN_BY_THE_TEST)
    page = await context.new_page()
    page.set_default_timeout(_MOST_MS)
    await page.goto(f"{address}/?lang=en")
    await page.get_by_role("button", name="Start talking").click()
    await page.locator("#ask-text").fill(LONG)
    await page.keyboard.press("Enter")
    first, second = (page.locator("#dialogue .assistant").nth(index) for index in (0, 1))
    await first.locator(".lit").first.wait_for()
    await page.evaluate("(wav) => speak(wav)", base64.b64encode(QUESTION.read_bytes()).decode())
    await first.locator("s").first.wait_for()  # what was not heard any more
    await expect(second).to_contain_text("Paris", timeout=_MOST_MS)
    stopped, answered = await figures(page, 2)
    assert stopped["status"] == "cancelled"
    assert answered["status"] == "completed"
    await context.close()


async def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the focus is there."""
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.locator(selector).evaluate("(node) => node === document.activeElement"):
            return
    raise AssertionError(f"the keyboard does not come to {selector}")


async def test_a_conversation_by_keyboard_alone(page: Page) -> None:
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await expect(page.locator(".skip")).to_be_in_viewport()
    await tab_to(page, "#tab-talk")
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#speak-text")).to_be_visible()
    await page.keyboard.press("ArrowLeft")
    await tab_to(page, "#ask-text")
    await page.keyboard.type("What is the capital of France?")
    await page.keyboard.press("Enter")
    await figures(page, 1)
    await expect(page.locator("#dialogue .assistant")).to_contain_text("Paris")
    await page.keyboard.press("Shift+Tab")
    await expect(page.get_by_role("button", name="Stop")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").first).to_have_text("Press and talk")


async def ask(page: Page, question: str = "What is the capital of France?") -> None:
    await page.locator("#ask-text").fill(question)
    await page.get_by_role("button", name="Send").click()


async def test_a_lost_connection_comes_back_with_its_conversation(page: Page) -> None:
    sockets: list[WebSocketRoute] = []
    broken = False

    async def between(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        if broken:
            await socket.close(code=1011)
        else:
            socket.connect_to_server()

    await page.route_web_socket(re.compile("/v1/realtime"), between)
    await ask(page)
    await figures(page, 1)
    broken = True
    await sockets[-1].close(code=1011)
    await expect(page.get_by_role("alert")).to_contain_text("The connection was lost")
    broken = False
    await expect(page.get_by_role("alert")).to_be_hidden(timeout=_MOST_MS)
    await ask(page)
    (_, after) = await figures(page, 2)
    assert after["status"] == "completed"
    await expect(page.locator("#dialogue li")).to_have_count(4)
    assert len({socket.url for socket in sockets}) == 1  # which names the conversation


async def test_two_tabs_talk_at_once(page: Page, address: str) -> None:
    other = await page.context.new_page()
    await other.goto(f"{address}/?lang=en")
    await asyncio.gather(ask(page), ask(other))
    for each in (page, other):
        (turn,) = await figures(each, 1)
        assert turn["status"] == "completed"
        await expect(each.locator("#dialogue .assistant")).to_contain_text("Paris")
        await expect(each.locator("#dialogue li")).to_have_count(2)


async def test_a_voice_is_cloned_from_a_file(page: Page) -> None:
    """The demo's voice clones nothing: the answers are what the gateway gives where one does."""
    voice = {"id": "voice_1", "name": "Ann", "type": "custom", "object": "audio.voice"}
    sent: list[str] = []

    async def voices(route: Route) -> None:
        if route.request.method == "POST":
            sent.append((route.request.post_data_buffer or b"").decode("latin-1"))
            await route.fulfill(json=voice)
        else:
            await route.fulfill(json={"object": "list", "data": [voice]})

    await page.route("**/v1/audio/voices", voices)
    await page.get_by_text("Voice and settings").click()
    clone = page.get_by_role("button", name="Clone")
    await clone.click()
    await expect(page.get_by_role("alert")).to_contain_text("its owner agrees")
    await page.get_by_label("Its name").fill("Ann")
    await page.locator("#clone-file").set_input_files(QUESTION)
    await page.locator("#clone-consent").check()
    await clone.click()
    await expect(page.get_by_role("alert")).to_have_text("The voice is ready.")
    await expect(page.locator("#voice")).to_have_value("voice_1")
    (form,) = sent
    for field in ('name="name"', 'name="consent"', 'name="audio_sample"; filename="question.wav"'):
        assert field in form


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_in_any_tab(page: Page, scheme: str, language: str) -> None:
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    await ask(page)
    await figures(page, 1)
    await page.locator("#page-language").select_option(language)
    await expect(page.locator("html")).to_have_attribute("lang", language)
    for summary in await page.locator("details:not([open]) summary").all():
        await summary.click()
    await page.add_script_tag(path=AXE)
    for view in VIEWS:
        await page.locator(f"#tab-{view}").click()
        await expect(page.locator(f"#{view}")).to_be_visible()
        found = await page.evaluate("axe.run()")
        assert found["passes"]
        assert [(each["id"], each["nodes"]) for each in found["violations"]] == [], view


async def test_the_page_is_small_and_painted_soon(
    browser: Browser, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever opens it for the first time: nothing is cached."""
    painted = []
    for _ in range(5):
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"{address}/?lang=en")
        await page.wait_for_function("performance.getEntriesByName('first-paint').length")
        paint = "performance.getEntriesByName('first-paint')[0].startTime"
        painted.append(round(await page.evaluate(paint)))
        for view in VIEWS:
            await page.locator(f"#tab-{view}").click()
        await page.locator("#page-language").select_option("ar")
        await expect(page.locator("html")).to_have_attribute("dir", "rtl")
        await page.wait_for_load_state("networkidle")
        size = await page.evaluate(
            """performance.getEntries()
              .filter(({ name, entryType }) => entryType === "navigation" || name.includes("/page/"))
              .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"""
        )
        await context.close()
        assert 10_000 < size < BUDGET
    with capsys.disabled():
        sys.stdout.write(f"\nfirst paint after {painted} ms; the whole page: {size} bytes\n")
    assert statistics.median(painted) < FIRST_PAINT_MS


async def test_arabic_is_written_from_right_to_left(page: Page) -> None:
    await page.locator("#page-language").select_option("ar")
    await expect(page.locator("html")).to_have_attribute("dir", "rtl")
    await expect(page.locator("#tab-talk")).to_have_text("تحدّث")
    button, box = page.locator("#ask button"), page.locator("#ask-text")
    places = [await each.bounding_box() for each in (button, box)]
    assert places[0] is not None
    assert places[1] is not None
    assert places[0]["x"] < places[1]["x"]


async def test_the_other_tabs(page: Page) -> None:
    await page.get_by_role("tab", name="Speak").click()
    await page.locator("#speak-text").fill("It is four o'clock.")
    await page.get_by_role("button", name="Speak", exact=True).click()
    await expect(page.locator("#speak-figure")).to_have_text(
        re.compile(r"first audio after \d+ ms")
    )
    await page.get_by_role("tab", name="Transcribe").click()
    await page.locator("#transcribe-file").set_input_files(QUESTION)
    await page.get_by_role("button", name="Transcribe", exact=True).click()
    await expect(page.locator("#captions")).to_be_visible()
    assert words(await page.locator("#transcript").inner_text()) == ASKED
    await page.get_by_role("tab", name="What runs here").click()
    await expect(page.locator("#models tbody")).to_contain_text("whisper-base")
    await expect(page.locator("#figures dt").first).to_be_visible()
