"""Wyoming served on fake stages, and the package's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.server import Address
from voxturn.runtime.gateway.wyoming.server import serving_wyoming

from tests.wyoming_client import Client


@pytest.fixture
async def wyoming_port(gateway: Gateway) -> AsyncIterator[int]:
    """Where it is served."""
    async with serving_wyoming(gateway, Address(port=0)) as port:
        yield port


@pytest.fixture
async def client(wyoming_port: int) -> AsyncIterator[Client]:
    """Connected to it."""
    async with Client("127.0.0.1", wyoming_port) as connected:
        yield connected
