from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from voxturn.runtime.gateway import stored_secrets
from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.realtime.secrets import Secrets, SecretsInMemory
from voxturn.runtime.gateway.stored_secrets import StoredSecrets

ANA = Caller("key_1", "ana", sessions=2, rate=60)
SESSION = '{"type": "realtime"}'


async def test_a_key_that_one_worker_made_opens_one_session_at_another(tmp_path: Path) -> None:
    now = 1000.0
    with Database(tmp_path / "a") as here, Database(tmp_path / "a") as there:
        first, second = (StoredSecrets(each, lambda: now) for each in (here, there))
        secret, until = await first.mint(ANA, SESSION, 600.0)
        assert secret.startswith("ek_")
        assert until == 1600
        wanted = Caller("key_1", "ana", SESSION, 2, 60)
        assert await second.caller(secret) == await first.caller(secret) == wanted
        assert await second.caller(secret + "a") is None
        spent = await asyncio.gather(first.spend(secret), second.spend(secret))
        assert sorted(spent) == [False, True]
        assert await second.caller(secret) is None


async def test_a_key_expires_and_is_not_in_the_file(tmp_path: Path) -> None:
    now = 1000.0
    with Database(tmp_path / "a") as database:
        kept = StoredSecrets(database, lambda: now)
        secret, _ = await kept.mint(ANA, SESSION, 10.0)
        for file in tmp_path.iterdir():
            assert secret[3:].encode() not in file.read_bytes()
        now += 10.0
        assert await kept.caller(secret) is None
        assert not await kept.spend(secret)


async def test_there_are_not_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_secrets, "MOST", 2)
    now = 1000.0
    with Database() as database:
        kept = StoredSecrets(database, lambda: now)
        for _ in range(2):
            await kept.mint(ANA, SESSION, 10.0)
        with pytest.raises(ApiError) as caught:
            await kept.mint(ANA, SESSION, 10.0)
        assert caught.value.status == 429
        now += 10.0
        await kept.mint(ANA, SESSION, 10.0)


@pytest.mark.parametrize("shared", [True, False])
async def test_a_key_has_a_share_of_them(shared: bool, tmp_path: Path) -> None:
    now = 1000.0
    with Database(tmp_path / "a") as database:
        kept: Secrets = SecretsInMemory(lambda: now)
        if shared:
            kept = StoredSecrets(database, lambda: now)
        first, _ = await kept.mint(ANA, SESSION, 10.0)
        for _ in range(255):
            await kept.mint(ANA, SESSION, 10.0)
        with pytest.raises(ApiError) as caught:
            await kept.mint(ANA, SESSION, 10.0)
        assert (caught.value.status, caught.value.code) == (429, "too_many_secrets")
        await kept.mint(Caller("key_2", "bob"), SESSION, 10.0)
        assert await kept.spend(first)
        await kept.mint(ANA, SESSION, 10.0)
