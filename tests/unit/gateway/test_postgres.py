"""The gateway's database in a PostgreSQL of its own, as far as it is not SQLite's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from voxturn.runtime.commands.keys import opened
from voxturn.runtime.errors import OutputNotWritable, UsageError
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.limits import Limits
from voxturn.runtime.gateway.store import Kept, StoredConversations, TakenOver
from voxturn.runtime.gateway.stored_keys import StoredKeys, all_keys, create, forget, revoke
from voxturn.runtime.gateway.stored_secrets import StoredSecrets
from voxturn.runtime.gateway.transactions import Connection, Transactions
from voxturn.runtime.gateway.windows import StoredWindows
from voxturn.runtime.gateway_settings import GatewaySettings
from voxturn.runtime.messages import Message

from tests.servers import SECRET, PostgresServer

pytest.importorskip("psycopg")

ANA = Caller("ana")
SAID = [Message("user", "What time is it in Zürich? 🕰"), Message("assistant", "Noon.")]


@pytest.fixture
def elsewhere(postgres: Transactions, postgres_server: PostgresServer) -> Iterator[Transactions]:
    """The same database, as another machine has it open."""
    with opened(postgres_server.url) as database:
        yield database


async def test_conversations_are_taken_over_from_another_machine(
    postgres: Transactions, elsewhere: Transactions
) -> None:
    here, there = (StoredConversations(each, 30.0, 100) for each in (postgres, elsewhere))
    first, second = Kept(here, "ana", "1"), Kept(there, "ana", "1")
    await first.save(SAID[:1])
    assert await second.take() == SAID[:1]
    with pytest.raises(TakenOver):
        await first.save(SAID)
    await second.save(SAID)
    assert await here.load("ana", "1") == SAID
    assert forget(postgres, "ana") == 1
    await second.save(SAID)
    assert await there.load("ana", "1") is None


async def test_keys_and_secrets_are_those_of_all_machines(
    postgres: Transactions, elsewhere: Transactions
) -> None:
    clock = ManualClock()
    keys = StoredKeys(elsewhere, False, clock)
    assert await keys.caller("vx_") is None
    key, secret = create(postgres, "ana", sessions=2, rate=60, days=1.0)
    assert all_keys(elsewhere) == [key]
    clock.advance(1.0)
    assert await keys.caller(secret) == Caller(key.id, "ana", sessions=2, rate=60)
    assert revoke(postgres, key.id)
    assert not revoke(postgres, key.id)
    clock.advance(1.0)
    assert await keys.caller(secret) is None
    with pytest.raises(UsageError):
        revoke(postgres, "key_none")
    value, _ = await StoredSecrets(postgres).mint(ANA, "{}", 60.0)
    found = await StoredSecrets(elsewhere).caller(value)
    assert found is not None
    assert (found.key, found.session) == ("ana", "{}")
    assert await StoredSecrets(elsewhere).spend(value)
    assert not await StoredSecrets(postgres).spend(value)


async def test_requests_are_counted_together(
    postgres: Transactions, elsewhere: Transactions
) -> None:
    settings = GatewaySettings(requests_per_minute=3)
    here, there = (Limits(settings, 1, StoredWindows(each)) for each in (postgres, elsewhere))
    for limits in (here, there, here):
        await limits.request(ANA)
    with pytest.raises(ApiError, match="more than 3 requests a minute"):
        await there.request(ANA)
    await StoredWindows(postgres).sweep()
    assert (await there.window(ANA))[1] == 0


async def test_work_that_fails_changes_nothing(postgres: Transactions) -> None:
    def half(connection: Connection) -> None:
        connection.execute("INSERT INTO hits VALUES (?, ?)", ("a", 1.0))
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        await postgres.write(half)
    count = await postgres.read(lambda c: c.execute("SELECT count(*) FROM hits").fetchone())
    assert count == (0,)
    with pytest.raises(UsageError, match="cannot keep"):
        await StoredConversations(postgres, 30.0, 100).save("ana", "a\0b", SAID)
    assert await StoredConversations(postgres, 30.0, 100).load("ana", "ab") is None


def process(connection: Connection) -> int:
    """The server's process for this connection."""
    number: int = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
    return number


async def test_it_is_connected_to_again(
    postgres: Transactions, postgres_server: PostgresServer
) -> None:
    kept = StoredConversations(postgres, 30.0, 100)
    own = await postgres.read(process)
    await kept.save("ana", "1", SAID)
    assert await postgres.write(process) == own
    postgres_server.stop()
    with pytest.raises(OutputNotWritable) as caught:
        await kept.load("ana", "1")
    assert SECRET not in str(caught.value)
    assert str(caught.value).startswith("postgresql://")
    with pytest.raises(OutputNotWritable):
        opened(postgres_server.url)
    postgres_server.start()
    assert await kept.load("ana", "1") == SAID
    postgres_server.stop()
    postgres_server.start()
    assert await kept.delete("ana", "1")  # nothing was lost on the way


def test_a_wrong_password_is_not_shown(
    postgres: Transactions, postgres_server: PostgresServer
) -> None:
    wrong = postgres_server.url.replace(SECRET, "s3cret")
    with pytest.raises(OutputNotWritable, match="password authentication failed") as caught:
        opened(wrong)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ana:s3%cret@db.example/a",  # pragma: allowlist secret
        "postgresql://ana:s3@cret@db.example/a",  # pragma: allowlist secret
        "postgresql://ana:s3/cret@db.example/a",
        "postgresql://ana:5432/s3cret@db.example/a",
        "postgresql://ana@db.example/a?s3cret=1",
        "postgresql://ana:s3#cret@db.example:none/a",
    ],
)
def test_of_an_address_that_is_none_nothing_is_shown(address: str) -> None:
    with pytest.raises(UsageError, match="address is none") as caught:
        opened(address)
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_one_of_a_newer_voxturn_is_left_alone(
    postgres: Transactions, postgres_server: PostgresServer
) -> None:
    postgres.now(lambda c: c.execute("INSERT INTO migrations VALUES (99)"))
    try:
        with pytest.raises(UsageError, match="newer voxturn"):
            opened(postgres_server.url)
    finally:
        postgres.now(lambda c: c.execute("DELETE FROM migrations WHERE done = 99"))
