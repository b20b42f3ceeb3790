"""Keeps the models of a server answering: loads them, asks each by canary, and heals those whose process died.

The server itself stays "ready" when a model's process is killed and never starts it again. Where the process can be seen,
its end is known at once, and a model that only answers late, on a busy machine, is left alone for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence

from voxturn.runtime.errors import ServerUnavailable
from voxturn.runtime.serving.wire import TritonServer

_EVERY_S, _CANARY_S, _LOADED_S, _HUNG_S, _RARELY_S = 0.2, 1.0, 120.0, 15.0, 10.0


class Supervisor:
    """Watches `models` on one server. `report` is told, in one line, whatever happens to them.

    `process_of` gives the process of a model, None if it has ended; left out where processes cannot be seen.
    """

    def __init__(
        self,
        server: TritonServer,
        models: Sequence[str],
        report: Callable[[str], None],
        process_of: Callable[[str], int | None] | None = None,
    ) -> None:
        self._server, self._models, self._report = server, list(models), report
        self._process_of = process_of
        self.healed = 0

    async def load(self) -> None:
        """Load every model and wait for its canary. Raises `ServerUnavailable` with the first that fails."""
        for model in self._models:
            await self._server.load(model)
            if not await self._server.answers(model, _LOADED_S):
                raise ServerUnavailable(f"{self._server.address}: model {model!r} was loaded but does not answer")
            self._report(f"{model}: answers")

    async def watch(self) -> None:
        """Heal whatever dies, until this is cancelled. A model that hangs does not keep others waiting."""
        async with asyncio.TaskGroup() as group:
            for model in self._models:
                group.create_task(self._watch(model))

    async def _watch(self, model: str) -> None:
        wait_s = _EVERY_S
        while True:
            await asyncio.sleep(wait_s)
            if await self._is_dead(model):
                wait_s = _EVERY_S if await self._heal(model) else min(2 * wait_s, _RARELY_S)

    async def _is_dead(self, model: str) -> bool:
        if self._process_of is None:
            return not await self._server.answers(model, _CANARY_S)
        return self._process_of(model) is None or not await self._server.answers(model, _HUNG_S)

    async def _heal(self, model: str) -> bool:
        self._report(f"{model}: died; starting it again")
        process = self._process_of(model) if self._process_of is not None else None
        if process is not None:  # it hangs, and an unloaded model would still wait for its requests
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        try:
            async with asyncio.timeout(_LOADED_S):
                await self._server.unload(model)
                await self._server.load(model)
        except (ServerUnavailable, TimeoutError) as exc:
            self._report(str(exc) or f"{model}: does not load")
            return False
        if not await self._server.answers(model, _LOADED_S):
            return False
        self.healed += 1
        self._report(f"{model}: answers again")
        return True
