"""What a served model keeps for its clients between requests."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from voxturn.runtime.flow.clock import Clock, WallClock

KeptT = TypeVar("KeptT")
_EXPIRY_S, _MOST = 600.0, 1000


class Expiring(Generic[KeptT]):
    """What is kept by an id until nobody has asked for it for ten minutes; of too many the longest unused go."""

    def __init__(
        self,
        make: Callable[[], KeptT],
        clock: Clock | None = None,
        most: int = _MOST,
    ) -> None:
        self._make = make
        self._clock = clock or WallClock()
        self._most = most
        self._kept: OrderedDict[str, tuple[float, KeptT]] = OrderedDict()

    def of(self, name: str) -> KeptT:
        """What is kept under `name`, made if there is none; nothing is kept under the empty name."""
        now = self._clock.now()
        while self._kept and (
            len(self._kept) > self._most or next(iter(self._kept.values()))[0] < now - _EXPIRY_S
        ):
            self._kept.popitem(last=False)
        if not name:
            return self._make()
        _, kept = self._kept.pop(name, (now, None))
        kept = self._make() if kept is None else kept
        self._kept[name] = (now, kept)
        return kept

    def forget(self, name: str) -> None:
        """Keep nothing under `name`."""
        self._kept.pop(name, None)
