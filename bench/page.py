"""`voxturn bench page`: a question asked of the gateway's page in Chromium, against a session in process.

From the question's last sample to the answer's first, by turns. In the browser both are taken on the
clock of the page: when the microphone, which a script plays, gives that sample; when the
loudspeaker's worklet gives its first, and as much later as the AudioContext says that it sounds. In
process: when the first chunk comes. Runs in an environment with Playwright; the gateway and the
session run in the one that has the engines.
"""

from __future__ import annotations

import asyncio
import base64
import io
import shutil
import tempfile
import wave
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from voxturn.bench.gateway import question
from voxturn.bench.gateway_process import own_profile, serving
from voxturn.bench.harness import Result
from voxturn.bench.peer import Peer, session_peer
from voxturn.runtime.audio.encode import to_int16
from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.turn.trace import StageInfo

_RATE, _MOST_MS = 48_000, 60_000
_CAREFUL_MS = 4500
"""For so long after the start the page takes only what is loud for speech."""
_OPTIONS = ("--no-sandbox", "--autoplay-policy=no-user-gesture-required")
_MICROPHONE = """
const audio = new AudioContext(), microphone = audio.createMediaStreamDestination();
navigator.mediaDevices.getUserMedia = async () => microphone.stream;
window.speak = async (base64, end) => {
  const wav = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const source = new AudioBufferSourceNode(audio, { buffer: await audio.decodeAudioData(wav.buffer) });
  source.connect(microphone);
  const at = audio.currentTime + 0.1;
  source.start(at);
  return performance.now() + 1000 * (at + end - audio.currentTime);
};
"""
"""`speak` plays a recording to the microphone; its value is when the sample at `end` s is heard."""


async def page_ms(browser: Any, url: str) -> tuple[float, int]:
    """Ask in a page of its own: the time between, and how often its loudspeaker ran dry."""
    samples, end_s = question(_RATE)
    context = await browser.new_context(bypass_csp=True)  # for what is evaluated
    await context.add_init_script(_MICROPHONE)
    page = await context.new_page()
    page.set_default_timeout(_MOST_MS)
    await page.goto(f"{url}/?lang=en")
    await page.locator("#talk-button").click()
    await page.wait_for_function('document.getElementById("status").dataset.text === "listening"')
    await page.wait_for_timeout(_CAREFUL_MS)
    spoken = base64.b64encode(_wav(to_int16(samples))).decode()
    ended_ms = await page.evaluate("([wav, end]) => speak(wav, end)", [spoken, end_s])
    await page.wait_for_function("window.voxturn.figures.length")
    (turn,) = await page.evaluate("window.voxturn.figures")
    await context.close()
    return turn["sounded_at"] - ended_ms, turn["underruns"]


def _wav(pcm: bytes) -> bytes:
    sink = io.BytesIO()
    with wave.open(sink, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(pcm)
    return sink.getvalue()


async def measured(result: Result, url: str, peer: Peer, rounds: int) -> None:
    """The same question in the page and in process, by turns."""
    from playwright.async_api import async_playwright

    taken: dict[str, list[float]] = {"page": [], "in_process": []}
    dry = 0
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=_chromium(), args=list(_OPTIONS))
        result.notes["browser"] = f"Chromium {browser.version}"
        for number in range(rounds + 1):
            for name in list(taken)[:: 1 if number % 2 else -1]:
                if name == "page":
                    ms, underruns = await page_ms(browser, url)
                else:
                    ms, underruns = (await asyncio.to_thread(peer.ask))["first_ms"], 0
                if number:  # the first of both warms
                    taken[name].append(ms)
                    dry += underruns
        await browser.close()
    for name, values in taken.items():
        result.samples(f"page.{name}.first_audio_ms", "ms", values)
    added = [a - b for a, b in zip(taken["page"], taken["in_process"], strict=True)]
    result.samples("page.added_ms", "ms", added)
    result.value("page.underruns", "count", dry)


def _chromium() -> str:
    """The system's. Raises `ExecutorUnavailable`."""
    if (path := shutil.which("chromium")) is None:
        raise ExecutorUnavailable("there is no chromium here; install the system's package")
    return path


def main(profile: str, rounds: int, voxturn: str, json_path: Path | None) -> Result:
    """Run the benchmark and write the result file. `voxturn`: that of the engines' environment.

    Raises `ExecutorUnavailable` without Playwright or Chromium.
    """
    if find_spec("playwright") is None:
        raise ExecutorUnavailable(
            "this benchmark needs Playwright; make .clients/ready, then .clients/bin/voxturn bench page"
        )
    result = Result("page")
    python = str(Path(voxturn).absolute().with_name("python"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = own_profile(profile, folder, {})
        with serving(folder, own, python) as server, session_peer(profile, python) as peer:
            for stage, info in peer.hello.items():
                result.artifact(stage, StageInfo(**info))
            asyncio.run(measured(result, server.url, peer, rounds))
    if json_path is not None:
        result.write(json_path)
    return result
