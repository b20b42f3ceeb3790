"""What a served model keeps for its clients between requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from voxturn.runtime.errors import TooManyStreams
from voxturn.runtime.flow.clock import Clock, WallClock
from voxturn.runtime.flow.fairness import CLIENT, holders_of_most
from voxturn.runtime.remote.contract import CLIENT as NAME

EntryT = TypeVar("EntryT")
EXPIRY_S = 600.0


@dataclass
class _Entry(Generic[EntryT]):
    value: EntryT
    used_s: float
    users: int = 0


class Kept(Generic[EntryT]):
    """So many `places`, by the client that a request is of (`fairness.CLIENT`) and a name that it
    chooses. An entry goes when nobody has asked for it for ten minutes.

    A client may have half of the places, as may all together that give no name. A newcomer that
    finds no place gets that of an entry that has not been asked for for `idle_s`, or else of the
    clients with the most entries the one that was asked for longest ago, if they still have as many
    as he has then; or else he is refused. What is in use stays. `what` is what an error calls the
    entries.
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
        self._entries: dict[tuple[str, str], _Entry[EntryT]] = {}

    def __contains__(self, name: str) -> bool:
        self._forget_unused()
        return (CLIENT.get(), name) in self._entries

    @contextmanager
    def use(self, name: str) -> Iterator[EntryT]:
        """What is kept for the client under `name`, made if there is none; nothing is kept under
        the empty name.

        Raises `TooManyStreams` where there is no place for it.
        """
        if not name:
            yield self._make()
            return
        key = (CLIENT.get(), name)
        if name not in self:
            self._make_room()
            self._entries[key] = _Entry(self._make(), self._clock.now())
        entry = self._entries[key]
        entry.users += 1
        try:
            yield entry.value
        finally:
            entry.users -= 1
            entry.used_s = self._clock.now()

    def values(self) -> Iterator[EntryT]:
        """Everything that is kept, whoever it is of."""
        self._forget_unused()
        return (entry.value for entry in self._entries.values())

    def forget(self, name: str) -> None:
        """Keep nothing for the client under `name`."""
        self._entries.pop((CLIENT.get(), name), None)

    def _make_room(self) -> None:
        """Find a place for one more of this client's."""
        client, share = CLIENT.get(), self._places // 2
        own = [key for key in self._entries if key[0] == client]
        if len(own) >= share:
            refusal = f"a client may have {share} {self._what} at once; end one first"
            if not client:
                refusal = (
                    f"clients without a name have {share} {self._what}; name yours by {NAME!r}"
                )
            self._forget_one(own, refusal, self._idle_s)
        elif len(self._entries) >= self._places:
            self._forget_of_others(len(own))

    def _forget_of_others(self, held: int) -> None:
        """Take a place for a client that has `held`."""
        refusal = f"all {self._places} {self._what} are in use; try again later"
        most, clients = holders_of_most(client for client, _ in self._entries)
        try:
            self._forget_one(self._entries, refusal, self._idle_s)
        except TooManyStreams:
            if most <= held + 1:
                raise
            self._forget_one([key for key in self._entries if key[0] in clients], refusal)

    def _forget_one(
        self, keys: Iterable[tuple[str, str]], refusal: str, idle_s: float = 0.0
    ) -> None:
        """Forget the one that was asked for longest ago, at least `idle_s` ago; or raise."""
        unused = [key for key in keys if not self._entries[key].users]
        oldest = min(unused, key=lambda key: self._entries[key].used_s, default=None)
        if oldest is None or self._entries[oldest].used_s > self._clock.now() - idle_s:
            raise TooManyStreams(refusal)
        del self._entries[oldest]

    def _forget_unused(self) -> None:
        expired_s = self._clock.now() - EXPIRY_S
        for key, entry in list(self._entries.items()):
            if entry.used_s < expired_s and not entry.users:
                del self._entries[key]
