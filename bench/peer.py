"""The other end of `bench.coqui_peer`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from voxturn.runtime.errors import InferenceFailed


class CoquiPeer:
    """coqui-tts in a process of its own. Use as a context."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        command = [sys.executable, "-P", "-m", "voxturn.bench.coqui_peer", str(checkpoint), str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._answer()

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Call a method of `bench.coqui_peer.Peer`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise InferenceFailed(f"the peer ended with code {self._process.wait()}; is the extra `coqui` installed?")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> CoquiPeer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
