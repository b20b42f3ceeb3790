"""Keeps the models of a server answering: loads them, asks each by canary, and heals those whose
process died or hangs.

The server itself stays "ready" when a model's process is killed and never starts it again; now and
then it dies with it, where the model held a lock of theirs. Where processes can be seen, their end
is known at once, a server is started again, and a model that only answers late, on a busy machine,
is told from one that hangs: it works.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
from collections.abc import Callable, Sequence
from typing import Protocol

from voxturn.runtime.errors import ServerDied, ServerUnavailable, VoxturnError
from voxturn.runtime.flow.clock import NEVER, Clock, WallClock, done_by
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.remote.transport import TritonServer
from voxturn.runtime.serving.launcher import EmbeddedTriton
from voxturn.runtime.serving.processes import ProcessState

_EVERY_S, _CANARY_S, _UNLOADED_S, _LOADED_S, _RARELY_S = 0.2, 5.0, 5.0, 120.0, 10.0
_STARTS = 2
_STOPPED, _IDLE, _SILENT = 2, 15, 75
"""Looks, one every `_EVERY_S`, after which a model that owes an answer hangs: stopped by a signal
at each, at each without having worked since the last or waiting for the machine, or at all. Looks
and not seconds: they stand still while this process does."""


class Started(Protocol):
    """A server on this machine, for whoever started it: its gRPC port and its secret."""

    grpc: int
    secret: str


def control(server: Started) -> TritonServer:
    """A connection that may also load models. Close it when done."""
    return TritonServer(f"127.0.0.1:{server.grpc}", secret=server.secret)


class Silence:
    """A model that owes an answer, judged by how its process is, look by look."""

    def __init__(self) -> None:
        self._looks = 0
        self._stopped = 0
        self._idle = 0
        self._work = -1

    def hangs(self, process: ProcessState, waits: Callable[[], bool]) -> bool:
        """Whether it hangs, by one more look.

        `waits`: whether a thread of it waits for a processor or a disk; asked where none worked.
        """
        self._looks += 1
        self._stopped = self._stopped + 1 if process.stopped else 0
        self._idle = self._idle + 1 if process.work == self._work and not waits() else 0
        self._work = process.work
        return self._stopped >= _STOPPED or self._idle >= _IDLE or self._looks >= _SILENT


class Supervisor:
    """Watches `models` on one server. `report` is told, in one line, whatever happens to them.

    `embedded` is the server where it is a child of this process. Raises `ServerDied` from `watch`
    if that does not start again.
    """

    def __init__(
        self,
        server: TritonServer,
        models: Sequence[str],
        report: Callable[[str], None],
        embedded: EmbeddedTriton | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._server = server
        self._models = list(models)
        self._report = report
        self._embedded = embedded
        self._clock = clock or WallClock()
        self._serving = asyncio.Event()
        self._serving.set()
        self.healed = self.restarted = 0

    async def load(self) -> None:
        """Load every model and wait for its canary. Raises the error of the first that fails."""
        for model in self._models:
            await self._server.load(model)
            if not await self._server.answers(model, _LOADED_S):
                raise ServerUnavailable(
                    f"{self._server.address}: model {model!r} was loaded but did not answer in "
                    f"{_LOADED_S:.0f} s; serve fewer models, or on a machine that is less busy"
                )
            self._report(f"{model}: answers")

    async def watch(self) -> None:
        """Heal whatever dies, until this is cancelled.

        A model that hangs does not keep others waiting.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for model in self._models:
                    group.create_task(self._watch(model))
                if self._embedded is not None:
                    group.create_task(self._watch_server(self._embedded))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _watch(self, model: str) -> None:
        wait_s = _EVERY_S
        while True:
            await self._pause(wait_s)
            await self._serving.wait()
            if await self._is_dead(model):
                wait_s = _EVERY_S if await self._heal(model) else min(2 * wait_s, _RARELY_S)

    async def _watch_server(self, embedded: EmbeddedTriton) -> None:
        stopped = 0
        while True:
            await self._pause(_EVERY_S)
            stopped = stopped + 1 if embedded.stopped else 0
            if embedded.alive and stopped < _STOPPED:
                continue
            self._report(f"the server {'hangs' if stopped else 'died'}; starting it again")
            self._serving.clear()
            if not await self._start_again(embedded):
                raise ServerDied("the server died and does not start again")
            self.restarted += 1  # its models have no process now, and are healed one by one
            self._serving.set()

    async def _start_again(self, embedded: EmbeddedTriton) -> bool:
        """Start the server, once more where it ends by itself; whether it answers."""
        for _ in range(_STARTS):
            embedded.start_again()
            if await asyncio.to_thread(embedded.wait_until_live):
                return True
            self._report(f"the server did not start: {embedded.last_words}")
            if not embedded.crashed:
                break
        return False

    async def _is_dead(self, model: str) -> bool:
        """Ask a model by canary: whether it has no process any more, hangs, or answers with an
        error."""
        if self._embedded is None:
            return await self._is_silent(model)
        return await self._hangs(model, self._embedded) and self._has_server(self._embedded)

    async def _is_silent(self, model: str) -> bool:
        """Whether a model whose process cannot be seen leaves two canaries unanswered.

        Of a dead one the server says so at once, so that only one that is late is waited for.
        """
        first = await self._server.answers(model, _CANARY_S)
        return not (first or await self._server.answers(model, _CANARY_S))

    async def _hangs(self, model: str, embedded: EmbeddedTriton) -> bool:
        """Whether a model's process has ended, hangs while it owes an answer, or answers with an
        error."""
        silence = Silence()
        canary = asyncio.ensure_future(self._server.answers(model, NEVER))
        try:
            while not canary.done():
                process = embedded.state_of(model)
                waits = functools.partial(embedded.waits_for_machine, model)
                if process is None or silence.hangs(process, waits):
                    return True
                await done_by(self._clock, canary, self._clock.now() + _EVERY_S)
            return not canary.result()
        finally:
            await cancel_and_wait(canary)

    def _has_server(self, embedded: EmbeddedTriton) -> bool:
        """Whether there is a server; its end is another task's."""
        return self._serving.is_set() and embedded.alive

    async def _heal(self, model: str) -> bool:
        process = self._embedded.process_of(model) if self._embedded is not None else None
        self._report(f"{model}: {'hangs' if process else 'died'}; starting it again")
        if process is not None:  # an unloaded model would still wait for its requests
            _kill(process)
        try:
            await self._load_again(model)
        except VoxturnError as exc:
            self._report(str(exc))
            return False
        self.healed += 1
        self._report(f"{model}: answers again")
        return True

    async def _load_again(self, model: str) -> None:
        """Unload a model and load it. Raises the error of what fails.

        A server that waits for a lock of the dead process never ends to unload it, and is ended.
        """
        try:
            async with asyncio.timeout(_UNLOADED_S):
                await self._server.unload(model)
        except TimeoutError as exc:
            if self._embedded is not None:
                _kill(self._embedded.pid)
            raise ServerUnavailable(f"{model}: the server does not unload it") from exc
        try:
            async with asyncio.timeout(_LOADED_S):
                await self._server.load(model)
        except TimeoutError as exc:
            raise ServerUnavailable(f"{model}: does not load within {_LOADED_S:.0f} s") from exc
        if not await self._server.answers(model, _LOADED_S):
            raise ServerUnavailable(f"{model}: was loaded but does not answer")

    async def _pause(self, seconds: float) -> None:
        await self._clock.sleep_until(self._clock.now() + seconds)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
