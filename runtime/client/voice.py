"""`VoiceClient`: voice turns on a Triton server, with the events of a turn in one's own process."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Any

import numpy as np
from voxturn.runtime.client.wire import TritonServer
from voxturn.runtime.handoff import Ahead
from voxturn.runtime.messages import Event, PcmChunk, ReplyToken, Samples, Transcript
from voxturn.runtime.serving.events import text_of, to_chunk, to_event


class VoiceClient:
    """A dialogue with a server's models. Use as `async with VoiceClient("localhost:8001") as client: …`.

    Every method raises the errors that the same work raises in process, and `ServerUnavailable` or `ServerDied`.
    """

    def __init__(self, address: str, conversation: str = "") -> None:
        self._server = TritonServer(address)
        self.conversation = conversation or uuid.uuid4().hex
        self._turn: Ahead[Event] | None = None

    async def turn(self, samples: Samples) -> AsyncGenerator[Event, None]:
        """One turn on an utterance, 16 kHz float32 `[n]`: its events, as they are made in the server."""
        await self.interrupt()
        events = self._turn = Ahead(self._events(samples), 1)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    async def interrupt(self) -> None:
        """Stop the turn that is under way, in the server, too: barge-in."""
        if self._turn is not None:
            await self._turn.aclose()
            self._turn = None

    async def transcribe(self, samples: Samples, language: str = "") -> Transcript:
        """The words in 16 kHz samples."""
        found = await self._server.infer("whisper", {"audio": samples, "language": language})
        return Transcript(text_of(found["text"]), text_of(found["language"]), float(found["confidence"][0]))

    async def reply(self, *messages: tuple[str, str]) -> AsyncGenerator[ReplyToken, None]:
        """The answer to (role, text) pairs that follow what this conversation has had."""
        said = json.dumps([{"role": role, "text": text} for role, text in messages])
        inputs = {"messages": said, "conversation": self.conversation}
        async with aclosing(self._server.stream("qwen3", inputs)) as answers:
            async for tensors in answers:
                yield ReplyToken(text_of(tensors["text"]), tuple(tensors["ids"].tolist()))

    async def say(
        self, text: str, model: str = "xtts", language: str = "", voice: str = "", speed: float = 1.0, seed: int = 0
    ) -> AsyncGenerator[PcmChunk, None]:
        """A text as audio, chunk by chunk. The model `vits` takes the text alone."""
        inputs: dict[str, Any] = {"text": text}
        if model != "vits":
            inputs |= {"language": language, "voice": voice}
            inputs |= {"speed": np.array([speed], np.float32), "seed": np.array([seed], np.int64)}
        async with aclosing(self._server.stream(model, inputs)) as answers:
            async for tensors in answers:
                yield to_chunk(tensors)

    async def aclose(self) -> None:
        """Stop what is under way and close the connection."""
        await self.interrupt()
        await self._server.aclose()

    async def __aenter__(self) -> VoiceClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _events(self, samples: Samples) -> AsyncGenerator[Event, None]:
        inputs = {"audio": samples, "conversation": self.conversation}
        async with aclosing(self._server.stream("voice_turn", inputs)) as answers:
            async for tensors in answers:
                yield to_event(tensors)
