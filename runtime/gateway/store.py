"""Conversations that outlive a connection, and the process."""

from __future__ import annotations

import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import msgspec
from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway_settings import GatewaySettings
from voxturn.runtime.messages import Message

_DAY_S = 86_400.0
_SWEEP_S = 3600.0
"""How often expired conversations are removed; before that nobody is given them any more."""
_MOST_IN_MEMORY = 1000
_INSERT = "INSERT OR REPLACE INTO conversations VALUES (:key, :id, :messages, :updated)"
_UPDATE = """UPDATE conversations SET messages = :messages, updated = :updated
    WHERE key = :key AND id = :id"""


class Conversations(Protocol):
    """Keeps the messages of conversations. `key` is the id of the key whose they are: of another's
    there is nothing."""

    async def load(self, key: str, conversation: str) -> list[Message] | None:
        """The messages so far; None where there is no such conversation."""
        ...

    async def save(
        self, key: str, conversation: str, messages: Sequence[Message], new: bool = True
    ) -> bool:
        """Keep the messages; whether they are kept. Returns once they outlive the process.

        `new`: whether it may begin to be kept by this; if not, one that is not there stays away.
        """
        ...

    async def delete(self, key: str, conversation: str) -> bool:
        """Forget a conversation; whether there was one."""
        ...

    async def delete_all(self, key: str) -> int:
        """Forget all conversations of a key; how many there were."""
        ...


class Kept:
    """A conversation that a session goes on with, by its `id`. What was deleted meanwhile, by
    whatever process, does not come back: nothing of this session is kept from then on.

    `there`: whether it was kept before.
    """

    def __init__(self, conversations: Conversations, key: str, id: str, there: bool) -> None:  # noqa: A002  its name
        self.id = id
        self._conversations = conversations
        self._key = key
        self._there = there
        self._deleted = False

    async def save(self, messages: Sequence[Message]) -> None:
        """Keep the messages, unless it was deleted. Raises `ResourceError`."""
        if self._deleted:
            return
        kept = await self._conversations.save(self._key, self.id, messages, not self._there)
        self._deleted = self._there and not kept
        self._there = kept


class InMemory:
    """`Conversations` that end with the process: the last `most` of them."""

    def __init__(self, most: int = _MOST_IN_MEMORY) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str], list[Message]] = OrderedDict()

    async def load(self, key: str, conversation: str) -> list[Message] | None:
        """The messages so far."""
        messages = self._kept.get((key, conversation))
        return list(messages) if messages is not None else None

    async def save(
        self, key: str, conversation: str, messages: Sequence[Message], new: bool = True
    ) -> bool:
        """Keep the messages."""
        if not new and (key, conversation) not in self._kept:
            return False
        self._kept[key, conversation] = list(messages)
        self._kept.move_to_end((key, conversation))
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return True

    async def delete(self, key: str, conversation: str) -> bool:
        """Forget a conversation."""
        return self._kept.pop((key, conversation), None) is not None

    async def delete_all(self, key: str) -> int:
        """Forget all conversations of a key."""
        of_key = [each for each in self._kept if each[0] == key]
        for each in of_key:
            del self._kept[each]
        return len(of_key)


class NotKept:
    """`Conversations` of which nothing is kept (`keep_days = 0`)."""

    async def load(self, key: str, conversation: str) -> list[Message] | None:
        """Nothing."""
        return None

    async def save(
        self, key: str, conversation: str, messages: Sequence[Message], new: bool = True
    ) -> bool:
        """Keep nothing."""
        return False

    async def delete(self, key: str, conversation: str) -> bool:
        """There was none."""
        return False

    async def delete_all(self, key: str) -> int:
        """There were none."""
        return 0


class SqliteConversations:
    """`Conversations` in the gateway's database.

    A conversation that was not saved for `keep_days` is forgotten, and of each the system's
    messages and the last `keep_messages` others are kept, as texts: the tokens that a model gave
    for them are not, since the next process may have another model. `wall`: seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        keep_days: float,
        keep_messages: int,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._keep_s = keep_days * _DAY_S
        self._keep_messages = keep_messages
        self._wall = wall
        self._swept = float("-inf")

    async def load(self, key: str, conversation: str) -> list[Message] | None:
        """The messages so far."""
        since = self._wall() - self._keep_s

        def find(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute(
                "SELECT messages FROM conversations WHERE key = ? AND id = ? AND updated > ?",
                (key, conversation, since),
            ).fetchone()
            return row[0] if row else None

        raw = await self._database.read(find)
        return msgspec.json.decode(raw, type=list[Message]) if raw is not None else None

    async def save(
        self, key: str, conversation: str, messages: Sequence[Message], new: bool = True
    ) -> bool:
        """Keep the messages."""
        last = capped(messages, self._keep_messages)
        now = self._wall()
        sweep = now - self._swept >= _SWEEP_S
        self._swept = now if sweep else self._swept

        def keep(connection: sqlite3.Connection) -> bool:
            raw = msgspec.json.encode([_as_text(message) for message in last])
            query = _INSERT if new else _UPDATE
            row = {"key": key, "id": conversation, "messages": raw, "updated": now}
            kept = connection.execute(query, row).rowcount > 0
            if sweep:
                connection.execute(
                    "DELETE FROM conversations WHERE updated <= ?", (now - self._keep_s,)
                )
            return kept

        return await self._database.write(keep)

    async def delete(self, key: str, conversation: str) -> bool:
        """Forget a conversation."""
        return await self._deleted("key = ? AND id = ?", (key, conversation)) > 0

    async def delete_all(self, key: str) -> int:
        """Forget all conversations of a key."""
        return await self._deleted("key = ?", (key,))

    async def _deleted(self, which: str, values: Sequence[str]) -> int:
        query = f"DELETE FROM conversations WHERE {which}"  # noqa: S608  `which` is ours
        return await self._database.write(lambda c: c.execute(query, values).rowcount)


def capped(messages: Sequence[Message], most: int) -> list[Message]:
    """The system's messages that a dialogue begins with, and its last `most` others, from a
    question on: an answer, or a tool's result, without what it answers is of no use."""
    begin = next((i for i, m in enumerate(messages) if m.role != "system"), len(messages))
    rest = list(messages[begin:])
    if len(rest) > most:
        rest = rest[-most:]
        first = next((i for i, m in enumerate(rest) if m.role == "user"), None)
        rest = rest[first:] if first is not None else rest
    return [*messages[:begin], *rest]


def _as_text(message: Message) -> Message:
    if not message.ids and not message.calls:
        return message
    calls = tuple(replace(call, ids=()) for call in message.calls)
    return replace(message, ids=(), calls=calls)


def conversations_of(settings: GatewaySettings, database: Database) -> Conversations:
    """What keeps conversations for as long as a profile says."""
    if not settings.keep_days:
        return NotKept()
    return SqliteConversations(database, settings.keep_days, settings.keep_messages)
