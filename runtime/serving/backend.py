"""The server's side of a model: requests of Triton's Python backend to a handler and back.

Requests are answered from one event loop in a thread of its own, all of them at once: they share the handler's engine.
Every request ends with the final flag, whatever happens, or its client would wait for ever.
Source: triton-inference-server/python_backend, decoupled mode and request cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any

import numpy as np
from voxturn.runtime.errors import StreamClosed, TooManyStreams, VoxturnError
from voxturn.runtime.flow.clock import Clock, WallClock
from voxturn.runtime.flow.portal import Portal
from voxturn.runtime.profile import load_profile
from voxturn.runtime.remote.contract import (
    CANARY,
    CANCEL,
    CLIENT,
    END,
    INFO,
    MODELS,
    SEQUENCE,
    UP_S,
)
from voxturn.runtime.remote.tensors import Tensors, text_of, text_tensor
from voxturn.runtime.serving.handlers import HANDLERS, Handler, WarmsLater
from voxturn.runtime.serving.inputs import Inputs
from voxturn.runtime.serving.logs import logged_by_triton
from voxturn.runtime.serving.metrics import Heard, Metrics

_LOG = logging.getLogger(__name__)
PROFILE = "VOXTURN_PROFILE"
ABOUT_THE_MODEL = {CANARY, CANCEL, INFO}
"""Inputs of requests that are answered at once, without the engine."""

MOST_STREAMS = 16
"""How many requests at once a model takes of one client that gives its name."""
_POLL_S = 0.05


class Backend:
    """One served model in its process. `utilities` is Triton's `triton_python_backend_utils`, `name` the model's."""

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
        self._named: dict[str, asyncio.Task[None]] = {}
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
        """Begin to answer requests; returns at once. Inputs are copied: their memory is the server's."""
        for request in requests:
            sender = request.get_response_sender()
            inputs = {tensor.name(): np.array(tensor.as_numpy()) for tensor in request.inputs()}
            if number := request.correlation_id():
                inputs[SEQUENCE] = text_tensor(str(number))
                if request.flags() & self._pb.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END:
                    inputs[END] = np.array([True])
            self._portal.call(self._begin, sender, inputs, request.request_id())

    def close(self) -> None:
        """End every request, then the engines."""
        with self._resources:
            self._portal.run(self._cancel_all())

    def _begin(self, sender: Any, inputs: Inputs, name: str) -> None:
        if CANCEL in inputs and (named := self._named.get(text_of(inputs[CANCEL]))) is not None:
            # once it has begun: a task that never did would send no end
            asyncio.get_running_loop().call_soon(named.cancel)
        task = self._keep(self._answer(sender, inputs))
        if name:
            self._named[name] = task
            task.add_done_callback(lambda _: self._named.pop(name, None))

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that `close` ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _answer(self, sender: Any, inputs: Inputs) -> None:
        watch = asyncio.create_task(self._watch(sender, asyncio.current_task()))
        final, error, outcome = self._pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL, "", "done"
        last: Tensors | None = None
        heard = Heard(self._metrics, self._clock)
        try:
            async with contextlib.aclosing(self._answers(inputs)) as answers:
                async for tensors in answers:
                    if self._model.streams:
                        sender.send(self._response(tensors))
                        heard.sent(tensors)
                    else:
                        last = tensors
        except VoxturnError as exc:
            error, outcome = f"{type(exc).__name__}: {exc}", "error"
        except asyncio.CancelledError:
            error, outcome = "StreamClosed: the request was cancelled", "cancelled"
        except Exception as exc:  # noqa: BLE001  it is the client's, and logged
            _LOG.exception("a request ended in an unexpected error")
            error, outcome = (
                f"InferenceFailed: {self._model.name}: {type(exc).__name__}: {exc}",
                "error",
            )
        watch.cancel()
        if error:
            refusal = self._pb.TritonError(" ".join(error.split()))
            sender.send(self._pb.InferenceResponse(output_tensors=[], error=refusal), flags=final)
        elif last is not None:  # the one answer of a model that does not stream ends its request
            sender.send(self._response(last), flags=final)
        else:
            sender.send(flags=final)
        if not inputs.keys() & ABOUT_THE_MODEL:
            self._metrics.count("requests", "requests that ended", outcome=outcome)
            self._measure()

    def _measure(self) -> None:
        """Tell the metrics what the token engine has done, and what it holds now."""
        if self._handler.engine is not None:
            self._metrics.engine(self._handler.engine)

    def _measure_later(self) -> None:
        """In the engine's thread: a slot was taken or left, which for a stream that is cancelled is after its end."""
        with contextlib.suppress(StreamClosed):  # the model goes: nobody reads its metrics
            self._portal.call(self._measure)

    async def _answers(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        blank: Tensors = {}
        if not self._model.streams:  # its one answer has every output
            blank = {"answer": text_tensor("")} | {
                s.name: _blank(s.shape, s.dtype) for s in self._model.outputs
            }
        if inputs.keys() & ABOUT_THE_MODEL:
            about = {"answer": text_tensor(json.dumps(self._describe()))} if INFO in inputs else {}
            if blank or about:
                yield blank | about
            return
        self._model.check(inputs)
        client = text_of(inputs[CLIENT]) if CLIENT in inputs else ""
        if client and self._clients[client] >= MOST_STREAMS:
            raise TooManyStreams(
                f"{self._model.name}: a client may have {MOST_STREAMS} streams at once; end one first"
            )
        self._clients[client] += 1
        self._measure()
        try:
            async with contextlib.aclosing(
                self._handler({k: v for k, v in inputs.items() if k != CLIENT})
            ) as answers:
                async for tensors in answers:
                    yield blank | tensors
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    def _describe(self) -> dict[str, Any]:
        """What the handler says of itself, how long it took to load and is there, and how many of its slots are held now."""
        engine = self._handler.engine
        held = {} if engine is None else {"slots_held": len(engine.running)}
        return (
            self._handler.describe()
            | {"load_s": self._load_s, UP_S: self._clock.now() - self._begin_s}
            | held
        )

    async def _watch(self, sender: Any, task: asyncio.Task[None] | None) -> None:
        """Cancel the task once its client has gone."""
        while not sender.is_cancelled():  # the server tells nobody
            await self._clock.sleep_until(self._clock.now() + _POLL_S)
        if task is not None:
            task.cancel()

    def _response(self, tensors: Tensors) -> Any:
        return self._pb.InferenceResponse(
            [self._pb.Tensor(name, value) for name, value in tensors.items()]
        )

    async def _cancel_all(self) -> None:
        await asyncio.sleep(0)  # as above
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


def _blank(shape: Sequence[int | str], dtype: str) -> np.ndarray[Any, Any]:
    sizes = [0 if isinstance(size, str) else size for size in shape]
    return np.full(sizes, b"", np.object_) if dtype == "object" else np.zeros(sizes, dtype)
