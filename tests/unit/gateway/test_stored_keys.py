from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from voxturn.runtime.errors import UsageError
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway.keys import ANYONE, Caller
from voxturn.runtime.gateway.store import StoredConversations
from voxturn.runtime.gateway.stored_keys import StoredKeys, all_keys, create, forget, revoke
from voxturn.runtime.messages import Message

NOW = 1_800_000_000.0
DAY_S = 86_400.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "gateway.sqlite") as opened:
        yield opened


@pytest.fixture
def elsewhere(database: Database, tmp_path: Path) -> Iterator[Database]:
    """The same file, as another process has it open."""
    with Database(tmp_path / "gateway.sqlite") as opened:
        yield opened


def keys_of(database: Database, clock: ManualClock, everyone: bool | None = None) -> StoredKeys:
    return StoredKeys(database, everyone, clock, lambda: NOW + clock.now())


async def test_a_key_is_known_by_its_secret(database: Database) -> None:
    key, secret = create(database, "ana", sessions=2, rate=60, now=NOW)
    keys = keys_of(database, ManualClock())
    assert secret.startswith("vx_")
    assert len(secret) == 46
    assert await keys.caller(secret) == Caller(key.id, "ana", sessions=2, rate=60)
    for other in ("", "vx_", secret[:-1], secret + "a", secret.lower(), key.id, key.hash.hex()):
        assert await keys.caller(other) is None
    assert await keys.valid(key.id)
    assert not await keys.valid("key_other")
    assert not await keys.valid("")


async def test_the_file_has_no_secret(database: Database, tmp_path: Path) -> None:
    _, secret = create(database, "ana")
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes()
        assert secret[3:].encode() not in file.read_bytes()


async def test_what_another_process_does_is_seen_within_a_second(
    database: Database, elsewhere: Database
) -> None:
    clock = ManualClock()
    keys = keys_of(database, clock)
    assert await keys.caller("anything") == ANYONE
    assert await keys.valid("")
    key, secret = create(elsewhere, "ana", now=NOW)
    assert await keys.caller("anything") == ANYONE  # not asked yet
    clock.advance(1.0)
    assert await keys.caller("anything") is None
    assert not await keys.valid("")
    assert await keys.caller(secret) == Caller(key.id, "ana")
    assert revoke(elsewhere, key.id, now=NOW)
    clock.advance(1.0)
    assert await keys.caller(secret) is None
    assert not await keys.valid(key.id)
    assert not revoke(elsewhere, key.id)


async def test_revoking_the_last_key_opens_nothing(database: Database) -> None:
    key, _ = create(database, "ana", now=NOW)
    revoke(database, key.id, now=NOW)
    assert await keys_of(database, ManualClock()).caller("") is None


async def test_a_key_expires(database: Database) -> None:
    key, secret = create(database, "ana", days=2, now=NOW)
    clock = ManualClock()
    keys = keys_of(database, clock)
    clock.advance(2 * DAY_S - 1)
    assert await keys.caller(secret) is not None
    clock.advance(1)
    assert await keys.caller(secret) is None
    assert not await keys.valid(key.id)


async def test_who_may_call_without_a_key(database: Database) -> None:
    clock = ManualClock()
    assert await keys_of(database, clock, everyone=False).caller("") is None
    key, secret = create(database, "ana", now=NOW)
    everyone = keys_of(database, clock, everyone=True)
    assert await everyone.caller("") == ANYONE
    assert await everyone.caller("vx_unknown") == ANYONE
    assert await everyone.caller(secret) == Caller(key.id, "ana")
    assert await everyone.valid("")


async def test_all_keys_are_listed_and_their_conversations_forgotten(database: Database) -> None:
    (first, _), (second, _) = create(database, "ana", now=NOW), create(database, "bo", now=NOW + 1)
    revoke(database, second.id, now=NOW + 2)
    assert [(key.name, key.revoked) for key in all_keys(database)] == [
        ("ana", None),
        ("bo", NOW + 2),
    ]
    kept = StoredConversations(database, 1.0, 10)
    for key in (first, second):
        await kept.save(key.id, "1", [Message("user", "Hello.")])
    assert forget(database, second.id) == 1
    assert await kept.load(first.id, "1") is not None
    with pytest.raises(UsageError, match="no key key_none"):
        revoke(database, "key_none")
