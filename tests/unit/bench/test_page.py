"""What the benchmark of the page measures, on a browser that is none."""

from __future__ import annotations

import base64
import io
import sys
import wave
from typing import Any

import pytest
from voxturn.bench import page
from voxturn.runtime.errors import ExecutorUnavailable


class Tab:
    """A page whose microphone gave the question's last sample at 1000 ms, and whose answer sounded
    at 1640 ms."""

    def __init__(self) -> None:
        self.heard = b""
        self.waited_ms = 0.0

    def set_default_timeout(self, ms: float) -> None: ...

    async def goto(self, url: str) -> None:
        assert url == "http://there/?lang=en"

    def locator(self, selector: str) -> Tab:
        assert selector == "#talk-button"
        return self

    async def click(self) -> None: ...

    async def wait_for_function(self, condition: str) -> None: ...

    async def wait_for_timeout(self, ms: float) -> None:
        self.waited_ms = ms

    async def evaluate(self, script: str, given: Any = None) -> Any:
        if given is None:
            return [{"sounded_at": 1640.0, "underruns": 2}]
        wav, self.end_s = given
        self.heard = base64.b64decode(wav)
        return 1000.0


class Browser:
    def __init__(self) -> None:
        self.tab = Tab()
        self.closed = False

    async def new_context(self, **_: object) -> Browser:
        return self

    async def add_init_script(self, script: str) -> None:
        assert "getUserMedia" in script

    async def new_page(self) -> Tab:
        return self.tab

    async def close(self) -> None:
        self.closed = True


async def test_it_asks_once_the_page_hears_as_usual_and_takes_the_time_between() -> None:
    browser = Browser()
    assert await page.page_ms(browser, "http://there") == (640.0, 2)
    assert browser.closed
    assert browser.tab.waited_ms > 4000
    with wave.open(io.BytesIO(browser.tab.heard)) as wav:
        assert (wav.getnchannels(), wav.getframerate()) == (1, 48_000)
        assert wav.getnframes() / 48_000 > browser.tab.end_s > 1.0


def test_what_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "find_spec", lambda name: None)
    with pytest.raises(ExecutorUnavailable, match="needs Playwright"):
        page.main("demo", 1, sys.executable, None)
    monkeypatch.setattr(page.shutil, "which", lambda name: None)
    with pytest.raises(ExecutorUnavailable, match="no chromium"):
        page._chromium()
