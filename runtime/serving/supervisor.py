"""Keeps the models of a server answering: loads them, asks each by canary, and heals those whose process died.

The server itself stays "ready" when a model's process is killed and never starts it again. Where the process can be seen,
its end is known at once, and a model that only answers late, on a busy machine, is left alone for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from voxturn.runtime.errors import ServerUnavailable
from voxturn.runtime.serving.wire import TritonServer

_EVERY_S, _CANARY_S, _LOADED_S, _HUNG_S = 0.2, 1.0, 120.0, 15.0


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
        """Heal whatever dies, until this is cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            for model in self._models:
                if await self._is_dead(model):
                    await self._heal(model)

    async def _is_dead(self, model: str) -> bool:
        if self._process_of is None:
            return not await self._server.answers(model, _CANARY_S)
        return self._process_of(model) is None or not await self._server.answers(model, _HUNG_S)

    async def _heal(self, model: str) -> None:
        self._report(f"{model}: died; starting it again")
        try:
            await self._server.unload(model)
            await self._server.load(model)
        except ServerUnavailable as exc:
            self._report(str(exc))
            return
        if await self._server.answers(model, _LOADED_S):
            self.healed += 1
            self._report(f"{model}: answers again")
