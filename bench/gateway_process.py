"""A gateway in a process of its own, for the benches: how it is started, and what it holds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from voxturn.bench.gateway_clients import ANSWER_S
from voxturn.runtime.errors import ServerDied

_REST_S = 20.0
_REQUESTS_PER_MINUTE = 1_000_000


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    rss_mb: float
    descriptors: int
    threads: int
    sessions: int


class Server:
    """A gateway in a process of its own, with its database and its log in `folder`.

    `python`: that of the environment which has the engines. Raises `ServerDied` unless it starts.
    """

    def __init__(self, folder: Path, profile: Path, python: str = sys.executable) -> None:
        self.database = folder / "gateway.sqlite"
        self.log = folder / "log"
        command = [python, "-P", "-m", "voxturn.runtime", "serve", "gateway"]
        command += ["--profile", str(profile), "--port", "0", "--database", str(self.database)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            self._process.wait(60)
            self._process.stdout.close()
            *_, last = self.log.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
            raise ServerDied(f"the gateway did not start: {last}")
        self.port = int(self.url.rsplit(":", 1)[1])

    def ask(self, path: str) -> dict[str, Any]:
        """The JSON of an answer; that of an error, too."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=ANSWER_S) as answer:  # noqa: S310
                told: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as exc:
            with exc:
                told = json.load(exc)
        return told

    @property
    def cpu_s(self) -> float:
        """Processor time so far."""
        words = (self._about / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_mb(self) -> float:
        """Resident memory, in units of 10⁶ bytes."""
        pages = int((self._about / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def held(self) -> Held:
        """What it holds now."""
        return Held(
            self.rss_mb,
            len(list((self._about / "fd").iterdir())),
            len(list((self._about / "task").iterdir())),
            len(self.ask("/v1/sessions")["data"]),
        )

    async def rested(self, before: Held | None = None) -> Held:
        """What it holds once sessions whose clients are gone have ended; what is more than `before`
        gets some time."""
        end = time.perf_counter() + _REST_S
        while True:
            await asyncio.sleep(1.0)
            now = await asyncio.to_thread(self.held)
            more = before is not None and (
                now.descriptors > before.descriptors or now.threads > before.threads
            )
            if not (now.sessions or more) or time.perf_counter() > end:
                return now

    def end(self, number: signal.Signals) -> int:
        """End it with a signal; its exit code."""
        self._process.send_signal(number)
        code = self._process.wait(60)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def stacks(self) -> int:
        """How many stack traces it has logged."""
        return self.log.read_text(encoding="utf-8", errors="replace").count("Traceback")

    @property
    def _about(self) -> Path:
        return Path(f"/proc/{self._process.pid}")


@contextmanager
def serving(folder: Path, profile: Path, python: str = sys.executable) -> Iterator[Server]:
    """A gateway that is ended with the block."""
    server = Server(folder, profile, python)
    try:
        yield server
    finally:
        if server.alive:
            server.end(signal.SIGTERM)


def own_profile(profile: str, folder: Path, settings: Mapping[str, int | float]) -> Path:
    """A copy of a profile, shipped or of a path, whose gateway is set so and takes many requests."""
    if profile.endswith(".toml"):
        text = Path(profile).read_text(encoding="utf-8")
    else:
        shipped = resources.files("voxturn.runtime") / "profiles" / f"{profile}.toml"
        text = shipped.read_text(encoding="utf-8")
    table = {"requests_per_minute": _REQUESTS_PER_MINUTE, **settings}
    rows = [f"{name} = {value}" for name, value in table.items()]
    path = folder / "profile.toml"
    path.write_text("\n".join([text, "[gateway]", *rows, ""]), encoding="utf-8")
    return path
