"""A gateway on fake stages, served for real on a free port of this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.commands.keys import opened
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.gateway.transactions import Transactions
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import load_profile

from tests import servers


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.PostgresServer]:
    """A server that all tests of a process share."""
    with servers.postgres_server() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: servers.PostgresServer) -> Iterator[Transactions]:
    """The gateway's database there, without a row."""
    pytest.importorskip("psycopg")
    with opened(postgres_server.url) as database:
        for table in ("keys", "conversations", "hits", "ephemeral"):
            database.now(lambda c, t=table: c.execute(f"DELETE FROM {t}"))
        yield database


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """Around an assistant that hears and says the same, whatever comes."""
    profile = load_profile(write_profile(tmp_path / "fake"))
    async with Assistant.load(profile, Store(tmp_path / "store")) as assistant:
        yield Gateway(assistant, profile.gateway)


@pytest.fixture
async def port(gateway: Gateway) -> AsyncIterator[int]:
    """Where the gateway is served."""
    async with serving(gateway, Address(port=0)) as number:
        yield number
        gateway.settings = replace(gateway.settings, drain_s=0.0)  # nobody hears what is still said


@pytest.fixture
async def http(port: int) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the gateway."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10.0) as client:
        yield client
