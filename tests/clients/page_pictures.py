"""Takes the pictures of docs/page/, each with a conversation that was held for it:
`cd tests && VOXTURN=../.venv/bin/voxturn ../.clients/bin/python -m clients.page_pictures`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from clients.chromium import CHROMIUM
from clients.conftest import ROOT, served
from playwright.async_api import Browser, ViewportSize, async_playwright

FOLDER = ROOT / "docs/page"
QUESTIONS = ("What is the capital of France?", "And of Italy?")
WIDE = ViewportSize(width=1000, height=900)
PHONE = ViewportSize(width=390, height=844)
PICTURES = {
    "light": (WIDE, "en"),
    "dark": (WIDE, "en"),
    "phone": (PHONE, "en"),
    "arabic": (WIDE, "ar"),
}
LARGEST = 150_000
"""Bytes of a picture."""

_MOST_MS = 60_000


async def picture(browser: Browser, url: str, name: str) -> Path:
    """Hold the conversation, and take a picture of the whole page. Returns its file."""
    size, language = PICTURES[name]
    page = await browser.new_page(
        viewport=size, color_scheme="dark" if name == "dark" else "light", bypass_csp=True
    )
    page.set_default_timeout(_MOST_MS)
    await page.goto(f"{url}/?lang={language}")
    for number, question in enumerate(QUESTIONS, 1):
        await page.locator("#ask-text").fill(question)
        await page.keyboard.press("Enter")
        await page.wait_for_function(f"window.voxturn.figures.length === {number}")
        await page.locator("#dialogue .assistant span:not(.lit)").last.wait_for(state="detached")
    await page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    path = FOLDER / f"{name}.png"
    await page.screenshot(path=path, full_page=True)
    await page.close()
    return path


async def pictures(url: str) -> None:
    """All of them. Raises `ValueError` where one is too large."""
    FOLDER.mkdir(exist_ok=True)
    async with async_playwright() as play:
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        async with await play.chromium.launch(executable_path=CHROMIUM, args=options) as browser:
            for name in PICTURES:
                path = await picture(browser, url, name)
                if path.stat().st_size > LARGEST:
                    raise ValueError(f"{path.name} has more than {LARGEST} bytes")


if __name__ == "__main__":
    with served("demo") as where:
        asyncio.run(pictures(where))
