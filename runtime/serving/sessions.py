"""The sessions that clients hold at a served model: one long request is answered with a session's
events, short ones bring its audio and what else it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from voxturn.runtime.errors import (
    AudioTooLong,
    DeadlineExceeded,
    ForgottenSession,
    InvalidProfile,
    StreamClosed,
    TooManyStreams,
    UsageError,
)
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.flow.handoff import Handoff, Overflow, cancel_all
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import AudioFrame, Message, PcmChunk, Samples, SessionEvent
from voxturn.runtime.remote.contract import COMMAND, LONGEST_PIECE_S, NUMBER, OPEN, SESSION
from voxturn.runtime.remote.sessions import (
    AnswerNow,
    Ask,
    Cancel,
    Close,
    Command,
    DialogueChange,
    Pin,
    Played,
    SetMessages,
    change_between,
    check_fact,
    of_change,
    to_command,
)
from voxturn.runtime.remote.table import Table, json_value
from voxturn.runtime.remote.tensors import Tensors, of_event, text_tensor
from voxturn.runtime.serving.inputs import Inputs, audio_of, name_of, string
from voxturn.runtime.serving.kept import Kept
from voxturn.runtime.turn.interrupt.base import Strategy
from voxturn.runtime.turn.interrupt.choose import STRATEGIES, strategy_of
from voxturn.runtime.turn.interrupt.settings import InterruptSettings
from voxturn.runtime.turn.session import Session, SessionOptions

_MOST = 64
_MOST_WAITING = 16
_AHEAD_S = 1.0
"""What a session takes of audio before it has heard it: what is more waits at the client."""

IDLE_S = 600.0
"""How long nothing may come from a client or go to it."""


@dataclass
class _Place:
    """For a session that is open."""

    held: HeldSession | None = None


class Sessions:
    """Sessions by their clients and names. `begin` makes one; `clock` is theirs.

    There are places for 64, half of them for one client; more are refused with `TooManyStreams`.
    One that is idle for `idle_s` ends in `DeadlineExceeded`.
    """

    def __init__(
        self, begin: Callable[[SessionOptions], Session], clock: Clock, idle_s: float = IDLE_S
    ) -> None:
        self._begin = begin
        self._clock = clock
        self._idle_s = idle_s
        self._places = Kept("sessions", _Place, _MOST, clock=clock)

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        """Raises `UsageError`, which names the field, for what is none of the three requests."""
        name = name_of(inputs, SESSION)
        if not name:
            raise UsageError(f"{SESSION}: needs a name")
        if len(inputs.keys() & {OPEN, "audio", COMMAND}) != 1:
            raise UsageError(f"{SESSION}: a request has one of {OPEN}, audio and {COMMAND}")
        if OPEN in inputs:
            async with aclosing(self._hold(name, _options(inputs))) as answers:
                async for tensors in answers:
                    yield tensors
            return
        if COMMAND in inputs:
            command = to_command(inputs)
            self._held(name).tell(command)
        else:
            samples, number = _piece(inputs)
            await self._held(name).hear(samples, number)
        yield {"answer": text_tensor("{}")}

    async def _hold(self, name: str, options: SessionOptions) -> AsyncGenerator[Tensors, None]:
        if name in self._places:
            raise UsageError(f"{SESSION} {name}: is open already; choose another name")
        with self._places.use(name) as place:
            try:
                place.held = HeldSession(self._begin(options), self._clock, self._idle_s)
                async with aclosing(place.held.answers()) as answers:
                    async for tensors in answers:
                        yield tensors
            finally:
                self._places.forget(name)

    def _held(self, name: str) -> HeldSession:
        """The session of that name. Raises `ForgottenSession`."""
        if name in self._places:
            with self._places.use(name) as place:
                if place.held is not None:
                    return place.held
        raise ForgottenSession(f"{SESSION} {name}: is not open (any more); open another")


class HeldSession:
    """One session: `answers` are what its client gets, and hold it; the client may do the rest."""

    def __init__(self, session: Session, clock: Clock, idle_s: float) -> None:
        self._session = session
        self._clock = clock
        self._idle_s = idle_s
        self._used_s = clock.now()
        self._out: Handoff[SessionEvent | None] = Handoff(1, Overflow.GROW)
        self._told: list[Message] = []
        self._sets = 0
        self._pieces = 0
        self._answers = 0
        self._waiting = 0
        self._hearing = asyncio.Lock()

    async def answers(self) -> AsyncGenerator[Tensors, None]:
        """The dialogue whenever it has changed, before the events that tell of it; to the end.

        The first answer has the sample rate of the session's audio, too. Raises `DeadlineExceeded`,
        and `ForgottenSession` where audio was lost. Closing this closes the session.
        """
        tasks = [asyncio.create_task(each) for each in (self._pump(), self._watch())]
        try:
            self._told = list(self._session.messages)
            opened = DialogueChange(0, tuple(self._told), 0)
            yield of_change(opened, rate=self._session.rate)
            async for event in self._out:
                self._used_s = self._clock.now()
                for change in self._changes():
                    yield change
                if event is not None:
                    self._answers += isinstance(event, PcmChunk) and not event.start
                    yield of_event(event)
            await self._session.aclose()
            for change in self._changes():
                yield change
        finally:
            try:
                await cancel_all(tasks)
            finally:
                await self._session.aclose()

    async def hear(self, samples: Samples, number: int) -> None:
        """The next piece; returns once there is room for it.

        Raises `TooManyStreams` where 16 wait for room, `UsageError` for one that came already, and
        `ForgottenSession` where one before it did not come, which ends the session.
        """
        if self._waiting >= _MOST_WAITING:
            raise TooManyStreams(
                f"{SESSION}: {_MOST_WAITING} pieces wait to be heard; wait for their answers"
            )
        if number <= self._pieces:
            raise UsageError(f"{NUMBER} {number}: this piece came already; count on")
        if number > self._pieces + 1:
            lost = f"{NUMBER}: piece {self._pieces + 1} did not come; open another session"
            self._out.fail(ForgottenSession(lost))
            raise ForgottenSession(lost)
        self._pieces = number
        self._used_s = self._clock.now()
        self._waiting += 1
        try:
            async with self._hearing:  # one after the other
                await self._session.feed(_one(samples, self._used_s))
        except StreamClosed as exc:
            raise _over() from exc
        finally:
            self._waiting -= 1

    def tell(self, command: Command) -> None:
        """Do what the client wants. Raises `EmptyText`, `TextTooLong`, `ForgottenSession`."""
        self._used_s = self._clock.now()
        if isinstance(command, Close):
            self._out.close()
            return
        try:
            self._do(command)
            self._out.put_now(None)  # it may have changed the dialogue
        except StreamClosed as exc:
            raise _over() from exc

    def _do(self, command: Ask | AnswerNow | Cancel | Played | SetMessages | Pin) -> None:
        session = self._session
        match command:
            case Ask():
                session.ask(command.text)
            case AnswerNow():
                session.answer()
            case Cancel():
                session.cancel()
            case Played():
                if command.answer in (
                    0,
                    self._answers,
                ):  # what was played before counts for nothing
                    session.played(command.ms)
            case SetMessages():
                session.messages = list(command.messages)
                self._sets += 1
            case Pin():
                check_fact(command.fact, session.messages)
                session.pin(command.fact)
                self._sets += 1

    def _changes(self) -> Iterator[Tensors]:
        """What has changed of the dialogue since it was told last, if anything has."""
        messages = list(self._session.messages)
        change = change_between(self._told, messages, self._sets)
        self._told = messages
        if change is not None:
            yield of_change(change)

    async def _pump(self) -> None:
        """The session's events, and its end."""
        try:
            async for event in self._session:
                await self._out.put(event)
            self._out.close()
        except Exception as exc:  # noqa: BLE001  it is the client's
            self._out.fail(exc)

    async def _watch(self) -> None:
        """End the session once nothing has come or gone for too long."""
        while (due_s := self._used_s + self._idle_s) > self._clock.now():
            await self._clock.sleep_until(due_s)
        self._out.fail(
            DeadlineExceeded(
                f"{SESSION}: nothing came and nothing went for {self._idle_s:g} s; open another"
            )
        )


