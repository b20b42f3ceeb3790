"""Turns on the gateway's page that do not run to their end: interrupted, paused, lost, with tools."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients.chromium import (
    MOST_MS,
    SPOKEN_BY_THE_TEST,
    Frames,
    ask,
    figures,
    opened_at,
    said,
    speak,
)
from clients.conftest import ASKED, LONG, fake_profile, served, words
from playwright.async_api import Browser, Page, WebSocketRoute, expect

SOCKET = re.compile("/v1/realtime")
TIME = '<tool_call>\n{"name": "time", "arguments": {}}\n</tool_call>'
TRUNCATE = "sent conversation.item.truncate"


async def test_whoever_speaks_over_an_answer_is_heard(browser: Browser, address: str) -> None:
    page = await opened_at(browser, address, SPOKEN_BY_THE_TEST)
    frames = Frames(page)
    await page.get_by_role("button", name="Start talking").click()
    await ask(page, LONG)
    first, second = (said(page, "assistant", number) for number in (0, 1))
    await first.locator(".lit").first.wait_for()
    await speak(page)
    await first.locator("s").first.wait_for()  # what was not heard any more
    await expect(second).to_contain_text("Paris", timeout=MOST_MS)
    stopped, answered = await figures(page, 2)
    assert stopped["status"] == "cancelled"
    assert answered["status"] == "completed"
    await expect(page.locator("#notice")).to_be_hidden()
    names = [kind for kind, _ in frames.events]
    paused = names.index("got voxturn.output_audio.paused")
    assert paused < len(names) - 1 - names[::-1].index("got input_audio_buffer.speech_started")


async def test_whoever_types_over_an_answer_is_answered(page: Page) -> None:
    frames = Frames(page)
    await ask(page, LONG)
    first, second = (said(page, "assistant", number) for number in (0, 1))
    await first.locator(".lit").nth(2).wait_for()
    await ask(page)
    await first.locator("s").first.wait_for()
    heard = await first.locator(".lit").count()
    stopped, answered = await figures(page, 2)
    assert stopped["status"] == "cancelled"
    assert answered["status"] == "completed"
    await expect(second).to_contain_text("Paris")
    await expect(page.locator("#notice")).to_be_hidden()
    (truncated,) = frames.of(TRUNCATE)
    assert truncated["audio_end_ms"] > 100
    assert await first.locator(".lit").count() == heard  # nothing of it came back
    (told,) = frames.of("got conversation.item.truncated")
    assert told["item_id"] == truncated["item_id"]


async def test_a_pause_goes_on_at_the_same_word(page: Page) -> None:
    sockets: list[WebSocketRoute] = []

    async def between(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    def tell(name: str) -> None:
        sockets[0].send(json.dumps({"type": f"voxturn.output_audio.{name}"}))

    await page.route_web_socket(SOCKET, between)
    await ask(page)
    answer = said(page, "assistant")
    await answer.locator(".lit").first.wait_for()
    tell("paused")
    await asyncio.sleep(0.3)
    lit = await answer.locator(".lit").count()
    await asyncio.sleep(1.5)
    assert await answer.locator(".lit").count() == lit
    assert await answer.locator("span:not(.lit)").count() > 0
    tell("resumed")
    await expect(answer.locator("span:not(.lit)")).to_have_count(0)
    await expect(answer.locator("s")).to_have_count(0)


class Line:
    """Between a page and its gateway: `broken`, no connection is made, and `cut` ends one."""

    def __init__(self) -> None:
        self.sockets: list[WebSocketRoute] = []
        self.broken = False

    async def between(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        if self.broken:
            await socket.close(code=1011)
        else:
            socket.connect_to_server()

    async def cut(self) -> None:
        self.broken = True
        await self.sockets[-1].close(code=1011)


@pytest.fixture
async def line(page: Page) -> Line:
    line = Line()
    await page.route_web_socket(SOCKET, line.between)
    return line


async def test_a_lost_connection_comes_back_with_its_conversation(page: Page, line: Line) -> None:
    await ask(page)
    await figures(page, 1)
    await line.cut()
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text(re.compile("connection was lost|places are taken"))
    await ask(page)  # it waits
    line.broken = False
    await expect(alert).to_be_hidden(timeout=MOST_MS)
    (_, after) = await figures(page, 2)
    assert after["status"] == "completed"
    await expect(page.locator("#dialogue li")).to_have_count(4)
    await expect(page.get_by_role("status").first).to_have_text("Press and talk")
    assert len({socket.url for socket in line.sockets}) == 1  # which names the conversation


async def test_a_connection_that_breaks_in_an_answer_keeps_what_was_heard(
    page: Page, line: Line
) -> None:
    await ask(page, LONG)
    first = said(page, "assistant")
    await first.locator(".lit").nth(1).wait_for()
    told: list[dict[str, Any]] = []
    await line.cut()
    await first.locator("s").first.wait_for()

    async def between(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        socket.on_message(lambda text: (told.append(json.loads(text)), server.send(text)))
        server.on_message(lambda text: (told.append(json.loads(text)), socket.send(text)))

    await page.route_web_socket(SOCKET, between)
    await expect(page.get_by_role("alert")).to_be_hidden(timeout=MOST_MS)
    await ask(page)
    await expect(said(page, "assistant", 1)).to_contain_text("Paris")
    kinds = [event["type"] for event in told]
    assert "error" not in kinds
    assert kinds.index("session.created") < kinds.index("conversation.item.truncate")
    assert "conversation.item.truncated" in kinds


@pytest.fixture(scope="module", params=["", "Let me see. "])
def calling(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A gateway whose model asks for the time, after some words or none."""
    folder: Path = tmp_path_factory.mktemp("time")
    with served(fake_profile(folder, f"{request.param}{TIME}", "It is noon.")) as where:
        yield where


