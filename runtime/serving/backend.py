"""The server's side of a model: requests of Triton's Python backend to a handler and back.

Requests are answered from one event loop in a thread of its own, all of them at once: they share
the handler's engine. Every request ends with the final flag, whatever happens, or its client would
wait for ever. Source: triton-inference-server/python_backend, decoupled mode and request
cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from voxturn.runtime.errors import StreamClosed, TextTooLong, TooManyStreams, VoxturnError
from voxturn.runtime.flow import fairness
from voxturn.runtime.flow.clock import Clock, WallClock
from voxturn.runtime.flow.portal import Portal
from voxturn.runtime.profile import load_profile
from voxturn.runtime.remote.contract import (
    CANARY,
    CANCEL,
    CLIENT,
    INFO,
    LONGEST_REQUEST_S,
    LONGEST_SESSION_S,
    LONGEST_SPEECH_S,
    MODELS,
    MOST_STREAMS,
    OPEN,
    SEQUENCE,
    SESSION,
    UP_S,
)
from voxturn.runtime.remote.tensors import Tensors, text_tensor
from voxturn.runtime.serving.arriving import Arrived, arrived
from voxturn.runtime.serving.handlers import HANDLERS, Handler, KeepsUtterances, WarmsLater
from voxturn.runtime.serving.inputs import Inputs, name_of
from voxturn.runtime.serving.logs import logged_by_triton
from voxturn.runtime.serving.metrics import Heard, Metrics

_LOG = logging.getLogger(__name__)
PROFILE = "VOXTURN_PROFILE"
ABOUT_THE_MODEL = {CANARY, CANCEL, INFO}
"""Inputs of requests that are answered at once, without the engine."""

MOST_UNNAMED, MOST_AT_ONCE = 256, 1024
"""How many requests at once a model takes of all clients that do not give a name, and of all
together: a client may give itself any number of names."""


@dataclass(frozen=True)
class _Limits:
    """How many seconds a request may take, and have of audio in its answers; what its client is
    told where that is not enough."""

    longest_s: float
    too_late: str
    longest_speech_s: float
    too_much_speech: str


_OF_A_REQUEST = _Limits(
    LONGEST_REQUEST_S,
    f"a request may take {LONGEST_REQUEST_S:.0f} s; send less at once",
    LONGEST_SPEECH_S,
    f"a request may be answered with {LONGEST_SPEECH_S:.0f} s of audio; send the text in pieces",
)
_OF_A_SESSION = _Limits(
    LONGEST_SESSION_S,
    f"a session may take {LONGEST_SESSION_S:.0f} s; open another",
    LONGEST_SESSION_S,
    f"a session may be answered with {LONGEST_SESSION_S:.0f} s of audio; open another",
)
_LONGEST_ERROR = 1000
_POLL_S = 0.05


class Backend:
    """One served model in its process.

    `utilities` is Triton's `triton_python_backend_utils`, `name` the model's.
    """

    def __init__(
        self,
        utilities: Any,
        name: str,
        handler: Handler | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._pb = utilities
        self._model = MODELS[name]
        self._clock = clock or WallClock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._named: dict[tuple[str, str], set[asyncio.Task[None]]] = {}
        self._clients: Counter[str] = Counter()
        self._begin_s = self._clock.now()
        with contextlib.ExitStack() as resources:  # closed if one of the later ones fails
            resources.enter_context(logged_by_triton(utilities, name))
            self._handler = handler or HANDLERS[name](load_profile(os.environ.get(PROFILE, "demo")))
            resources.callback(self._handler.close)
            self._portal = Portal(f"voxturn-serve-{name}")
            resources.callback(self._portal.close)
            self._portal.run(self._handler.warm())
            if isinstance(self._handler, WarmsLater):
                self._portal.call(self._keep, self._handler.warm_later())
            self._load_s = self._clock.now() - self._begin_s
            self._metrics = Metrics(utilities, name)
            if self._handler.engine is not None:
                self._handler.engine.watch(self._measure_later)
            self._resources = resources.pop_all()
        _LOG.info("loaded in %.1f s", self._load_s)

    def execute(self, requests: Sequence[Any]) -> None:
        """Begin to answer requests; returns at once. Inputs that the model takes are copied: their
        memory is the server's."""
        for request in requests:
            sender = request.get_response_sender()
            self._portal.call(self._begin, sender, arrived(self._pb, self._model, request))

    def close(self) -> None:
        """End every request, then the engines."""
        with self._resources:
            self._portal.run(self._cancel_all())

    def _begin(self, sender: Any, request: Arrived) -> None:
        task = self._keep(self._answer(sender, request))
        if request.name and not request.inputs.keys() & ABOUT_THE_MODEL:
            name = (request.client, request.name)
            self._named.setdefault(name, set()).add(task)
            task.add_done_callback(lambda _: self._forget_named(name, task))

    def _forget_named(self, name: tuple[str, str], task: asyncio.Task[None]) -> None:
        self._named[name].remove(task)
        if not self._named[name]:
            del self._named[name]

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that `close` ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _answer(self, sender: Any, request: Arrived) -> None:
        limits = _limits(request.inputs)
        until = self._clock.now() + limits.longest_s
        watch = asyncio.create_task(self._watch(sender, asyncio.current_task(), until))
        final, error, outcome = self._pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL, "", "done"
        last: Tensors | None = None
        heard = Heard(self._metrics, self._clock)
        try:
            async with contextlib.aclosing(self._answers(request)) as answers:
                async for tensors in answers:
                    if self._model.streams:
                        sender.send(self._response(tensors))
                        if (
                            limits is _OF_A_REQUEST
                        ):  # a session's audio comes when there is an answer
                            heard.sent(tensors)
                    else:
                        last = tensors
        except VoxturnError as exc:
            error, outcome = f"{type(exc).__name__}: {exc}", "error"
        except asyncio.CancelledError:
            error, outcome = "StreamClosed: the request was cancelled", "cancelled"
            if self._clock.now() >= until:
                error, outcome = f"DeadlineExceeded: {self._model.name}: {limits.too_late}", "error"
        except Exception as exc:  # noqa: BLE001  it is the client's, and logged
            _LOG.exception("a request ended in an unexpected error")
            error, outcome = (
                f"InferenceFailed: {self._model.name}: {type(exc).__name__}: {exc}",
                "error",
            )
        watch.cancel()
        if error:
            refusal = self._pb.TritonError(_line(error))
            sender.send(self._pb.InferenceResponse(output_tensors=[], error=refusal), flags=final)
        elif last is not None:  # the one answer of a model that does not stream ends its request
            sender.send(self._response(last), flags=final)
        else:
            sender.send(flags=final)
        if not request.inputs.keys() & ABOUT_THE_MODEL:
            self._metrics.count("requests", "requests that ended", outcome=outcome)
            self._measure()

    def _measure(self) -> None:
        """Tell the metrics what the token engine has done, and what it holds now."""
        if self._handler.engine is not None:
            self._metrics.engine(self._handler.engine)

    def _measure_later(self) -> None:
        """In the engine's thread: a slot was taken or left, which for a stream that is cancelled is
        after its end."""
        with contextlib.suppress(StreamClosed):  # the model goes: nobody reads its metrics
            self._portal.call(self._measure)

    async def _answers(self, request: Arrived) -> AsyncGenerator[Tensors, None]:
        inputs, client, made_s = request.inputs, request.client, 0.0
        fairness.CLIENT.set(client)
        try:
            self._check(request)
        except VoxturnError:
            self._forget_utterance(inputs)
            raise
        blank: Tensors = {}
        if not self._model.streams:  # its one answer has every output
            blank = {"answer": text_tensor("")} | {
                s.name: _blank(s.shape, s.dtype) for s in self._model.outputs
            }
        if inputs.keys() & ABOUT_THE_MODEL:
            # what it names came before this and has begun: a task that never did would send no end
            for named in self._named.get((client, name_of(inputs, CANCEL)), ()):
                named.cancel()
            if CANCEL in inputs:
                self._forget_utterance(inputs)
            about = {"answer": text_tensor(json.dumps(self._describe()))} if INFO in inputs else {}
            if blank or about:
                yield blank | about
            return
        limits = _limits(inputs)
        self._measure()
        with self._stream_of(client, inputs):
            async with contextlib.aclosing(
                self._handler({k: v for k, v in inputs.items() if k != CLIENT})
            ) as answers:
                async for tensors in answers:
                    if "pcm" in tensors:
                        made_s += tensors["pcm"].size / int(tensors["rate"][0])
                    if made_s > limits.longest_speech_s:
                        raise TextTooLong(f"{self._model.name}: {limits.too_much_speech}")
                    yield blank | tensors

    @contextlib.contextmanager
    def _stream_of(self, client: str, inputs: Inputs) -> Iterator[None]:
        """Count a stream of a client's."""
        if not _is_stream(inputs):
            yield
            return
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    def _check(self, request: Arrived) -> None:
        """Raise for what is not for the handler."""
        if request.refusal is not None:
            raise request.refusal
        if not request.inputs.keys() & ABOUT_THE_MODEL:
            self._model.check_required(request.inputs)
            if _is_stream(request.inputs):
                self._check_room(request.client)

    def _forget_utterance(self, inputs: Inputs) -> None:
        """Forget the utterance that a request is a piece of: what comes after a piece that is not
        heard would be joined over a hole."""
        if SEQUENCE in inputs and isinstance(self._handler, KeepsUtterances):
            self._handler.forget(name_of(inputs, SEQUENCE))

    def _check_room(self, client: str) -> None:
        if client and self._clients[client] >= MOST_STREAMS:
            raise TooManyStreams(
                f"{self._model.name}: a client may have {MOST_STREAMS} streams at once; end one first"
            )
        if self._clients[client] >= MOST_UNNAMED:
            raise TooManyStreams(
                f"{self._model.name}: clients without a name have {MOST_UNNAMED} streams; name yours by {CLIENT!r}"
            )
        if self._clients.total() >= MOST_AT_ONCE:
            raise TooManyStreams(
                f"{self._model.name}: there are {MOST_AT_ONCE} streams; try again later"
            )

    def _describe(self) -> dict[str, Any]:
        """What the handler says of itself, how long it took to load and is there, and how many of
        its slots are held now."""
        engine = self._handler.engine
        held = {} if engine is None else {"slots_held": len(engine.running)}
        return (
            self._handler.describe()
            | {"load_s": self._load_s, UP_S: self._clock.now() - self._begin_s}
            | held
        )

    async def _watch(self, sender: Any, task: asyncio.Task[None] | None, until: float) -> None:
        """Cancel the task once its client has gone, or it has taken too long."""
        while not sender.is_cancelled() and self._clock.now() < until:  # the server tells nobody
            await self._clock.sleep_until(self._clock.now() + _POLL_S)
        if task is not None:
            task.cancel()

    def _response(self, tensors: Tensors) -> Any:
        return self._pb.InferenceResponse(
            [self._pb.Tensor(name, value) for name, value in tensors.items()]
        )

    async def _cancel_all(self) -> None:
        await asyncio.sleep(0)  # they begin first: a task that never did would send no end
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


def _is_stream(inputs: Inputs) -> bool:
    """Whether a request is one of its client's streams: what is told to a session is none, the
    session limits it."""
    return SESSION not in inputs or OPEN in inputs


def _limits(inputs: Inputs) -> _Limits:
    return _OF_A_SESSION if {SESSION, OPEN} <= inputs.keys() else _OF_A_REQUEST


def _line(error: str) -> str:
    """One line that can be sent, whatever a stranger has put into it."""
    return " ".join(error.split())[:_LONGEST_ERROR].encode(errors="backslashreplace").decode()


def _blank(shape: Sequence[int | str], dtype: str) -> np.ndarray[Any, Any]:
    sizes = [0 if isinstance(size, str) else size for size in shape]
    return np.full(sizes, b"", np.object_) if dtype == "object" else np.zeros(sizes, dtype)
