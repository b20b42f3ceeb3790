"""The package's Wyoming client, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wyoming.client import AsyncTcpClient
from wyoming.event import Event, Eventable


class Client(AsyncTcpClient):
    """The package's client, which does not wait for ever."""

    async def tell(self, *events: Eventable) -> None:
        for event in events:
            await self.write_event(event.event())

    async def read(self) -> Event | None:
        async with asyncio.timeout(10):
            return await self.read_event()

    async def until(self, last: str) -> list[Event]:
        """Events to the first of a type."""
        events: list[Event] = []
        while not events or events[-1].type != last:
            event = await self.read()
            assert event is not None, [each.type for each in events]
            events.append(event)
        return events

    async def rest(self) -> list[Event]:
        """Events until the server closes."""
        events = []
        while (event := await self.read()) is not None:
            events.append(event)
        return events


def types(events: Sequence[Event]) -> list[str]:
    """What came, each kind once in a row."""
    found = [event.type for event in events]
    return [kind for i, kind in enumerate(found) if i == 0 or kind != found[i - 1]]
