"""`VoiceClient`: voice turns on one Triton server or several, or on a gateway, with the events of a
turn in one's own process."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self, cast
from weakref import WeakSet

import numpy as np
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.client.endpoints import Endpoints
from voxturn.runtime.client.session import Opening, RemoteSession
from voxturn.runtime.errors import ServerDied, ServerUnavailable, UsageError, VoxturnError
from voxturn.runtime.flow.handoff import Ahead
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import (
    AudioFrame,
    Event,
    Message,
    Partial,
    PcmChunk,
    ReplyToken,
    Samples,
    ToolCall,
    ToolSpec,
    Transcript,
)
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import choose
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.remote.contract import MODELS, Piece
from voxturn.runtime.remote.tensors import (
    answer_of,
    answered,
    asked,
    text_of,
    to_chunk,
    to_event,
)
from voxturn.runtime.remote.transport import TritonServer
from voxturn.runtime.turn.session import Session, SessionOptions
from voxturn.runtime.turn.turn import Conversation
from voxturn.runtime.turn.voice_session import VoiceSession

_PIECE_S = 0.5
_GATEWAYS = ("ws://", "wss://")


class ClientTurn:
    """One turn: iterate it for its events.

    `interrupt` is barge-in: everything of it stops, in the server, too.
    """

    def __init__(self, events: AsyncGenerator[Event, None]) -> None:
        self._events: Ahead[Event] = Ahead(events, 1)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await anext(self._events)

    async def interrupt(self) -> None:
        """Stop, from any task; no event comes after this."""
        await self._events.aclose()

    async def aclose(self) -> None:
        """As `interrupt`."""
        await self.interrupt()


class VoiceClient:
    """A dialogue with the models of servers. Use as `async with VoiceClient("localhost:8001") as
    client: …`.

    `address` may be several, with commas between: streams are spread over those that answer. With a
    `profile` this side drives the turns: it hears with its own voice detector whatever comes from a
    microphone, and keeps the dialogue, so that the next turn may go on at another server. Without,
    the server's `voice_turn` does: turns on whole utterances, sessions on whatever comes. `name` is
    what servers know this client by: its streams are counted by it, and a conversation is found
    again by it and `conversation`; empty: a name that nobody has. An address as `ws://localhost:8080`
    is a gateway's, `wss://` with TLS: it takes `key`, and no profile. Every method raises the errors
    that the same work raises in process, and `ServerUnavailable`, `ServerDied`, `DeadlineExceeded`
    or `TooManyStreams`. What is safe to repeat is tried at every server before that.
    """

    def __new__(cls, address: str, *args: Any, **options: Any) -> Self:  # noqa: ARG004
        """A client of a gateway (`client.gateway`) where the address says so."""
        if cls is VoiceClient and address.startswith(_GATEWAYS):
            from voxturn.runtime.client.gateway import GatewayClient

            return cast(Self, super().__new__(GatewayClient))
        return super().__new__(cls)

    def __init__(
        self,
        address: str,
        conversation: str = "",
        profile: str | Profile = "",
        deadline_s: float = 0.0,
        name: str = "",
        key: str = "",
    ) -> None:
        if key:
            raise UsageError("key: Triton has none; a gateway's address is ws://… or wss://…")
        self.conversation = conversation or uuid.uuid4().hex
        connect = partial(TritonServer, name=name or uuid.uuid4().hex, deadline_s=deadline_s)
        self._endpoints = Endpoints([each.strip() for each in address.split(",")], connect)
        self._profile = (
            load_profile(profile) if isinstance(profile, str) and profile else profile or None
        )
        self._assistant: Assistant | None = None
        self._dialogue: Conversation | None = None
        self._address = ""
        self._messages: list[Message] = []
        self._turn: ClientTurn | None = None
        self._sessions: WeakSet[VoiceSession] = WeakSet()

    def turn(self, source: Samples | AsyncIterator[AudioFrame]) -> ClientTurn:
        """One turn on an utterance, 16 kHz float32 `[n]`, or on frames as they come from a
        microphone."""
        if self._profile is None and not isinstance(source, np.ndarray):
            raise UsageError(
                "frames need a client with a profile, whose voice detector finds the end of speech"
            )
        events = (
            self._driven(source) if self._profile is not None else self._served(np.asarray(source))
        )
        self._turn = ClientTurn(_after(self._turn, events))
        return self._turn

    async def interrupt(self) -> None:
        """Stop the turn that is under way, in the server, too: barge-in."""
        if self._turn is not None:
            await self._turn.interrupt()
            self._turn = None

    def session(self, options: SessionOptions | None = None) -> Opening:
        """A new dialogue that listens while it speaks, at one server: `async with client.session()
        as session: …`, as `Assistant.session()`.

        Driven here on the server's engines where there is a profile, which is loaded for it; else
        by the server's `voice_turn`. Opening it may raise what loading raises, and
        `ServerUnavailable`, `ServerDied` or `TooManyStreams`; `UsageError` for options that a
        server cannot be told.
        """
        return Opening(self._opened(options or SessionOptions()))

    async def transcribe(self, samples: Samples, language: str = "") -> Transcript:
        """The words in 16 kHz samples."""
        for attempt in range(len(self._endpoints)):
            try:
                async with self._endpoints.one() as server:
                    inputs = {"audio": samples, "language": language}
                    return answer_of(await server.infer("whisper", inputs), Transcript)
            except (ServerUnavailable, ServerDied):
                if attempt + 1 == len(self._endpoints):
                    raise
        raise AssertionError("unreachable: there is at least one endpoint")

    async def hear(
        self, pieces: AsyncIterator[Samples]
    ) -> AsyncGenerator[Partial | Transcript, None]:
        """What is said so far while an utterance comes in 16 kHz pieces, then its final transcript.

        Raises `ForgottenSequence` where the server has lost some of them: say it again.
        """
        number, start, last = uuid.uuid4().int >> 65, True, False  # a sequence's id has 64 bits
        async with self._endpoints.one() as server:
            try:
                async for samples, last in _pieces(pieces):
                    piece = Piece(number, start, last)
                    start = False
                    answer = await server.infer("whisper", {"audio": samples}, piece)
                    if last:
                        yield answer_of(answer, Transcript)
                    elif text_of(answer["text"]):
                        yield answer_of(answer, Partial)
            finally:
                if not start and not last:
                    await server.forget("whisper", number)

    async def reply(
        self, *messages: tuple[str, str] | Message, tools: Sequence[ToolSpec] = ()
    ) -> AsyncGenerator[ReplyToken | ToolCall, None]:
        """The answer to (role, text) pairs or messages that follow what this conversation has had,
        at its server.

        With `tools` it may have calls. The server makes none: ask again with a message of the role
        tool for each.
        """
        dialogue = [each if isinstance(each, Message) else Message(*each) for each in messages]
        inputs = asked(dialogue, tools) | {"conversation": self.conversation}
        async with (
            self._endpoints.one(keep=True) as server,
            aclosing(server.stream("qwen3", inputs)) as answers,
        ):
            async for tensors in answers:
                for item in answered(tensors):
                    yield item

    async def say(
        self,
        text: str,
        model: str = "xtts",
        language: str = "",
        voice: str = "",
        reference: Samples | None = None,
        reference_rate: int = 16000,
        speed: float = 1.0,
        seed: int | None = None,
        style: str = "",
    ) -> AsyncGenerator[PcmChunk, None]:
        """A text as audio, chunk by chunk, in a voice by name, in one of its styles, or cloned from
        `reference`; `model` is the served voice.

        Raises `UsageError` for an option that the model does not take, as `vits`, which takes the
        text alone.
        """
        options: dict[str, Any] = {}
        options |= {"language": language} if language else {}
        options |= {"voice": voice} if voice else {}
        options |= {"style": style} if style else {}
        options |= {"speed": np.array([speed], np.float32)} if speed != 1.0 else {}
        options |= {"seed": np.array([seed], np.int64)} if seed is not None else {}
        if reference is not None:
            options |= {
                "reference": reference,
                "reference_rate": np.array([reference_rate], np.int32),
            }
        inputs: dict[str, Any] = {"text": text, **_taken(model, options)}
        for attempt in range(len(self._endpoints)):
            begun = False
            try:
                async with (
                    self._endpoints.one() as server,
                    aclosing(server.stream(model, inputs)) as answers,
                ):
                    async for tensors in answers:
                        begun = True
                        yield to_chunk(tensors)
                return
            except (ServerUnavailable, ServerDied):
                if begun or attempt + 1 == len(self._endpoints):
                    raise

    async def aclose(self) -> None:
        """Stop what is under way and close the connections."""
        await self.interrupt()
        for session in list(self._sessions):
            await session.aclose()
        if self._assistant is not None:
            await self._assistant.aclose()
        await self._endpoints.aclose()

    async def __aenter__(self) -> VoiceClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _opened(self, options: SessionOptions) -> VoiceSession:
        """A session, at the first server that opens it."""
        for attempt in range(len(self._endpoints)):
            try:
                if self._profile is None:
                    return await self._served_session(options)
                return await self._driven_session(self._profile, options)
            except (ServerUnavailable, ServerDied):
                if attempt + 1 == len(self._endpoints):
                    raise
        raise AssertionError("unreachable: there is at least one endpoint")

    async def _served_session(self, options: SessionOptions) -> VoiceSession:
        session = RemoteSession(self._endpoints.one, options)
        self._sessions.add(session)
        try:
            await session.opened()
        except BaseException:
            await session.aclose()
            raise
        return session

    async def _driven_session(self, profile: Profile, options: SessionOptions) -> VoiceSession:
        async with self._endpoints.one() as server:
            assistant = await _loaded(served_by(profile, server.address))
        try:
            session = _DrivenSession(assistant, options)
        except BaseException:
            await assistant.aclose()
            raise
        self._sessions.add(session)
        return session

    async def _served(self, samples: Samples) -> AsyncGenerator[Event, None]:
        """A turn that the conversation's server drives."""
        inputs = {"audio": samples, "conversation": self.conversation}
        async with (
            self._endpoints.one(keep=True) as server,
            aclosing(server.stream("voice_turn", inputs)) as answers,
        ):
            async for tensors in answers:
                yield to_event(tensors)

    async def _driven(
        self, source: Samples | AsyncIterator[AudioFrame]
    ) -> AsyncGenerator[Event, None]:
        """A turn that is driven here, on engines in a server."""
        whole = isinstance(source, np.ndarray)
        frames = frames_from(source) if isinstance(source, np.ndarray) else source
        async with self._endpoints.one(keep=True) as server:
            dialogue = await self._conversation(server.address)
            try:
                async with dialogue.turn(frames, whole) as turn:
                    async for event in turn:
                        yield event
            except (ServerDied, ServerUnavailable):
                self._messages, self._dialogue = dialogue.messages, None
                raise

    async def _conversation(self, address: str) -> Conversation:
        """The dialogue, on the engines of a server; after another one died it goes on with what was
        said."""
        if self._dialogue is not None and self._address != address:
            self._messages, self._dialogue = self._dialogue.messages, None
        if self._dialogue is None:
            if self._assistant is not None:
                await self._assistant.aclose()
                self._assistant = None
            assert self._profile is not None
            self._assistant, self._address = (
                await _loaded(served_by(self._profile, address)),
                address,
            )
            self._dialogue = self._assistant.conversation()
            self._dialogue.messages[:] = self._messages or self._dialogue.messages
        return self._dialogue


