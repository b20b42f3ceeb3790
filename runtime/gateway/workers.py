"""Several processes of the gateway, kept running by one that computes nothing itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from typing import Any

from voxturn.runtime.flow.clock import Clock, WallClock, done_by
from voxturn.runtime.flow.handoff import cancel_all, cancel_and_wait

_LOG = logging.getLogger(__name__)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0
_SETTLED_S = 60.0
"""A worker that ran for so long failed by accident: the next is begun without a long wait."""
_SPARE_S = 15.0
"""What a worker gets beyond the time of its running turns: to close, and to free its models."""


def _ignored(_: int) -> None:
    """Nobody wants it."""


class Workers:
    """`count` processes of one command, which says on standard output when it is ready, and ends
    when its standard input does: with this process, however that ends.

    `files`: numbers of open files that they inherit. Whatever a worker says on standard error is
    shown; `report` is told of its end, `ended` its process's number.
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        files: Sequence[int] = (),
        drain_s: float = 30.0,
        clock: Clock | None = None,
        report: Callable[[str], None] = _LOG.warning,
        ended: Callable[[int], None] = _ignored,
    ) -> None:
        self._command = command
        self._count = count
        self._files = files
        self._drain_s = drain_s
        self._clock = clock or WallClock()
        self._report = report
        self._ended = ended
        self._processes: dict[int, Process] = {}
        self._stopping = asyncio.Event()

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [process.pid for process in self._processes.values()]

    async def run(self, stop: asyncio.Event, ready: Callable[[], None] = lambda: None) -> int:
        """Run until `stop` is set and all have ended. Returns the exit code: another than 0 is that
        of a worker that ended before all were `ready` for the first time."""
        begun = [asyncio.Event() for _ in range(self._count)]
        failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        tasks = [
            asyncio.create_task(self._keep(number, begun, failed)) for number in range(self._count)
        ]
        first = asyncio.create_task(_all_set(begun))
        stopped = asyncio.create_task(stop.wait())
        try:
            ends: list[asyncio.Future[Any]] = [first, stopped, failed]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if first.done() and not failed.done():
                ready()
                await stopped
            return failed.result() if failed.done() else 0
        finally:
            failed.cancel()
            try:
                await cancel_all([first, stopped])
            finally:
                await self._end(tasks)

    async def _keep(
        self, number: int, begun: Sequence[asyncio.Event], failed: asyncio.Future[int]
    ) -> None:
        """Begin a worker, and another when it has died."""
        wait_s = _FIRST_WAIT_S
        while not self._stopping.is_set():
            since = self._clock.now()
            code = await self._one(number, begun[number])
            if self._stopping.is_set():
                return
            if not all(event.is_set() for event in begun):
                if not failed.done():
                    failed.set_result(code if code > 0 else 7)
                return
            if self._clock.now() - since >= _SETTLED_S:
                wait_s = _FIRST_WAIT_S
            self._report(f"worker {number} ended ({code}); another begins in {wait_s:.0f} s")
            ending = asyncio.ensure_future(self._stopping.wait())
            await done_by(self._clock, ending, self._clock.now() + wait_s)
            await cancel_and_wait(ending)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _one(self, number: int, begun: asyncio.Event) -> int:
        """A worker's exit code, once it has ended."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=self._files,
            start_new_session=True,  # a terminal's Ctrl-C is passed on by us, once
        )
        self._processes[number] = process
        if self._stopping.is_set():
            process.terminate()
        try:
            assert process.stdout is not None
            while await process.stdout.read(4096):
                begun.set()
            return await process.wait()
        finally:
            del self._processes[number]
            self._ended(process.pid)

    async def _end(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Let all end by themselves, then end those that have not."""
        self._stopping.set()
        for process in list(self._processes.values()):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        ended = asyncio.ensure_future(asyncio.wait(tasks))
        if not await done_by(self._clock, ended, self._clock.now() + self._drain_s + _SPARE_S):
            for process in list(self._processes.values()):
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        await ended
        for task in tasks:
            task.result()


async def _all_set(events: Sequence[asyncio.Event]) -> None:
    for event in events:
        await event.wait()
