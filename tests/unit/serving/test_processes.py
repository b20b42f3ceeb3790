"""Processes as /proc shows them, on real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from voxturn.runtime.serving.processes import (
    command_of,
    descendants,
    has_ended,
    state_of,
    waits_for_machine,
)

PROGRAM = "import signal, sys; print('up', flush=True); signal.pause()"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """A process that waits, and is there."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", PROGRAM], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
        process.kill()


def test_a_process_that_was_stopped_is_told_from_one_that_waits(
    child: subprocess.Popen[str],
) -> None:
    waiting = state_of(child.pid)
    assert waiting is not None
    assert not waiting.stopped
    assert not all(waits_for_machine(child.pid) for _ in range(10_000))  # it goes to sleep
    assert waits_for_machine(os.getpid())  # it runs
    os.kill(child.pid, signal.SIGSTOP)
    os.waitpid(child.pid, os.WUNTRACED)  # until it is
    stopped = state_of(child.pid)
    assert stopped is not None
    assert stopped.stopped
    assert stopped.work >= waiting.work


def test_a_process_that_has_ended_has_no_state(child: subprocess.Popen[str]) -> None:
    assert child.pid in descendants(os.getpid())
    assert PROGRAM in command_of(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not waited for yet
    assert state_of(child.pid) is None
    assert command_of(child.pid) == ""
    assert not waits_for_machine(child.pid)
    child.wait()
    assert state_of(child.pid) is None
    assert has_ended(str(child.pid))
    assert not has_ended("voxturn")
    assert not has_ended(str(os.getpid()))


def test_what_a_process_computes_is_counted() -> None:
    before = state_of(os.getpid())
    assert before is not None
    while (now := state_of(os.getpid())) is not None and now.work == before.work:
        Path("/proc/self/stat").read_text()
    assert now is not None
    assert now.work > before.work
