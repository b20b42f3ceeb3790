"""Keeps the models of a server answering: loads them, asks each by canary, and heals those whose process died.

The server itself stays "ready" when a model's process is killed and never starts it again; now and then it dies with it,
where the model held a lock of theirs. Where processes can be seen, their end is known at once, a server is started again,
and a model that only answers late, on a busy machine, is left alone for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence

from voxturn.runtime.errors import ServerDied, ServerUnavailable, VoxturnError
from voxturn.runtime.remote.transport import TritonServer
from voxturn.runtime.serving.launcher import EmbeddedTriton

_EVERY_S, _LOADED_S, _HUNG_S, _RARELY_S = 0.2, 120.0, 15.0, 10.0


class Supervisor:
    """Watches `models` on one server. `report` is told, in one line, whatever happens to them.

    `embedded` is the server where it is a child of this process. Raises `ServerDied` from `watch` if that does not start
    again.
    """

    def __init__(
        self,
        server: TritonServer,
        models: Sequence[str],
        report: Callable[[str], None],
        embedded: EmbeddedTriton | None = None,
    ) -> None:
        self._server = server
        self._models = list(models)
        self._report = report
        self._embedded = embedded
        self.healed = self.restarted = 0

    async def load(self) -> None:
        """Load every model and wait for its canary. Raises the error of the first that fails."""
        for model in self._models:
            await self._server.load(model)
            if not await self._server.answers(model, _LOADED_S):
                raise ServerUnavailable(
                    f"{self._server.address}: model {model!r} was loaded but does not answer"
                )
            self._report(f"{model}: answers")

    async def watch(self) -> None:
        """Heal whatever dies, until this is cancelled. A model that hangs does not keep others waiting."""
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
            await asyncio.sleep(wait_s)
            if await self._is_dead(model):
                wait_s = _EVERY_S if await self._heal(model) else min(2 * wait_s, _RARELY_S)

    async def _watch_server(self, embedded: EmbeddedTriton) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            if embedded.alive:
                continue
            self._report("the server died; starting it again")
            embedded.start_again()
            if not await asyncio.to_thread(embedded.wait_until_live):
                raise ServerDied("the server died and does not start again")
            self.restarted += 1  # its models have no process now, and are healed one by one

    async def _is_dead(self, model: str) -> bool:
        if self._embedded is None:
            return not await self._server.answers(
                model, _HUNG_S
            )  # of a dead one the server says so at once
        if not self._embedded.alive:
            return False  # the server's end is another task's
        return self._embedded.process_of(model) is None or not await self._server.answers(
            model, _HUNG_S
        )

    async def _heal(self, model: str) -> bool:
        self._report(f"{model}: died; starting it again")
        process = self._embedded.process_of(model) if self._embedded is not None else None
        if process is not None:  # it hangs, and an unloaded model would still wait for its requests
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        try:
            async with asyncio.timeout(_LOADED_S):
                await self._server.unload(model)
                await self._server.load(model)
        except (VoxturnError, TimeoutError) as exc:
            self._report(str(exc) or f"{model}: does not load")
            return False
        if not await self._server.answers(model, _LOADED_S):
            return False
        self.healed += 1
        self._report(f"{model}: answers again")
        return True
