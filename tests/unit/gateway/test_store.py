from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway.store import (
    Conversations,
    InMemory,
    Kept,
    StoredConversations,
    TakenOver,
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


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def kept(request: pytest.FixtureRequest) -> Iterator[Conversations]:
    if request.param == "memory":
        yield InMemory()
    elif request.param == "postgres":
        yield StoredConversations(request.getfixturevalue("postgres"), 30.0, 100)
    else:
        with Database() as database:
            yield StoredConversations(database, 30.0, 100)


async def test_a_conversation_is_its_key_s_alone(kept: Conversations) -> None:
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


async def test_what_was_deleted_does_not_come_back_by_a_session(kept: Conversations) -> None:
    session = Kept(kept, "ana", "1")
    assert await session.take() is None
    await session.save(DIALOGUE[:2])
    await session.save(DIALOGUE)
    assert await kept.load("ana", "1") == DIALOGUE
    await kept.delete_all("ana")
    await session.save(DIALOGUE)
    assert await kept.load("ana", "1") is None
    await Kept(kept, "ana", "1").save(DIALOGUE[:1])
    await session.save(DIALOGUE)  # nor over what was begun under its name since
    assert await kept.load("ana", "1") == DIALOGUE[:1]


async def test_whoever_took_it_last_goes_on_with_it(kept: Conversations) -> None:
    first, second = Kept(kept, "ana", "1"), Kept(kept, "ana", "1")
    await first.save(DIALOGUE[:1])
    assert await second.take() == DIALOGUE[:1]
    with pytest.raises(TakenOver) as caught:
        await first.save(DIALOGUE[:2])
    assert (caught.value.status, caught.value.code) == (409, "taken_over")
    await second.save(DIALOGUE)
    with pytest.raises(TakenOver):
        await first.save(DIALOGUE[:2])
    assert await kept.load("ana", "1") == DIALOGUE
    assert await first.take() == DIALOGUE  # it may come back
    await first.save(DIALOGUE[:3])
    assert await kept.load("ana", "1") == DIALOGUE[:3]


async def test_a_save_whose_answer_was_lost_may_be_done_again(kept: Conversations) -> None:
    assert await kept.save("ana", "1", DIALOGUE[:1], holder=7)
    assert await kept.save("ana", "1", DIALOGUE, holder=7)
    with pytest.raises(TakenOver):
        await kept.save("ana", "1", DIALOGUE, holder=8)
    assert await kept.load("ana", "1") == DIALOGUE


async def test_of_two_that_begin_it_the_second_to_save_is_told_so(kept: Conversations) -> None:
    first, second = Kept(kept, "ana", "1"), Kept(kept, "ana", "1")
    assert await first.take() is None
    assert await second.take() is None
    await second.save(DIALOGUE)
    with pytest.raises(TakenOver):
        await first.save(DIALOGUE[:1])
    assert await kept.load("ana", "1") == DIALOGUE


async def test_another_process_may_delete_it(tmp_path: Path) -> None:
    with Database(tmp_path / "a") as ours, Database(tmp_path / "a") as theirs:
        kept = StoredConversations(ours, 30.0, 100)
        session = Kept(kept, "ana", "1")
        await session.save(DIALOGUE)
        assert forget(theirs, "ana") == 1
        await session.save(DIALOGUE)
        assert await kept.load("ana", "1") is None


async def test_another_process_may_take_it_over(tmp_path: Path) -> None:
    with Database(tmp_path / "a") as ours, Database(tmp_path / "a") as theirs:
        kept = StoredConversations(ours, 30.0, 100)
        session = Kept(kept, "ana", "1")
        await session.save(DIALOGUE[:1])
        other = Kept(StoredConversations(theirs, 30.0, 100), "ana", "1")
        assert await other.take() == DIALOGUE[:1]
        await other.save(DIALOGUE)
        with pytest.raises(TakenOver):
            await session.save(DIALOGUE[:2])
        assert await kept.load("ana", "1") == DIALOGUE


async def test_it_outlives_the_process_without_the_model_s_tokens(tmp_path: Path) -> None:
    with Database(tmp_path / "a") as database:
        await StoredConversations(database, 30.0, 100).save("", "1", DIALOGUE)
    with Database(tmp_path / "a") as database:
        kept = await StoredConversations(database, 30.0, 100).load("", "1")
    assert kept == DIALOGUE
    assert [message.ids for message in kept] == [()] * 5


async def test_conversations_expire(tmp_path: Path) -> None:
    wall = Wall()
    with Database(tmp_path / "a") as database:
        kept = StoredConversations(database, 2.0, 100, wall)
        await kept.save("", "old", DIALOGUE)
        wall.now += 86_400
        await kept.save("", "new", DIALOGUE)
        wall.now += 86_401
        assert await kept.load("", "old") is None
        assert await kept.load("", "new") == DIALOGUE
        await kept.sweep()
        assert await ids(database) == ["new"]


async def test_what_has_expired_is_begun_anew(tmp_path: Path) -> None:
    wall = Wall()
    with Database(tmp_path / "a") as database:
        kept = StoredConversations(database, 2.0, 100, wall)
        await kept.save("", "old", DIALOGUE)
        wall.now += 3 * 86_400
        session = Kept(kept, "", "old")
        assert await session.take() is None
        await session.save(DIALOGUE[:1])
        assert await kept.load("", "old") == DIALOGUE[:1]


async def ids(database: Database) -> list[str]:
    """The conversations that the database has."""
    query = "SELECT id FROM conversations ORDER BY id"
    return [row[0] for row in await database.read(lambda c: c.execute(query).fetchall())]


async def test_what_was_deleted_is_not_left_in_the_file(tmp_path: Path) -> None:
    with Database(tmp_path / "a") as database:
        kept = StoredConversations(database, 2.0, 100)
        await kept.save("", "1", [Message("user", "a secret of mine " * 300)])
        assert b"a secret of mine" in (tmp_path / "a-wal").read_bytes()
        await kept.delete("", "1")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert b"a secret of mine" not in (tmp_path / "a").read_bytes()


async def test_where_nothing_is_to_be_kept_what_was_kept_may_still_be_deleted() -> None:
    with Database() as database:
        before = StoredConversations(database, 30.0, 100)
        for key, name in (("ana", "1"), ("ana", "2"), ("ana", "3"), ("bo", "1")):
            await before.save(key, name, DIALOGUE)
        kept = StoredConversations(database, 0.0, 100)
        session = Kept(kept, "ana", "1")
        assert await session.take() is None
        await session.save(DIALOGUE[:1])
        assert await kept.load("ana", "1") is None
        assert await before.load("ana", "1") == DIALOGUE
        assert await kept.delete("ana", "1")
        assert await kept.delete_all("ana") == 2
        assert await before.load("bo", "1") == DIALOGUE
        await kept.sweep()
        assert await ids(database) == []


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
        kept = StoredConversations(database, 1.0, most)
        await kept.save("", "1", dialogue)
        found = await kept.load("", "1")
    assert found == capped(dialogue, most)
    head = next((i for i, m in enumerate(dialogue) if m.role != "system"), len(dialogue))
    assert found[:head] == dialogue[:head]
    assert len(found) <= head + most
