from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway.store import (
    Conversations,
    InMemory,
    Kept,
    NotKept,
    SqliteConversations,
    capped,
)
from voxturn.runtime.gateway.stored_keys import forget
from voxturn.runtime.messages import Message, ToolCall

DIALOGUE = [
    Message("system", "Be brief."),
    Message("user", "What time is it in Zürich? 🕰"),
    Message("assistant", "", ids=(1, 2), calls=(ToolCall("c1", "time", {"in": ["CH", None]}),)),
    Message("tool", "12:00", call_id="c1"),
    Message("assistant", "It is noon.", ids=(3,)),
]


class Wall:
    """A clock of the day that stands still."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest) -> Callable[[Database], Conversations]:
    kinds: dict[str, Callable[[Database], Conversations]] = {
        "memory": lambda database: InMemory(),
        "sqlite": lambda database: SqliteConversations(database, 30.0, 100),
    }
    return kinds[request.param]


async def test_a_conversation_is_its_key_s_alone(
    make: Callable[[Database], Conversations],
) -> None:
    with Database() as database:
        kept = make(database)
        await kept.save("ana", "1", DIALOGUE)
        await kept.save("ana", "2", DIALOGUE[:1])
        await kept.save("bo", "1", DIALOGUE[:2])
        assert await kept.load("ana", "1") == DIALOGUE
        assert await kept.load("bo", "1") == DIALOGUE[:2]
        assert await kept.load("bo", "2") is None
        assert not await kept.delete("bo", "2")
        assert await kept.delete("ana", "2")
        assert await kept.load("ana", "2") is None
        await kept.save("ana", "3", DIALOGUE)
        assert await kept.delete_all("ana") == 2
        assert await kept.load("ana", "1") is None
        assert await kept.load("bo", "1") == DIALOGUE[:2]


async def test_what_was_deleted_does_not_come_back_by_a_session(
    make: Callable[[Database], Conversations],
) -> None:
    with Database() as database:
        kept = make(database)
        first = Kept(kept, "ana", "1", there=False)
        await first.save(DIALOGUE[:2])
        await first.save(DIALOGUE)
        second = Kept(kept, "ana", "1", there=True)
        assert await kept.load("ana", "1") == DIALOGUE
        await kept.delete_all("ana")
        for session in (first, second):
            await session.save(DIALOGUE)
            assert await kept.load("ana", "1") is None
        await Kept(kept, "ana", "1", there=False).save(DIALOGUE[:1])
        await first.save(DIALOGUE)  # nor over what was begun under its name since
        assert await kept.load("ana", "1") == DIALOGUE[:1]


async def test_another_process_may_delete_it(tmp_path: Path) -> None:
    with Database(tmp_path / "a") as ours, Database(tmp_path / "a") as theirs:
        kept = SqliteConversations(ours, 30.0, 100)
        session = Kept(kept, "ana", "1", there=False)
        await session.save(DIALOGUE)
        assert forget(theirs, "ana") == 1
        await session.save(DIALOGUE)
        assert await kept.load("ana", "1") is None


async def test_it_outlives_the_process_without_the_model_s_tokens(tmp_path: Path) -> None:
    with Database(tmp_path / "a") as database:
        await SqliteConversations(database, 30.0, 100).save("", "1", DIALOGUE)
    with Database(tmp_path / "a") as database:
        kept = await SqliteConversations(database, 30.0, 100).load("", "1")
    assert kept == DIALOGUE
    assert [message.ids for message in kept] == [()] * 5


async def test_conversations_expire(tmp_path: Path) -> None:
    wall = Wall()
    with Database(tmp_path / "a") as database:
        kept = SqliteConversations(database, 2.0, 100, wall)
        await kept.save("", "old", DIALOGUE)
        wall.now += 86_400
        await kept.save("", "new", DIALOGUE)
        wall.now += 86_401
        assert await kept.load("", "old") is None
        assert await kept.load("", "new") == DIALOGUE
        assert await kept.save("", "newest", DIALOGUE)
        rows = await database.read(
            lambda c: c.execute("SELECT id FROM conversations ORDER BY id").fetchall()
        )
        assert rows == [("new",), ("newest",)]


async def test_what_was_deleted_is_not_left_in_the_file(tmp_path: Path) -> None:
    with Database(tmp_path / "a") as database:
        kept = SqliteConversations(database, 2.0, 100)
        await kept.save("", "1", [Message("user", "a secret of mine " * 300)])
        assert b"a secret of mine" in (tmp_path / "a-wal").read_bytes()
        await kept.delete("", "1")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert b"a secret of mine" not in (tmp_path / "a").read_bytes()


async def test_nothing_is_kept_where_nothing_is_to_be_kept() -> None:
    kept = NotKept()
    await kept.save("", "1", DIALOGUE)
    assert await kept.load("", "1") is None
    assert not await kept.delete("", "1")
    assert await kept.delete_all("") == 0


async def test_memory_keeps_the_last_ones() -> None:
    kept = InMemory(most=2)
    for name in "abac":
        await kept.save("", name, DIALOGUE)
    assert [await kept.load("", name) is not None for name in "abc"] == [True, False, True]


def test_the_last_messages_are_kept_from_a_question_on() -> None:
    assert capped(DIALOGUE, 4) == DIALOGUE
    assert capped(DIALOGUE, 100) == DIALOGUE
    longer = [*DIALOGUE, Message("user", "And in Rome?"), Message("assistant", "Noon, too.")]
    assert capped(longer, 3) == [longer[0], *longer[-2:]]
    assert capped(DIALOGUE, 2) == [DIALOGUE[0], *DIALOGUE[-2:]]  # no question is left


messages = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant", "tool"]), st.text()),
    max_size=12,
)


@given(messages, st.integers(1, 8))
@settings(max_examples=60)
async def test_any_dialogue_comes_back_within_its_cap(dialogue: list[Message], most: int) -> None:
    with Database() as database:
        kept = SqliteConversations(database, 1.0, most)
        await kept.save("", "1", dialogue)
        found = await kept.load("", "1")
    assert found == capped(dialogue, most)
    head = next((i for i, m in enumerate(dialogue) if m.role != "system"), len(dialogue))
    assert found[:head] == dialogue[:head]
    assert len(found) <= head + most
