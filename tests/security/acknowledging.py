"""What writes conversations, and says so, until it is killed."""

from __future__ import annotations

import asyncio
from multiprocessing.connection import Connection
from pathlib import Path

from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway.store import StoredConversations
from voxturn.runtime.messages import Message

KEY, AT_ONCE = "key_1", 4


def message(conversation: int, number: int) -> Message:
    """What is said at a place of a conversation."""
    role = "assistant" if number % 2 else "user"
    return Message(role, f"{conversation}, {number}: " + "words " * (number % 50))


def write(path: Path, told: Connection) -> None:
    """Go on with `AT_ONCE` conversations, wherever they are; tell each turn once it is kept."""
    asyncio.run(_write(path, told))


async def _write(path: Path, told: Connection) -> None:
    with Database(path) as database:
        kept = StoredConversations(database, 30.0, 1000)
        await asyncio.gather(*(_talk(kept, number, told) for number in range(AT_ONCE)))


async def _talk(kept: StoredConversations, conversation: int, told: Connection) -> None:
    messages = await kept.load(KEY, str(conversation)) or []
    while True:
        messages += [message(conversation, len(messages) + i) for i in range(2)]
        await kept.save(KEY, str(conversation), messages)
        told.send((conversation, len(messages)))
