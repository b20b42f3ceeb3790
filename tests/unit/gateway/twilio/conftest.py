"""A phone's side of `/ws/twilio`, with a clock that stands still unless it is moved."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.app import application
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import load_profile

from tests.phone_client import Dialler, Phone, dialled


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(100.0)


@pytest.fixture
async def gateway(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Gateway]:
    profile = load_profile(write_profile(tmp_path / "fake"))
    store = Store(tmp_path / "store")
    async with Assistant.load(profile, store, clock=clock) as assistant:
        yield Gateway(assistant, profile.gateway, clock=clock)


@pytest.fixture
async def dial(gateway: Gateway, clock: ManualClock) -> AsyncIterator[Dialler]:
    """Opens a connection, on which nothing was said yet."""
    async with gateway:
        yield partial(dialled, application(gateway), clock)


@pytest.fixture
async def phone(dial: Dialler) -> AsyncIterator[Phone]:
    """A call that has begun."""
    async with dial() as phone:
        phone.start()
        await phone.settle()
        yield phone
