"""Removes what has expired from where the gateway keeps it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from voxturn.runtime.errors import ResourceError
from voxturn.runtime.flow.clock import Clock

_LOG = logging.getLogger(__name__)
_SWEEP_S = 3600.0


@runtime_checkable
class Swept(Protocol):
    """Keeps what expires."""

    async def sweep(self) -> None:
        """Remove what has expired. Raises `ResourceError`."""
        ...


async def sweeping(stores: Iterable[object], clock: Clock) -> None:
    """Sweep those of the stores in which something expires: now, and every hour."""
    swept = [store for store in stores if isinstance(store, Swept)]
    while True:
        for store in swept:
            try:
                await store.sweep()
            except ResourceError as exc:
                _LOG.warning("what has expired was not removed: %s", exc)
        await clock.sleep_until(clock.now() + _SWEEP_S)
