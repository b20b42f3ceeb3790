"""Whose turn it is where several clients wait: the one's that was served longest ago, so that none starves the others."""

from __future__ import annotations

from collections import OrderedDict
from contextvars import ContextVar

CLIENT: ContextVar[str] = ContextVar("voxturn_client", default="")
"""For which client tasks of this context work. Those without a name are one client together."""

_MOST = 1024


class Rounds:
    """Remembers in which order clients were served: the last thousand. Not thread-safe."""

    def __init__(self) -> None:
        self._served: OrderedDict[str, int] = OrderedDict()
        self._count = 0

    def last(self, client: str) -> int:
        """When a client was served last, as a number that grows; 0: never, or long ago."""
        return self._served.get(client, 0)

    def served(self, client: str) -> None:
        """It was its turn."""
        self._count += 1
        self._served[client] = self._count
        self._served.move_to_end(client)
        if len(self._served) > _MOST:
            self._served.popitem(last=False)
