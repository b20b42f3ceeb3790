"""What the gateway's page says where something is missing: a microphone, a key, a place, HTTPS."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.chromium import FOREIGN, Frames, ask, figures, opened_at, said
from clients.conftest import COMMAND, fake_profile, served
from playwright.async_api import Browser, Page, Route, expect

REFUSED = """
navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", "NotAllowedError"); };
"""
ANSWER = "Paris is the capital."


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway with a place for one, under another name, too."""
    settings = f'sessions = 1\nhosts = ["{FOREIGN}"]'
    folder = tmp_path_factory.mktemp("small")
    with served(fake_profile(folder, ANSWER, gateway=settings)) as where:
        yield where


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A gateway that wants a key, and one."""
    folder: Path = tmp_path_factory.mktemp("keyed")
    database = folder / "gateway.sqlite"
    command = [COMMAND, "keys", "create", "ana", "--database", str(database)]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    key = next(word for word in made.stdout.split() if word.startswith("vx_"))
    with served(fake_profile(folder, ANSWER), database) as where:
        yield where, key


async def test_without_a_microphone_one_types(browser: Browser, small: str) -> None:
    page = await opened_at(browser, small, REFUSED)
    frames = Frames(page)
    await page.get_by_role("button", name="Start talking").click()
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("The microphone cannot be used")
    await expect(page.locator("#status")).to_have_text("Press and talk")
    assert frames.of("got session.created")
    await expect(alert).to_contain_text("The microphone cannot be used")  # still
    await ask(page)
    await figures(page, 1)
    await expect(said(page, "assistant")).to_have_text(ANSWER)
    await page.close()


async def test_without_a_key_one_is_asked_for(browser: Browser, keyed: tuple[str, str]) -> None:
    url, key = keyed
    page = await opened_at(browser, url)
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("wants an API key")
    assert await page.locator("#voice option").count() <= 1
    await ask(page)
    await expect(page.locator("#status")).to_have_text(
        "Press and talk"
    )  # and it does not try again
    await expect(alert).to_contain_text("wants an API key")
    await page.get_by_text("Voice and settings", exact=True).click()
    await page.locator("#key").fill("wrong")
    await page.get_by_role("button", name="Use it").click()
    await expect(alert).to_contain_text("wants an API key")
    await page.locator("#key").fill(key)
    await page.get_by_role("button", name="Use it").click()
    await expect(alert).to_be_hidden()
    await expect(page.locator("#voice option[value=alloy]")).to_have_count(1)
    await ask(page)
    await figures(page, 1)
    await expect(said(page, "assistant")).to_have_text(ANSWER)


@pytest.mark.parametrize("status", [0, 429, 503])
async def test_with_a_key_an_outage_ends_no_session(
    browser: Browser, keyed: tuple[str, str], status: int
) -> None:
    url, key = keyed
    page = await opened_at(browser, url, f"sessionStorage.setItem('key', '{key}');")
    broken = True

    async def mint(route: Route) -> None:
        if not broken:
            await route.continue_()
        elif status:
            await route.fulfill(status=status, json={"error": {"message": "later"}})
        else:
            await route.abort()

    await page.route("**/v1/realtime/client_secrets", mint)
    await ask(page)
    wanted = "All places are taken" if status else "The connection was lost"
    await expect(page.get_by_role("alert")).to_contain_text(wanted)
    broken = False
    await figures(page, 1)
    await expect(page.get_by_role("alert")).to_be_hidden()
    await expect(said(page, "assistant")).to_have_text(ANSWER)


async def test_where_all_places_are_taken_it_waits_for_one(browser: Browser, small: str) -> None:
    first, second = await opened_at(browser, small), await opened_at(browser, small)
    await ask(first)
    await figures(first, 1)
    await ask(second)
    await expect(second.get_by_role("alert")).to_contain_text("All places are taken")
    await first.close()
    await figures(second, 1)
    await expect(second.get_by_role("alert")).to_be_hidden()
    await second.close()


async def test_over_plain_http_one_types_and_reads(browser: Browser, small: str) -> None:
    page = await opened_at(browser, small.replace("127.0.0.1", FOREIGN))
    assert await page.evaluate("isSecureContext") is False
    await ask(page)
    await figures(page, 1)
    await expect(said(page, "assistant")).to_have_text(ANSWER)
    await page.get_by_role("button", name="Start talking").click()
    await expect(page.get_by_role("alert")).to_contain_text("HTTPS")
    await ask(page)
    assert len(await figures(page, 2)) == 2
    await page.close()


async def test_what_the_gateway_refuses_is_taken_back_alone(page: Page) -> None:
    """The demo's model takes no tools."""
    await page.get_by_text("Voice and settings", exact=True).click()
    await ask(page)
    await figures(page, 1)
    tool = page.locator("#tool")
    await tool.click()
    await expect(page.get_by_role("alert")).to_contain_text("Something failed")
    await expect(tool).not_to_be_checked()
    frames = Frames(page)
    await page.locator("#speed").fill("1.5")
    await page.locator("#heard-language").select_option("en")
    await page.locator("#voice").select_option("ash")  # by another connection
    await ask(page)
    (_, turn) = await figures(page, 2)
    assert turn["status"] == "completed"
    updated = frames.of("got session.updated")[-1]["session"]
    assert updated["audio"]["output"] | {"speed": 1.5, "voice": "ash"} == updated["audio"]["output"]
    assert updated["audio"]["input"]["transcription"]["language"] == "en"
    assert "style" not in updated["audio"]["output"]
