"""Drives a token engine from its lane while there is something to do, and hands each request its
steps as they come."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.generation import Generation, PromptCounts, Request, Step
from voxturn.runtime.errors import InferenceFailed, StreamClosed
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.flow.handoff import Handoff
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.observe import OBSERVER, Observer

_AHEAD = 64


@dataclass(eq=False)
class _Reader:
    """Who reads a generation: its hand-off, in the loop it belongs to, and its observer."""

    generation: Generation
    handoff: Handoff[Step]
    loop: asyncio.AbstractEventLoop
    observer: Observer | None
    prompt_observed: bool = False

    def observe(self, lane: str, begin_s: float, end_s: float) -> None:
        """Tell the observer of an engine's step, if it worked for this generation; in the lane's
        thread."""
        prompt = self.generation.prompt
        admitted = not self.prompt_observed and prompt != PromptCounts()
        if self.observer is None or not (admitted or self.generation.out):
            return
        self.observer.call(lane, begin_s, end_s)
        if admitted:
            self.prompt_observed = True
            self.observer.prompt(lane, prompt.computed, prompt.reused)

    def deliver(self) -> None:
        """Pass on what is new; in the lane's thread."""
        steps = []
        while self.generation.out:
            steps.append(self.generation.out.popleft())
        done, error = self.generation.done, self.generation.error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self.loop.call_soon_threadsafe(self._put, steps, done, error)

    def _put(self, steps: Sequence[Step], done: bool, error: Exception | None) -> None:
        if self.generation.cancelled:
            return
        for step in steps:
            self.handoff.put_now(step)
        if error is not None:
            self.handoff.fail(error)
        elif done:
            self.handoff.close()


class TokenService(Protocol):
    """Where a stage's tokens come from: an engine in this process, or one behind a server."""

    @property
    def capacity(self) -> int:
        """How many positions a prompt with its answer may have."""
        ...

    def stream(self, request: Request) -> AsyncGenerator[Step, None]: ...

    async def compute(self, request: Request) -> None: ...

    async def keep(self, request: Request) -> None: ...


class DecodeService:
    """One engine for many requests at once. Every stream ends in done, error or cancelled.

    A reader that does not read pauses its own sequence (`ahead` steps early), not the others'.
    Closing a stream frees its slot at the engine's next step.
    """

    def __init__(self, engine: DecodeEngine, lane: Lane, clock: Clock | None = None) -> None:
        self.engine = engine
        self._lane = lane
        self._clock = clock or lane.clock
        self._lock = threading.Lock()
        self._readers: dict[Generation, _Reader] = {}
        self._working = False

    @property
    def capacity(self) -> int:
        """How many positions a prompt with its answer may have."""
        return self.engine.executor.capacity

    async def stream(self, request: Request, ahead: int = _AHEAD) -> AsyncGenerator[Step, None]:
        """The steps of a request. Raises what the engine raised for it."""
        handoff: Handoff[Step] = Handoff(ahead + 1)  # the generation's limit keeps its bound
        # the driving thread must not tell of a generation before its reader is known
        with self._lock:
            generation = self.engine.add(request, ahead)
            self._readers[generation] = _Reader(
                generation, handoff, asyncio.get_running_loop(), OBSERVER.get()
            )
        self._wake()
        try:
            async for step in handoff:
                generation.limit += 1
                self._wake()
                yield step
        finally:
            handoff.abandon()
            generation.cancelled = True
            self._wake()

    async def compute(self, request: Request) -> None:
        """Compute a prompt and leave it in its slot, for whoever goes on from it."""
        async for _ in self.stream(request):
            pass

    async def keep(self, request: Request) -> None:
        """`DecodeEngine.keep`, between steps."""
        prompt = await self._lane.run(self.engine.keep, request)
        observer = OBSERVER.get()
        if observer is not None and prompt != PromptCounts():
            observer.prompt(self._lane.name, prompt.computed, prompt.reused)

    def _wake(self) -> None:
        with self._lock:
            if self._working:
                return
            self._working = True
        try:
            self._lane.submit(self._work).add_done_callback(self._worked)
        except StreamClosed as exc:
            self._stop(exc)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self.engine.busy or self._lane.wanted:
                    self._working = False
                    return
            with self._lane.turn(self.engine.urgent):
                self._step()
                # nobody takes the cores between the first tokens
                while self.engine.urgent and self.engine.busy:
                    self._step()

    def _step(self) -> None:
        begin_s = self._clock.now()
        touched = self.engine.step()
        end_s = self._clock.now()
        for generation in touched:
            reader = self._reader(generation)
            reader.observe(self._lane.name, begin_s, end_s)
            reader.deliver()

    def _worked(self, future: Future[None]) -> None:
        error = StreamClosed("the engine was closed") if future.cancelled() else future.exception()
        if error is not None:
            self._stop(error)
        elif self.engine.busy:
            self._wake()

    def _stop(self, reason: BaseException) -> None:
        """Nothing drives the engine any more: whoever reads is told why."""
        error = (
            reason
            if isinstance(reason, StreamClosed)
            else InferenceFailed(f"the token engine stopped: {reason}")
        )
        with self._lock:
            self._working = False
        for generation in self.engine.fail_all(error):
            self._reader(generation).deliver()

    def _reader(self, generation: Generation) -> _Reader:
        """Who reads a generation; forgotten once it is over."""
        with self._lock:
            reader = self._readers[generation]
            if generation.done:
                del self._readers[generation]
            return reader


def engine_of(service: TokenService) -> DecodeEngine | None:
    """The engine behind a token service, where it is in this process."""
    return service.engine if isinstance(service, DecodeService) else None
