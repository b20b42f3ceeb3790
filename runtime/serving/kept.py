"""What a served model keeps for its clients between requests."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from voxturn.runtime.flow.clock import Clock, WallClock

EntryT = TypeVar("EntryT")
_EXPIRY_S, _MOST = 600.0, 1000


class Expiring(Generic[EntryT]):
    """What is kept by an id until nobody has asked for it for ten minutes; of too many the longest unused go."""

    def __init__(
        self,
        make: Callable[[], EntryT],
        clock: Clock | None = None,
        most: int = _MOST,
    ) -> None:
        self._make = make
        self._clock = clock or WallClock()
        self._most = most
        self._entries: OrderedDict[str, tuple[float, EntryT]] = OrderedDict()

    def of(self, name: str) -> EntryT:
        """What is kept under `name`, made if there is none; nothing is kept under the empty name."""
        now = self._clock.now()
        while self._entries and (
            len(self._entries) > self._most
            or next(iter(self._entries.values()))[0] < now - _EXPIRY_S
        ):
            self._entries.popitem(last=False)
        if not name:
            return self._make()
        _, entry = self._entries.pop(name, (now, None))
        entry = self._make() if entry is None else entry
        self._entries[name] = (now, entry)
        return entry

    def forget(self, name: str) -> None:
        """Keep nothing under `name`."""
        self._entries.pop(name, None)
