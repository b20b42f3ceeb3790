"""A warm process that runs voxturn's command line on hostile files, one after the other, and tells
what each run did.

`python -P warm.py` reads a line of JSON with `argv` for each run, and answers with a line: what
`run` returns.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_STARTS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.fork")


class Audit:
    """What Python opens, connects to and starts.

    A hook cannot be taken out again, so there is one for all runs.
    """

    def __init__(self) -> None:
        self.clear()
        sys.addaudithook(self._heard)

    def clear(self) -> None:
        self.read: list[str] = []
        self.written: list[str] = []
        self.reached: list[str] = []

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes):
            writes = bool(args[2] & _WRITES) if isinstance(args[2], int) else False
            (self.written if writes else self.read).append(os.fsdecode(args[0]))
        elif event in ("socket.connect", "socket.bind"):
            self.reached.append(f"{event} {args[1]!r}")
        elif event in _STARTS:
            self.reached.append(f"{event} {args!r}")


def _memory_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def _cpu_s() -> float:
    """Of this process and of those that it started and waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def run(audit: Audit, argv: list[str]) -> dict[str, Any]:
    """One command, as if it had been typed."""
    from voxturn.runtime.cli import main

    told = io.StringIO()
    _forget_peak()
    idle_mb, begin_s = _memory_mb("VmRSS"), _cpu_s()
    audit.clear()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
        try:
            code = main(argv)
        except SystemExit as exc:  # argparse
            code = exc.code if isinstance(exc.code, int) else 1
    did = {"read": audit.read, "written": audit.written, "reached": audit.reached}
    audit.clear()
    cpu_s, peak_mb = _cpu_s() - begin_s, _memory_mb("VmHWM") - idle_mb
    return {"code": code, "told": told.getvalue(), "cpu_s": cpu_s, "peak_mb": peak_mb} | did


def main() -> None:
    """Answer one line for each line, until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    for library in ("ctranslate2", "onnxruntime", "torch"):  # no part of what a file takes
        importlib.import_module(library)
    audit = Audit()
    for line in sys.stdin:
        json.dump(run(audit, json.loads(line)["argv"]), answers)
        answers.write("\n")
        answers.flush()


if __name__ == "__main__":
    main()