async def _one(samples: Samples, now_s: float) -> AsyncIterator[AudioFrame]:
    yield AudioFrame(samples, RATE, 0, now_s)


def _over() -> ForgottenSession:
    return ForgottenSession(f"{SESSION}: it has ended; open another")


def _piece(inputs: Inputs) -> tuple[Samples, int]:
    """The samples and the number of a piece.

    Raises `UsageError`, `EmptyAudio`, `AudioTooLong`, `InvalidSamples`.
    """
    if NUMBER not in inputs:
        raise UsageError(f"{NUMBER}: a piece of a session's audio needs one, counted from 1")
    samples = audio_of(inputs)
    if samples.size > LONGEST_PIECE_S * RATE:
        raise AudioTooLong(
            f"audio: {samples.size / RATE:.0f} s; a piece may have {LONGEST_PIECE_S:.0f} s"
        )
    return samples, int(inputs[NUMBER][0])


def _options(inputs: Inputs) -> SessionOptions:
    """How a client wants its session to be held. Raises `UsageError`."""
    about = Table(json_value(string(inputs, OPEN), OPEN), OPEN)
    strategy = _strategy(about.table("interrupt")) if "interrupt" in about else None
    about.close()
    return SessionOptions(interrupt=strategy, ahead_s=_AHEAD_S)


def _strategy(about: Table) -> Strategy:
    """Raises `UsageError`."""
    settings = InterruptSettings(
        about.one_of("strategy", STRATEGIES),
        ms=about.whole("ms", 1, 10_000) if "ms" in about else None,
        words=about.whole("words", 1, 100) if "words" in about else None,
        pause_ms=about.whole("pause_ms", 0, 10_000) if "pause_ms" in about else None,
    )
    about.close()
    try:
        return strategy_of(settings)
    except InvalidProfile as exc:
        raise UsageError(f"{OPEN}: {exc}") from exc
