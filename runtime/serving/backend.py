"""The server's side of a model: requests of Triton's Python backend to a handler and back.

Requests are answered from one event loop in a thread of its own, all of them at once: they share the handler's engine.
Every request ends with the final flag, whatever happens, or its client would wait for ever.
Source: triton-inference-server/python_backend, decoupled mode and request cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import numpy as np
from voxturn.runtime.errors import VoxturnError
from voxturn.runtime.profile import load_profile
from voxturn.runtime.serving.contract import CANARY, MODELS
from voxturn.runtime.serving.events import Tensors
from voxturn.runtime.serving.handlers import HANDLERS, Handler, Inputs

PROFILE = "VOXTURN_PROFILE"
_POLL_S = 0.05


class Backend:
    """One served model in its process. `utilities` is Triton's `triton_python_backend_utils`, `name` the model's."""

    def __init__(self, utilities: Any, name: str, handler: Handler | None = None) -> None:
        self._pb, self._model = utilities, MODELS[name]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"voxturn-serve-{name}", daemon=True)
        self._thread.start()
        self._tasks: set[asyncio.Task[None]] = set()
        self._handler = handler or HANDLERS[name](load_profile(os.environ.get(PROFILE, "demo")))
        asyncio.run_coroutine_threadsafe(self._handler.warm(), self._loop).result()

    def execute(self, requests: Sequence[Any]) -> None:
        """Begin to answer requests; returns at once. Inputs are copied: their memory is the server's."""
        for request in requests:
            sender = request.get_response_sender()
            inputs = {tensor.name(): np.array(tensor.as_numpy()) for tensor in request.inputs()}
            self._loop.call_soon_threadsafe(self._begin, sender, inputs)

    def close(self) -> None:
        """End every request, then the engines."""
        asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._handler.close()

    def _begin(self, sender: Any, inputs: Inputs) -> None:
        task = self._loop.create_task(self._answer(sender, inputs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, sender: Any, inputs: Inputs) -> None:
        watch = asyncio.create_task(self._watch(sender, asyncio.current_task()))
        final, error = self._pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL, ""
        last: Tensors | None = None
        try:
            async with contextlib.aclosing(self._answers(inputs)) as answers:
                async for tensors in answers:
                    if self._model.streams:
                        sender.send(self._response(tensors))
                    else:
                        last = tensors
        except VoxturnError as exc:
            error = f"{type(exc).__name__}: {exc}"
        except asyncio.CancelledError:
            error = "StreamClosed: the request was cancelled"
        except Exception as exc:  # noqa: BLE001  it is the client's
            error = f"InferenceFailed: {self._model.name}: {type(exc).__name__}: {exc}"
        watch.cancel()
        if error:
            refusal = self._pb.TritonError(" ".join(error.split()))
            sender.send(self._pb.InferenceResponse(output_tensors=[], error=refusal), flags=final)
        elif last is not None:  # the one answer of a model that does not stream ends its request
            sender.send(self._response(last), flags=final)
        else:
            sender.send(flags=final)

    async def _answers(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        if CANARY in inputs:
            if not self._model.streams:
                yield {spec.name: _blank(spec.shape, spec.dtype) for spec in self._model.outputs}
            return
        self._model.check(inputs)
        async with contextlib.aclosing(self._handler(inputs)) as answers:
            async for tensors in answers:
                yield tensors

    async def _watch(self, sender: Any, task: asyncio.Task[None] | None) -> None:
        """Cancel the task once its client has gone."""
        while not sender.is_cancelled():  # noqa: ASYNC110  the server tells nobody
            await asyncio.sleep(_POLL_S)
        if task is not None:
            task.cancel()

    def _response(self, tensors: Tensors) -> Any:
        return self._pb.InferenceResponse([self._pb.Tensor(name, value) for name, value in tensors.items()])

    async def _cancel_all(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


def _blank(shape: Sequence[int | str], dtype: str) -> np.ndarray[Any, Any]:
    sizes = [0 if isinstance(size, str) else size for size in shape]
    return np.full(sizes, b"", np.object_) if dtype == "object" else np.zeros(sizes, dtype)
