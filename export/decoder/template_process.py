"""A chat template's format, found in a process of its own: a template is a stranger's program,
which may never end.

Jinja's sandbox keeps it from the machine; time and memory are the process's to limit.
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from voxturn.export.decoder.template import Template
from voxturn.export.decoder.tool_format import format_with_tools
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.text.chat import ChatFormat

_CPU_S, _WAIT_S = 2, 60
"""Seconds of work, which is a hundred times a template's; and until the process is given up,
whatever it waits for."""
_BYTES = 512 << 20
"""Of memory beside what the process begins with."""


def format_apart(template: Template, path: Path) -> ChatFormat:
    """As `tool_format.format_with_tools`.

    Raises `ExportFailed`, also for a template that needs too much time or memory.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__],
            input=json.dumps(asdict(template) | {"path": str(path)}),
            capture_output=True,
            text=True,
            timeout=_WAIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise _too_much(template, path) from exc
    if done.returncode < 0 or done.stderr.rstrip().endswith("MemoryError"):  # a limit ended it
        raise _too_much(template, path)
    if done.returncode:
        *_, reason = done.stderr.splitlines() or [""]
        raise ExportFailed(
            f"{path}: {template.file} cannot be used (its process failed: {reason[:200]})"
        )
    answer = json.loads(done.stdout)
    if "refused" in answer:
        raise ExportFailed(answer["refused"])
    return ChatFormat.of({"chat": answer})


def _too_much(template: Template, path: Path) -> ExportFailed:
    return ExportFailed(
        f"{path}: {template.file} cannot be used (it takes more than {_CPU_S} s or {_BYTES >> 20} MB for dialogues "
        "of a few words)"
    )


def _main() -> None:
    """Answer one request on standard input."""
    asked = json.load(sys.stdin)
    path = Path(asked.pop("path"))
    _limit(resource.RLIMIT_CPU, math.ceil(time.process_time()) + _CPU_S)
    _limit(resource.RLIMIT_AS, _mapped_bytes() + _BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    try:
        answer = format_with_tools(Template(**asked), path).to_table()
    except ExportFailed as exc:
        answer = {"refused": str(exc)}
    json.dump(answer, sys.stdout)


def _limit(which: int, most: int) -> None:
    _, hard = resource.getrlimit(which)
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (soft, hard))


def _mapped_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    _main()