class _DrivenSession(Session):
    """A session with an assistant of its own, which is closed with it."""

    def __init__(self, assistant: Assistant, options: SessionOptions) -> None:
        super().__init__(assistant.conversation(options.tools), options)
        self._assistant = assistant

    async def aclose(self) -> None:
        """As `Session.aclose`; then the engines."""
        try:
            await super().aclose()
        finally:
            await self._assistant.aclose()


def served_by(profile: Profile, address: str) -> Profile:
    """A profile whose engines are those of a server, but for those that no server has: the voice
    detector, some voices."""
    registry, store = Registry.read(), Store()
    changed: dict[str, Any] = {}
    for stage, settings in profile.engines().items():
        family = choose(profile, stage, store, registry).family
        if family is not None and set(family.roles.get(stage, ())) & set(family.served):
            changed[stage] = settings.served(address)
    return replace(profile, **changed)


async def _loaded(profile: Profile) -> Assistant:
    """A loaded profile; if nobody waits for it any more, what was loaded is closed."""
    loading = asyncio.ensure_future(asyncio.to_thread(Assistant.load, profile))
    try:
        return await asyncio.shield(loading)
    except asyncio.CancelledError:
        with contextlib.suppress(VoxturnError):
            await (await loading).aclose()
        raise


async def _after(
    previous: ClientTurn | None, events: AsyncGenerator[Event, None]
) -> AsyncGenerator[Event, None]:
    """`events`, once the turn before is over."""
    if previous is not None:
        await previous.interrupt()
    async with aclosing(events):
        async for event in events:
            yield event


async def _pieces(source: AsyncIterator[Samples]) -> AsyncGenerator[tuple[Samples, bool], None]:
    """Samples in pieces worth a request, and whether each is the last."""
    waiting: list[Samples] = []
    async for samples in source:
        if sum(each.size for each in waiting) >= _PIECE_S * 16000:
            yield np.concatenate(waiting), False
            waiting = []
        waiting.append(samples)
    if waiting:
        yield np.concatenate(waiting), True


def _taken(model: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a request. Raises `UsageError` for one that the served model does not take."""
    if (served := MODELS.get(model)) is not None:
        known = {spec.name for spec in served.inputs}
        if unknown := sorted(set(options) - known):
            raise UsageError(f"{', '.join(unknown)}: the served {model} has no such option")
    return options
