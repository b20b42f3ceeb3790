"""Firefox as the system has it, by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/), with a
loudspeaker and a microphone that are a sound server's null sinks.

Playwright drives its own build of Firefox alone.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

FIREFOX = shutil.which("firefox-esr") or "/usr/bin/firefox-esr"
LOUDSPEAKER = "loudspeaker"
MICROPHONE = "microphone"
START_S = 60.0
ANSWER_S = 90.0
LARGEST_MESSAGE = 16 * 2**20

_ECHO = ["pactl", "load-module", "module-loopback", "latency_msec=60"]
_ECHO += ["source_dont_move=true", "sink_dont_move=true"]
_PREFERENCES = {
    "media.navigator.permission.disabled": True,  # the microphone is allowed without a question
    "media.autoplay.default": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
}


class BidiError(Exception):
    """The browser refused a command, or a script in it failed."""


class Tab:
    """One tab of the browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._context = ""

    async def open(self, url: str) -> None:
        """Go there in the first tab, and wait until it is loaded."""
        await self._command("session.new", {"capabilities": {}})
        tree = await self._command("browsingContext.getTree", {})
        self._context = tree["contexts"][0]["context"]
        there = {"context": self._context, "url": url, "wait": "complete"}
        await self._command("browsingContext.navigate", there)

    async def evaluate(self, expression: str) -> Any:
        """What JavaScript gives, by way of JSON; promises are awaited. Raises `BidiError`."""
        answer = await self._command(
            "script.evaluate",
            {
                "expression": f"(async () => JSON.stringify(await ({expression})))()",
                "target": {"context": self._context},
                "awaitPromise": True,
                "userActivation": True,
            },
        )
        if answer["type"] == "exception":
            raise BidiError(answer["exceptionDetails"]["text"])
        value = answer["result"].get("value")
        return None if value is None else json.loads(value)

    async def until(self, condition: str) -> None:
        """Wait for a condition of the page, which is asked once a frame."""
        await self.evaluate(
            "new Promise((done) => { const look = () => "
            f"({condition}) ? done(true) : setTimeout(look, 16); look(); }})"
        )

    async def _command(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        number = next(self._ids)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(ANSWER_S):
            while True:
                answer = json.loads(await self._socket.recv())
                if answer.get("id") == number:
                    break
        if answer["type"] == "error":
            raise BidiError(f"{method}: {answer['message']}")
        return dict(answer["result"])


@asynccontextmanager
async def sound_server(folder: Path) -> AsyncIterator[dict[str, str]]:
    """PulseAudio with the two null sinks alone. Yields the environment in which it is found.

    The microphone hears the loudspeaker, 12 dB softer and 60 ms later, as in a room: without any
    echo, Firefox's canceller keeps back whoever speaks over the loudspeaker.
    """
    environment = os.environ | {
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "PULSE_SERVER": f"unix:{folder}/pulse.socket",
    }
    loaded = [f"--load=module-native-protocol-unix auth-anonymous=1 socket={folder}/pulse.socket"]
    loaded += [
        f"--load=module-null-sink sink_name={name} rate=48000" for name in (LOUDSPEAKER, MICROPHONE)
    ]
    options = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--log-level=4"]
    command = ["pulseaudio", *options, *loaded]
    async with _process(command, environment, re.compile(rb"Daemon startup complete")):
        await _run(["pactl", "set-default-sink", LOUDSPEAKER], environment)
        await _run(["pactl", "set-default-source", f"{MICROPHONE}.monitor"], environment)
        await _run([*_ECHO, f"source={LOUDSPEAKER}.monitor", f"sink={MICROPHONE}"], environment)
        await _run(["pactl", "set-sink-input-volume", "0", "-12dB"], environment)
        yield environment


@asynccontextmanager
async def firefox(folder: Path, environment: dict[str, str]) -> AsyncIterator[Tab]:
    """A Firefox without a window, with a profile of its own in an empty folder."""
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in _PREFERENCES.items()]
    (folder / "user.js").write_text("\n".join(lines) + "\n")
    command = [FIREFOX, "--headless", "--no-remote", "--remote-debugging-port", "0"]
    command += ["--profile", str(folder)]
    ready = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
    async with (
        _process(command, environment, ready) as line,
        connect(line[1].decode() + "/session", max_size=LARGEST_MESSAGE) as socket,
    ):
        yield Tab(socket)


async def say(wav: Path, environment: dict[str, str]) -> None:
    """Play a file to the microphone, to its end."""
    await _run(["paplay", f"--device={MICROPHONE}", str(wav)], environment)


async def _run(command: list[str], environment: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    assert await process.wait() == 0


@asynccontextmanager
async def _process(
    command: list[str], environment: dict[str, str], ready: re.Pattern[bytes]
) -> AsyncIterator[re.Match[bytes]]:
    """A process that is ended afterwards. Yields the line with which it says that it is ready."""
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(START_S):
            line = await _first(process.stderr, ready)
        rest = asyncio.create_task(_drain(process.stderr))
        yield line
        process.terminate()
        async with asyncio.timeout(START_S):
            await process.wait()
            await rest
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _first(lines: asyncio.StreamReader, wanted: re.Pattern[bytes]) -> re.Match[bytes]:
    while line := await lines.readline():
        if found := wanted.search(line):
            return found
    raise BidiError("the process ended before it was ready")


async def _drain(lines: asyncio.StreamReader) -> None:
    while await lines.readline():
        pass