async def test_a_tool_is_called(browser: Browser, calling: str) -> None:
    page = await opened_at(browser, calling)
    frames = Frames(page)
    await page.get_by_text("Voice and settings", exact=True).click()
    await page.locator("#tool").check()
    await ask(page, "What time is it?")
    (turn,) = await figures(page, 1)
    assert turn["browser_ms"] > 0
    await expect(page.locator("#dialogue .tool")).to_contain_text("asked for the time")
    answers = page.locator("#dialogue .assistant .words")
    await expect(answers.last).to_have_text("It is noon.")
    await expect(answers.last.locator("span:not(.lit)")).to_have_count(0)
    await expect(page.locator("#dialogue s")).to_have_count(0)  # the first is heard to its end
    assert not frames.of(TRUNCATE)
    await ask(page, "And now?")
    assert len(await figures(page, 2)) == 2
    await expect(page.locator("#turns tbody tr")).to_have_count(2)


async def test_a_button_that_is_held(browser: Browser, address: str) -> None:
    page = await opened_at(browser, address, SPOKEN_BY_THE_TEST)
    await page.get_by_text("Voice and settings", exact=True).click()
    await page.locator("#mode").select_option("hold")
    hold = page.get_by_role("button", name="Hold to talk")
    await hold.hover()
    await page.mouse.down()  # it begins the session
    await expect(page.locator("#status")).to_have_text("Hearing you")
    await speak(page)
    await page.mouse.up()
    (turn,) = await figures(page, 1)
    assert turn["browser_ms"] > 0
    assert words(await said(page, "user").inner_text()) == ASKED
    await expect(said(page, "assistant")).to_contain_text("Paris")
    await hold.click()  # too short for a question
    await expect(page.locator("#status")).to_have_text("Hold to talk")
    await expect(page.locator("#notice")).to_be_hidden()
    await expect(page.locator("#dialogue li")).to_have_count(2)


async def test_a_second_press_ends_a_start_that_waits_for_permission(
    browser: Browser, address: str
) -> None:
    page = await opened_at(
        browser,
        address,
        """
        const granted = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        window.streams = [];
        navigator.mediaDevices.getUserMedia = async (wanted) => {
          await new Promise((go) => (window.permit = go));
          window.streams.push(await granted(wanted));
          return window.streams.at(-1);
        };
        """,
    )
    await page.get_by_role("button", name="Start talking").click()
    await page.wait_for_function("typeof window.permit === 'function'")
    await page.get_by_role("button", name="Stop").click()
    await page.evaluate("window.permit()")
    await page.wait_for_function(
        "streams.length && streams[0].getTracks().every((track) => track.readyState === 'ended')"
    )
    await expect(page.locator("#status")).to_have_text("Press and talk")
