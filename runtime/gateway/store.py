"""Conversations that outlive a connection, and the process."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import msgspec
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.transactions import Connection, Transactions
from voxturn.runtime.gateway_settings import GatewaySettings
from voxturn.runtime.messages import Message

_DAY_S = 86_400.0
_MOST_IN_MEMORY = 1000
_INSERT = """INSERT INTO conversations (key, id, messages, updated, holder)
    VALUES (:key, :id, :messages, :updated, :holder)
    ON CONFLICT (key, id) DO UPDATE
    SET messages = excluded.messages, updated = excluded.updated, holder = excluded.holder
    WHERE conversations.updated <= :since OR conversations.holder = excluded.holder"""
_UPDATE = """UPDATE conversations SET messages = :messages, updated = :updated
    WHERE key = :key AND id = :id AND holder = :holder"""
_TAKE = """UPDATE conversations SET holder = :holder
    WHERE key = :key AND id = :id AND updated > :since RETURNING messages"""


class TakenOver(ApiError):
    """Another connection goes on with the conversation: nothing more of this one is kept."""

    def __init__(self) -> None:
        super().__init__(409, "another connection goes on with this conversation", "taken_over")


class Conversations(Protocol):
    """Keeps the messages of conversations. `key` is the id of the key whose they are: of another's
    there is nothing.

    `holder` is the number of whoever goes on with a conversation: the last to take it.
    """

    async def load(self, key: str, conversation: str) -> list[Message] | None:
        """The messages so far; None where there is no such conversation."""
        ...

    async def take(self, key: str, conversation: str, holder: int) -> list[Message] | None:
        """As `load`; from then on no other holder may save it."""
        ...

    async def save(
        self,
        key: str,
        conversation: str,
        messages: Sequence[Message],
        holder: int = 0,
        new: bool = True,
    ) -> bool:
        """Keep the messages; whether they are kept. Returns once they outlive the process.

        `new`: whether it begins to be kept by this; if not, one that is not there stays away.
        Raises `TakenOver` where another holder has it.
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
    """

    def __init__(self, conversations: Conversations, key: str, id: str) -> None:  # noqa: A002  its name
        self.id = id
        self._conversations = conversations
        self._key = key
        self._holder = secrets.randbits(62)
        self._there = False
        self._deleted = False

    async def take(self) -> list[Message] | None:
        """The messages so far, if it was kept. Whoever took it before can save it no more."""
        messages = await self._conversations.take(self._key, self.id, self._holder)
        self._there = messages is not None
        return messages

    async def save(self, messages: Sequence[Message]) -> None:
        """Keep the messages, unless it was deleted. Raises `ResourceError`, and `TakenOver` where
        someone else has taken it."""
        if self._deleted:
            return
        kept = await self._conversations.save(
            self._key, self.id, messages, self._holder, not self._there
        )
        self._deleted = self._there and not kept
        self._there = kept


class InMemory:
    """`Conversations` that end with the process: the last `most` of them, as `capped`."""

    def __init__(
        self, most: int = _MOST_IN_MEMORY, keep_messages: int = GatewaySettings.keep_messages
    ) -> None:
        self._most = most
        self._keep_messages = keep_messages
        self._kept: OrderedDict[tuple[str, str], tuple[int, list[Message]]] = OrderedDict()

    async def load(self, key: str, conversation: str) -> list[Message] | None:
        """The messages so far."""
        found = self._kept.get((key, conversation))
        return list(found[1]) if found is not None else None

    async def take(self, key: str, conversation: str, holder: int) -> list[Message] | None:
        """The messages so far, for this holder alone."""
        messages = await self.load(key, conversation)
        if messages is not None:
            self._kept[key, conversation] = holder, messages
        return messages

    async def save(
        self,
        key: str,
        conversation: str,
        messages: Sequence[Message],
        holder: int = 0,
        new: bool = True,
    ) -> bool:
        """Keep the messages. Raises `TakenOver`."""
        found = self._kept.get((key, conversation))
        if found is None and not new:
            return False
        if found is not None and found[0] != holder:
            raise TakenOver
        self._kept[key, conversation] = holder, capped(messages, self._keep_messages)
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


class StoredConversations:
    """`Conversations` in the gateway's database.

    A conversation that was not saved for `keep_days` is forgotten; 0: nothing is kept, and what was
    kept before goes with the next sweep. Of each the system's messages and the last `keep_messages`
    others are kept, as texts: the tokens that a model gave for them are not, since the next process
    may have another model. `wall`: seconds since 1970.
    """

    def __init__(
        self,
        database: Transactions,
        keep_days: float,
        keep_messages: int,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._keep_s = keep_days * _DAY_S
        self._keep_messages = keep_messages
        self._wall = wall

    async def load(self, key: str, conversation: str) -> list[Message] | None:
        """The messages so far."""
        query = "SELECT messages FROM conversations WHERE key = ? AND id = ? AND updated > ?"
        which = (key, conversation, self._since)
        return _decoded(await self._database.read(lambda c: c.execute(query, which).fetchone()))

    async def take(self, key: str, conversation: str, holder: int) -> list[Message] | None:
        """The messages so far, for this holder alone."""
        row = {"key": key, "id": conversation, "holder": holder, "since": self._since}
        return _decoded(await self._database.write(lambda c: c.execute(_TAKE, row).fetchone()))

    async def save(
        self,
        key: str,
        conversation: str,
        messages: Sequence[Message],
        holder: int = 0,
        new: bool = True,
    ) -> bool:
        """Keep the messages. Raises `TakenOver`."""
        if not self._keep_s:
            return False
        last = capped(messages, self._keep_messages)
        now = self._wall()
        which = {"key": key, "id": conversation, "holder": holder}

        def keep(connection: Connection) -> bool:
            raw = msgspec.json.encode([_as_text(message) for message in last])
            row = which | {"messages": raw, "updated": now, "since": now - self._keep_s}
            kept = connection.execute(_INSERT if new else _UPDATE, row).rowcount > 0
            if not kept and (new or _is_there(connection, key, conversation)):
                raise TakenOver
            return kept

        return await self._database.write(keep)

    async def delete(self, key: str, conversation: str) -> bool:
        """Forget a conversation."""
        return await self._deleted("key = ? AND id = ?", (key, conversation)) > 0

    async def delete_all(self, key: str) -> int:
        """Forget all conversations of a key."""
        return await self._deleted("key = ?", (key,))

    async def sweep(self) -> None:
        """Delete what has expired; nobody is given it any more before that."""
        await self._deleted("updated <= ?", (self._since,))

    @property
    def _since(self) -> float:
        """What was not saved since is forgotten."""
        return self._wall() - self._keep_s

    async def _deleted(self, which: str, values: Sequence[str | float]) -> int:
        query = f"DELETE FROM conversations WHERE {which}"  # noqa: S608  `which` is ours
        return await self._database.write(lambda c: c.execute(query, values).rowcount)


def _is_there(connection: Connection, key: str, conversation: str) -> bool:
    query = "SELECT 1 FROM conversations WHERE key = ? AND id = ?"
    return connection.execute(query, (key, conversation)).fetchone() is not None


def _decoded(row: tuple[bytes] | None) -> list[Message] | None:
    return msgspec.json.decode(row[0], type=list[Message]) if row is not None else None


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


def conversations_of(settings: GatewaySettings, database: Transactions) -> StoredConversations:
    """What keeps conversations for as long as a profile says."""
    return StoredConversations(database, settings.keep_days, settings.keep_messages)
