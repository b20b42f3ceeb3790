"""Whose turn it is where several clients wait: the one's that was served longest ago, so that none
starves the others."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from contextvars import ContextVar

CLIENT: ContextVar[str] = ContextVar("voxturn_client", default="")
"""For which client tasks of this context work. Those without a name are one client together."""

_MOST = 1024


def holders_of_most(clients: Iterable[str]) -> tuple[int, set[str]]:
    """How many of some places whoever has the most of them has, and all who have as many. `clients`
    says of each place whose it is."""
    held = Counter(clients)
    most = max(held.values(), default=0)
    return most, {client for client, count in held.items() if count == most}


class Rounds:
    """Remembers in which order clients were served: the last thousand. Not thread-safe.

    A newcomer comes before the client that was served last and after those that wait already:
    whoever gave himself a new name with every request would else come first for ever.
    """

    def __init__(self) -> None:
        self._served: OrderedDict[str, int] = OrderedDict()
        self._count = 1

    def last(self, client: str) -> int:
        """When a client was served last, as a number that grows, or came; 0: neither, or long ago."""
        return self._served.get(client, 0)

    def came(self, client: str) -> None:
        """It waits for its turn."""
        if client not in self._served:
            self._note(client, 2 * self._count - 1)

    def served(self, client: str) -> None:
        """It was its turn."""
        self._count += 1
        self._note(client, 2 * self._count)

    def _note(self, client: str, when: int) -> None:
        self._served[client] = when
        self._served.move_to_end(client)
        if len(self._served) > _MOST:
            self._served.popitem(last=False)
