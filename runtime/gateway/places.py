"""Places for what runs at once: conversations, texts that are spoken, requests, connections."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Protocol


class Places(Protocol):
    """A number of places: `OwnPlaces`, or the `Leases` that other processes count as well."""

    @property
    def most(self) -> int:
        """How many there are."""
        ...

    def taken(self, key: str | None = None) -> int:
        """How many are taken by anyone, or by a key."""
        ...

    def take(self, key: str, most_of_key: int) -> int | str:
        """The number of the place that was taken; else what is full: "all" or "key"."""
        ...

    def leave(self, place: int) -> None:
        """Free a place."""
        ...


class OwnPlaces:
    """The `most` places of a single process."""

    def __init__(self, most: int = sys.maxsize) -> None:
        self.most = most
        self._keys: dict[int, str] = {}
        self._counts: Counter[str] = Counter()
        self._next = 0

    def taken(self, key: str | None = None) -> int:
        """How many are taken by anyone, or by a key."""
        return len(self._keys) if key is None else self._counts[key]

    def take(self, key: str, most_of_key: int) -> int | str:
        """The number of the place that was taken; else what is full: "all" or "key"."""
        if len(self._keys) >= self.most:
            return "all"
        if self._counts[key] >= most_of_key:
            return "key"
        self._next += 1
        self._keys[self._next] = key
        self._counts[key] += 1
        return self._next

    def leave(self, place: int) -> None:
        """Free a place."""
        key = self._keys.pop(place)
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]
