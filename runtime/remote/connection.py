"""A connection to a Triton server for callers in any thread or event loop."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, aclosing
from typing import Any

import numpy as np
from voxturn.runtime.flow.portal import Portal
from voxturn.runtime.remote.contract import INFO, MODELS, MOST_STREAMS, Piece
from voxturn.runtime.remote.tensors import Tensors, text_of
from voxturn.runtime.remote.transport import TritonServer

ADDRESS = "localhost:8001"
"""Where a server is looked for if a profile does not say."""


class Connection:
    """A connection to a Triton server, for callers in any thread or event loop. Close it when done.

    It lives in an event loop of its own. To the server it is a client by itself, `name` (empty: a
    name that nobody has); what is more than a model takes of one waits here. Raises
    `ExecutorUnavailable` without `tritonclient`.
    """

    def __init__(self, address: str, name: str = "") -> None:
        self.address = address
        self._name = name or uuid.uuid4().hex
        self._places: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MOST_STREAMS)
        )
        self._portal = Portal("voxturn-triton")
        self._forgetting: set[asyncio.Task[Any]] = set()
        try:
            self._server = self._portal.run(self._connect())
        except BaseException:
            self._portal.close()
            raise

    def describe(self, model: str) -> dict[str, Any]:
        """What a model says of itself: the artifact's hash, its executor, its sizes."""
        request = {INFO: np.array([True])}
        answer = self._portal.run(
            self._first(model, request)
            if MODELS[model].streams
            else self._server.infer(model, request)
        )
        description: dict[str, Any] = json.loads(text_of(answer["answer"]))
        return description

    def infer(self, model: str, inputs: Mapping[str, Any]) -> Tensors:
        """The one answer of a model that does not stream. Blocks."""
        return self._portal.run(self._infer(model, inputs, None))

    async def ainfer(
        self, model: str, inputs: Mapping[str, Any], piece: Piece | None = None
    ) -> Tensors:
        """As `infer`, for a task of any event loop.

        `piece`: of what utterance the inputs are one.
        """
        return await self._portal.arun(self._infer(model, inputs, piece))

    async def stream(self, model: str, inputs: Mapping[str, Any]) -> AsyncGenerator[Tensors, None]:
        """The answers of a model that streams. Closing this cancels the request."""
        answers = _Answers(self._stream(model, inputs))
        try:
            while (tensors := await self._portal.arun(answers.following())) is not None:
                yield tensors
        finally:
            await self._portal.arun(answers.aclose())

    def forget(self, model: str, sequence: int) -> None:
        """Have the server forget an utterance whose last piece will not come; returns at once.

        Safe wherever an object is thrown away.
        """
        self._portal.start(lambda: self._forget(model, sequence))

    def close(self) -> None:
        """Close the connection and end its thread; safe to call twice."""
        if self._portal.open:
            try:
                self._portal.run(self._end())
            finally:
                self._portal.close()

    async def _connect(self) -> TritonServer:
        return TritonServer(self.address, self._name)

    async def _infer(self, model: str, inputs: Mapping[str, Any], piece: Piece | None) -> Tensors:
        async with self._places[model]:
            return await self._server.infer(model, inputs, piece)

    async def _stream(self, model: str, inputs: Mapping[str, Any]) -> AsyncGenerator[Tensors, None]:
        async with self._places[model], aclosing(self._server.stream(model, inputs)) as answers:
            async for tensors in answers:
                yield tensors

    async def _forget(self, model: str, sequence: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)
        await self._server.forget(model, sequence)

    async def _end(self) -> None:
        if self._forgetting:
            await asyncio.wait(self._forgetting)
        await self._server.aclose()

    async def _first(self, model: str, inputs: Mapping[str, Any]) -> Tensors:
        (answer,) = [tensors async for tensors in self._server.stream(model, inputs)]
        return answer


class _Answers:
    """A stream of the portal's loop, which whoever stops waiting for may still close: it is busy
    until it has been left."""

    def __init__(self, source: AsyncGenerator[Tensors, None]) -> None:
        self._source = source
        self._waiting: asyncio.Task[Any] | None = None

    async def following(self) -> Tensors | None:
        """The next answer; None after the last."""
        self._waiting = asyncio.current_task()
        return await anext(self._source, None)

    async def aclose(self) -> None:
        """Leave the stream."""
        if self._waiting is not None and not self._waiting.done():
            if not self._waiting.cancelling():  # twice would cut short what the stream does to end
                self._waiting.cancel()
            await asyncio.wait([self._waiting])
        await self._source.aclose()


class Connections:
    """One connection an address, made when it is first asked for. Close this when done."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}

    def of(self, address: str) -> Connection:
        """The connection to the server at `address`; empty: `ADDRESS`."""
        address = address or ADDRESS
        if address not in self._connections:
            self._connections[address] = Connection(address)
        return self._connections[address]

    def close(self) -> None:
        """Close every connection, also where closing one fails; safe to call twice."""
        with ExitStack() as closing:
            while self._connections:
                closing.callback(self._connections.popitem()[1].close)
