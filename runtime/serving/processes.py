"""Processes of this machine, as /proc shows them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessState:
    """A process that lives.

    `work`: clock ticks for which its threads computed, and pages that they waited for on the disk.
    """

    stopped: bool
    work: int


def state_of(pid: int) -> ProcessState | None:
    """How a process is; None for one that has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *numbers = stat.rpartition(")")[2].split()  # what is before it may have any sign
    if state in "ZX":
        return None
    page_faults, user_ticks, system_ticks = (int(numbers[i]) for i in (8, 10, 11))
    return ProcessState(state == "T", page_faults + user_ticks + system_ticks)


def waits_for_machine(pid: int) -> bool:
    """Whether a thread of a process runs, is in line for a processor, or waits for a disk.

    It reads every thread's state: some milliseconds for a hundred.
    """
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
            if state in "RD":
                return True
    return False


def descendants(pid: int) -> Iterator[int]:
    """The processes that a process started and that live, theirs included."""
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from descendants(int(child))


def command_of(pid: int) -> str:
    """A process's command line; empty for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def has_ended(pid: str) -> bool:
    """Whether `pid` is a process's number, and none has it."""
    return pid.isdigit() and not Path("/proc", pid).exists()
