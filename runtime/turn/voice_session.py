"""What a session is to whoever holds it, wherever it is driven: here or in a server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self

from voxturn.runtime.messages import AudioFrame, Message, Samples, SessionEvent
from voxturn.runtime.turn.inbox import Inbox
from voxturn.runtime.turn.memory import read_messages, write_messages


class VoiceSession(ABC):
    """A conversation that listens while it speaks.

    Iterate it for its events, as they come; close it when done, or use it as `async with`. Make and
    use it in one event loop. After `aclose` every method raises `StreamClosed`.
    """

    _inbox: Inbox

    @abstractmethod
    def _check_open(self) -> None:
        """Raise `StreamClosed` once it is closed."""

    @property
    @abstractmethod
    def rate(self) -> int:
        """The sample rate of what it says, in Hz."""

    @property
    @abstractmethod
    def messages(self) -> list[Message]:
        """The dialogue so far; set it to change it."""

    @messages.setter
    @abstractmethod
    def messages(self, messages: list[Message]) -> None: ...

    @abstractmethod
    def pin(self, fact: str) -> None:
        """Keep a fact from the next question on, however long the dialogue becomes."""

    @abstractmethod
    def tool_result(self, call_id: str, content: str, failed: bool = False) -> bool:
        """Give the result of a `ToolCall`; whether it is still waited for."""

    @property
    def dropped_s(self) -> float:
        """How many seconds of what was pushed were dropped because it came too far ahead."""
        return self._inbox.dropped_s

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[SessionEvent]: ...

    def push(self, sound: Samples | AudioFrame) -> None:
        """Hear this: 16 kHz mono float32 `[n]`, of any length. Does not wait.

        Where more than `ahead_s` seconds have not been heard, or sent to a server, yet, the oldest
        of them are dropped (`dropped_s`). Raises `UsageError` or `InvalidSamples` for what is no
        such audio.
        """
        self._check_open()
        self._inbox.push(sound)

    async def feed(self, frames: AsyncIterator[AudioFrame]) -> None:
        """Hear frames until they end. Waits instead of dropping any; closes them."""
        self._check_open()
        await self._inbox.feed(frames)

    @abstractmethod
    def ask(self, text: str) -> None:
        """Put a typed question."""

    @abstractmethod
    def answer(self) -> None:
        """Take what was pushed so far for the whole question, without waiting for silence."""

    @abstractmethod
    def cancel(self) -> None:
        """Cut the answer that is made or played; while nothing is answered, nothing happens."""

    @abstractmethod
    def played(self, ms: float) -> None:
        """Tell how much of the last answer the loudspeaker has played."""

    @abstractmethod
    async def aclose(self) -> None:
        """End whatever is under way, and wait until it has ended; no event comes after this."""

    def save(self, path: str | Path) -> None:
        """Write the dialogue into a file of JSON. Raises `OutputNotWritable`."""
        write_messages(Path(path), self.messages)

    def load(self, path: str | Path) -> None:
        """Go on with the dialogue in a file. Raises `TextError` for what is none."""
        self.messages = read_messages(Path(path))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.aclose()
