"""A peer in a process of its own: the other end of `bench.coqui_peer`, `bench.llm_peer`
and `bench.session_peer`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxturn.runtime.closing import Closing
from voxturn.runtime.errors import InferenceFailed


class Peer(Closing):
    """A process that answers a line of JSON with a line of JSON.

    Use as a context. `needs`: what it takes to start.
    """

    def __init__(self, command: Sequence[str], needs: str) -> None:
        self._needs = needs
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.hello = self._answer()

    def ask(self, **request: Any) -> dict[str, Any]:
        """A request and its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise InferenceFailed(f"the peer ended with code {self._process.wait()}; {self._needs}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def coqui_peer(checkpoint: Path, threads: int) -> Peer:
    """coqui-tts with a checkpoint: requests name a method of `bench.coqui_peer.Peer` as `do`."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "voxturn.bench.coqui_peer",
        str(checkpoint),
        str(threads),
    ]
    return Peer(command, "is the extra `coqui` installed?")


def session_peer(profile: str, python: str = sys.executable) -> Peer:
    """A session on a profile's engines, in the Python that has them: a request is one spoken
    question."""
    command = [python, "-P", "-m", "voxturn.bench.session_peer", profile]
    return Peer(command, "does `voxturn doctor` find the profile whole?")


def llm_peer(python: str, kind: str, model: Path, threads: int) -> Peer:
    """A library of `bench.llm_peer` in the Python that has it."""
    script = Path(__file__).with_name("llm_peer.py")
    return Peer(
        [python, "-P", str(script), kind, str(model), str(threads)],
        f"has {python} the library of {kind}?",
    )
