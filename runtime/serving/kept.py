"""What a served model keeps for its clients between requests."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from voxturn.runtime.errors import TooManyStreams
from voxturn.runtime.flow.clock import Clock, WallClock
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.remote.contract import CLIENT as NAME

EntryT = TypeVar("EntryT")
EXPIRY_S = 600.0


@dataclass
class _Entry(Generic[EntryT]):
    value: EntryT
    client: str
    used_s: float
    users: int = 0


class Kept(Generic[EntryT]):
    """So many `places`, by ids. An entry goes when nobody has asked for it for ten minutes.

    A newcomer that finds no place is refused, unless an entry has not been asked for for `idle_s`:
    that one goes. A client may have half of the places, as may all together that give no name.
    `what` is what an error calls the entries.
    """

    def __init__(
        self,
        what: str,
        make: Callable[[], EntryT],
        places: int,
        idle_s: float = EXPIRY_S,
        clock: Clock | None = None,
    ) -> None:
        self._what = what
        self._make = make
        self._places = places
        self._idle_s = idle_s
        self._clock = clock or WallClock()
        self._entries: dict[Hashable, _Entry[EntryT]] = {}

    def __contains__(self, name: Hashable) -> bool:
        self._forget_unused()
        return name in self._entries

    @contextmanager
    def use(self, name: Hashable) -> Iterator[EntryT]:
        """What is kept under `name`, made if there is none; nothing is kept under the empty name.

        Raises `TooManyStreams` where there is no place for it.
        """
        if not name:
            yield self._make()
            return
        if name not in self:
            self._make_room()
            self._entries[name] = _Entry(self._make(), CLIENT.get(), self._clock.now())
        entry = self._entries[name]
        entry.users += 1
        try:
            yield entry.value
        finally:
            entry.users -= 1
            entry.used_s = self._clock.now()

    def values(self) -> Iterator[EntryT]:
        """Everything that is kept."""
        self._forget_unused()
        return (entry.value for entry in self._entries.values())

    def forget(self, name: Hashable) -> None:
        """Keep nothing under `name`."""
        self._entries.pop(name, None)

    def _make_room(self) -> None:
        """Find a place for one more of this client's."""
        client, share = CLIENT.get(), self._places // 2
        own = [name for name, entry in self._entries.items() if entry.client == client]
        if len(own) >= share:
            refusal = f"a client may have {share} {self._what} at once; end one first"
            if not client:
                refusal = (
                    f"clients without a name have {share} {self._what}; name yours by {NAME!r}"
                )
            self._forget_idle(own, refusal)
        elif len(self._entries) >= self._places:
            self._forget_idle(
                self._entries, f"all {self._places} {self._what} are in use; try again later"
            )

    def _forget_idle(self, names: Iterable[Hashable], refusal: str) -> None:
        unused = [name for name in names if not self._entries[name].users]
        oldest = min(unused, key=lambda name: self._entries[name].used_s, default=None)
        if oldest is None or self._entries[oldest].used_s > self._clock.now() - self._idle_s:
            raise TooManyStreams(refusal)
        del self._entries[oldest]

    def _forget_unused(self) -> None:
        expired_s = self._clock.now() - EXPIRY_S
        for name, entry in list(self._entries.items()):
            if entry.used_s < expired_s and not entry.users:
                del self._entries[name]
