"""Who goes on with which conversation: one at a time, and the last to come."""

from __future__ import annotations

from typing import Protocol

from voxturn.runtime.gateway.peers import Peers
from voxturn.runtime.gateway.sessions import ENDS
from voxturn.runtime.gateway.store import Conversations, Kept
from voxturn.runtime.messages import Message


class Holder(Protocol):
    """Whatever goes on with a conversation."""

    async def end(self, reason: ENDS) -> None:
        """End it, keep what was said so far, and leave the `Holders`."""
        ...


class Holders:
    """Whatever goes on with a conversation in this process, by key and conversation. `peers` have
    theirs."""

    def __init__(self, conversations: Conversations, peers: Peers) -> None:
        self.conversations = conversations
        self._peers = peers
        self._holders: dict[tuple[str, str], Holder] = {}

    async def take(self, key: str, conversation: str) -> tuple[Kept, list[Message] | None]:
        """A conversation to go on with, and what was said in it; None where it is new.

        Nobody of this machine goes on with it when this returns: `hold` it before anything is awaited. Raises
        `ResourceError`.
        """
        kept = Kept(self.conversations, key, conversation)
        while True:
            await self.free(key, conversation)
            messages = await kept.take()
            if (key, conversation) not in self._holders:
                return kept, messages

    async def free(self, key: str, conversation: str) -> None:
        """End whatever goes on with a conversation on this machine, so that its place is free."""
        await self.let_go(key, conversation)
        await self._peers.let_go(key, conversation)

    async def let_go(self, key: str, conversation: str) -> None:
        """End whatever goes on with a conversation here."""
        while (holder := self._holders.get((key, conversation))) is not None:
            await holder.end("taken_over")

    def hold(self, key: str, conversation: str, holder: Holder) -> None:
        """It goes on with what it has taken."""
        self._holders[key, conversation] = holder

    def leave(self, key: str, conversation: str, holder: Holder) -> None:
        """It has ended."""
        if self._holders.get((key, conversation)) is holder:
            del self._holders[key, conversation]
