"""A voice that is cloned on the gateway's page speaks: a tiny XTTS with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from clients.chromium import Frames, ask, figures, opened_at
from clients.conftest import QUESTION, pcm_of, printed, served, wav_of
from playwright.async_api import Browser, expect


@pytest.fixture(scope="module")
def cloning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway whose voice clones."""
    folder = tmp_path_factory.mktemp("cloning")
    with served(printed("-m", "tests.tiny.cloning_profile", str(folder))) as where:
        yield where


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Six seconds of speech."""
    path = tmp_path / "ann.wav"
    path.write_bytes(wav_of(np.tile(pcm_of(QUESTION, 24_000), 4)[: 6 * 24_000].tobytes()))
    return path


async def test_a_voice_is_cloned_from_a_file_and_speaks(
    browser: Browser, cloning: str, recording: Path
) -> None:
    page = await opened_at(browser, cloning)
    frames = Frames(page)
    await ask(page)
    await figures(page, 1)
    await page.get_by_text("Voice and settings", exact=True).click()
    clone = page.get_by_role("button", name="Clone")
    await clone.click()
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("its owner agrees")
    await page.get_by_label("Its name").fill("Ann")
    await page.locator("#clone-file").set_input_files(recording)
    await page.locator("#clone-consent").check()
    await clone.click()
    await expect(alert).to_have_text("The voice is ready.")
    voice = await page.locator("#voice").input_value()
    assert voice
    await ask(page)
    (_, turn) = await figures(page, 2)
    assert turn["status"] == "completed"
    assert turn["browser_ms"] > 0
    updated = frames.of("got session.updated")[-1]["session"]
    assert updated["audio"]["output"]["voice"] == voice
    assert frames.sockets == 2
    await expect(page.locator("#dialogue .assistant")).to_have_count(2)


async def test_a_style_of_a_voice_is_chosen_and_let_go(
    browser: Browser, cloning: str, recording: Path
) -> None:
    page = await opened_at(browser, cloning)
    for style in ("", "happy"):
        form = {"name": "Bea", "consent": "true", "style": style}
        sample = {"name": "a.wav", "mimeType": "audio/wav", "buffer": recording.read_bytes()}
        answer = await page.request.post(
            f"{cloning}/v1/audio/voices", multipart={**form, "audio_sample": sample}
        )
        assert answer.ok, await answer.text()
    await page.reload()
    frames = Frames(page)
    await page.get_by_text("Voice and settings", exact=True).click()
    await page.locator("#voice").select_option("Bea")
    await ask(page)
    await figures(page, 1)
    outputs = []
    for style in ("happy", ""):
        await page.locator("#style").select_option(style)
        await ask(page)
        await figures(page, len(outputs) + 2)
        outputs.append(frames.of("got session.updated")[-1]["session"]["audio"]["output"])
    assert [output.get("style") for output in outputs] == ["happy", None]
    assert frames.sockets == 1
    assert not frames.of("got error")
