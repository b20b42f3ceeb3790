"""A gateway with the keys of two callers, and what it serves by name."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from voxturn.runtime.assistant import Assistant
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.gateway.store import StoredConversations
from voxturn.runtime.gateway.stored_keys import StoredKeys, create
from voxturn.runtime.gateway_settings import GatewaySettings
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import load_profile

LIVE_S = 20.0


@dataclass(frozen=True)
class House:
    """A served gateway. `ana` and `bo` are secrets, `ids` the ids of their keys."""

    gateway: Gateway
    port: int
    database: Database
    ana: str
    bo: str
    ids: tuple[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def house(
    folder: Path, settings: GatewaySettings | None = None, keys: bool = True
) -> AsyncIterator[House]:
    """A gateway on fake stages; without `keys` everyone may call it."""
    profile = load_profile(write_profile(folder / "fake"))
    with Database(folder / "gateway.sqlite") as database:
        (ana, ana_secret), (bo, bo_secret) = [
            create(database, name) if keys else (None, "") for name in ("ana", "bo")
        ]
        kept = StoredConversations(database, 30.0, 100)
        async with Assistant.load(profile, Store(folder / "store")) as assistant:
            gateway = Gateway(assistant, settings or profile.gateway, StoredKeys(database), kept)
            ids = (ana.id if ana else "", bo.id if bo else "")
            async with serving(gateway, Address(port=0)) as port:
                yield House(gateway, port, database, ana_secret, bo_secret, ids)


def filled(path: str) -> str:
    """A route's path with something in its places."""
    return re.sub(r"\{[^}]*\}", "something", path)
