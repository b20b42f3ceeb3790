"""Keeps the models of a server answering: loads them, asks each by canary, and heals those whose process died.

The server itself stays "ready" when a model's process is killed and never starts it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from voxturn.runtime.client.wire import TritonServer
from voxturn.runtime.errors import ServerUnavailable

_EVERY_S, _CANARY_S, _LOADED_S = 0.5, 1.0, 120.0


class Supervisor:
    """Watches `models` on one server. `report` is told, in one line, whatever happens to them."""

    def __init__(self, server: TritonServer, models: Sequence[str], report: Callable[[str], None]) -> None:
        self._server, self._models, self._report = server, list(models), report
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
                if not await self._server.answers(model, _CANARY_S):
                    await self._heal(model)

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
