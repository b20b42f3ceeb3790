"""Reads every hostile recording in a folder, in a process of its own, and says what each took: a
JSON object a line."""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from pathlib import Path

from voxturn.runtime.audio.decode import decode
from voxturn.runtime.errors import AudioError

from tests.recordings import RATE
from tests.security.audio_files import sound
from tests.security.hostile_audio import AUDIO

_MOST = 4 << 30
"""What the process may address: a test that fails must not take the machine with it."""


def heard(path: Path) -> tuple[int, AudioError | None]:
    """How many samples came of a recording, and the error that ended it."""
    count = 0
    try:
        for piece in decode(path, RATE, RATE):
            count += piece.size
    except AudioError as exc:
        return count, exc
    return count, None


def _memory_mb(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def main(folder: Path) -> None:
    """One line for each."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST, _MOST))
    honest = folder / "decoy-honest.mp3"
    honest.write_bytes(sound("mp3"))
    heard(honest)
    for name, write in AUDIO.items():
        write(folder / name)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins here
        idle, began = _memory_mb("VmRSS"), time.monotonic()
        count, error = heard(folder / name)
        peak, took = _memory_mb("VmHWM") - idle, time.monotonic() - began
        line = [name, type(error).__name__, count / RATE, peak, took]
        sys.stdout.write(f"{json.dumps(line)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
