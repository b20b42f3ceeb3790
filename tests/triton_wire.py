"""Stands for a Triton server between a real `TritonServer` and a real `Backend`, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from voxturn.runtime.remote.transport import TritonServer
from voxturn.runtime.serving.backend import Backend

from tests.triton_fakes import Asked, Sender

_END: Any = object()


class Wire:
    """In place of Triton's client of gRPC: requests go to a backend, or to that of their model.

    `calls`: those that are open. After `die` nothing is answered any more.
    """

    def __init__(self, backend: Backend | None = None, **by_model: Backend) -> None:
        self._backend = backend
        self._by_model = by_model
        self.calls: set[Call] = set()
        self.asked: list[dict[str, Any]] = []
        self.dead = False

    def stream_infer(self, requests: AsyncIterator[dict[str, Any]]) -> Call:
        return Call(self, requests)

    async def infer(self, model: str, inputs: list[Input], **options: Any) -> Result:
        """The one answer of a model that does not stream."""

        async def one() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": model, "inputs": inputs, **options}

        call = self.stream_infer(one())
        try:
            result, error = await anext(call)
            if error is not None:
                raise RuntimeError(error.message())
            return cast(Result, result)
        finally:
            call.cancel()

    def execute(self, model: str, asked: Asked) -> None:
        """Hand a request to its backend."""
        self.asked.append(asked.tensors)
        (self._backend or self._by_model[model]).execute([asked])

    def die(self) -> None:
        self.dead = True

    async def close(self) -> None:
        """Nothing to do."""


class Call:
    """A stream of requests and of their answers."""

    def __init__(self, wire: Wire, requests: AsyncIterator[dict[str, Any]]) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._answers: asyncio.Queue[Any] = asyncio.Queue()
        self._senders: list[Sender] = []
        self._running = 0
        self._all_sent = False
        self._task = asyncio.create_task(self._send(requests))
        wire.calls.add(self)

    def __aiter__(self) -> Call:
        return self

    async def __anext__(self) -> Any:
        answer = await self._answers.get()
        if answer is _END:
            self._answers.put_nowait(_END)
            raise StopAsyncIteration
        return answer

    def cancel(self) -> None:
        """The call is cut: the server sees that the client has gone."""
        self._task.cancel()
        for sender in self._senders:
            sender.cancelled = True
        self._end()

    async def _send(self, requests: AsyncIterator[dict[str, Any]]) -> None:
        async for request in requests:
            if self._wire.dead:
                continue
            tensors = {each.name: each.value for each in request["inputs"]}
            sender = Replies(self._came)
            self._senders.append(sender)
            self._running += 1
            flag = request.get("sequence_start", 0) + 2 * request.get("sequence_end", 0)
            asked = Asked(
                tensors,
                sender,
                request.get("sequence_id", 0),
                flag,
                request.get("request_id", ""),
            )
            self._wire.execute(request["model_name"], asked)
        self._all_sent = True
        if not self._running and not self._wire.dead:
            self._end()

    def _came(self, response: Any, final: bool) -> None:
        """In the backend's thread."""
        self._loop.call_soon_threadsafe(self._add, response, final)

    def _add(self, response: Any, final: bool) -> None:
        if self._wire.dead:
            return
        if response is not None:
            tensors, error = response
            if error:
                self._answers.put_nowait((None, SimpleNamespace(message=lambda: error)))
            else:
                self._answers.put_nowait((Result(dict(tensors)), None))
        self._running -= final
        if self._all_sent and not self._running:
            self._end()

    def _end(self) -> None:
        self._wire.calls.discard(self)
        self._answers.put_nowait(_END)


class Replies(Sender):
    """A sender that hands on what is sent."""

    def __init__(self, came: Any) -> None:
        super().__init__()
        self._hand_on = came

    def send(self, response: Any = None, flags: int = 0) -> None:
        super().send(response, flags)
        self._hand_on(response, bool(flags))


@dataclass
class Result:
    """Of an answer."""

    tensors: dict[str, np.ndarray[Any, Any]]

    def get_response(self) -> Any:
        return SimpleNamespace(outputs=[SimpleNamespace(name=name) for name in self.tensors])

    def as_numpy(self, name: str) -> np.ndarray[Any, Any]:
        return self.tensors[name]


class Input:
    """Of a request."""

    def __init__(self, name: str, shape: list[int], kind: str) -> None:
        self.name = name
        self.value: np.ndarray[Any, Any]

    def set_data_from_numpy(self, value: np.ndarray[Any, Any]) -> None:
        self.value = value


class WiredServer(TritonServer):
    """A connection over a wire."""

    def __init__(self, wire: Wire, name: str = "someone", **options: Any) -> None:
        super().__init__("there:1", name, **options)
        self._real, self._client = self._client, wire
        self._aio = SimpleNamespace(InferInput=Input)

    async def aclose(self) -> None:
        """Close what was never used, too."""
        await self._real.close()
