"""Calls of a stateless graph that come while it runs are made together, as far as their shapes
allow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from voxturn.runtime.errors import StreamClosed
from voxturn.runtime.flow.fairness import CLIENT, Rounds
from voxturn.runtime.protocols import Tensor

Tensors = dict[str, Tensor]


@dataclass(eq=False)
class _Call:
    """A call that waits, its client, and where its share of the outputs goes."""

    inputs: Tensors
    client: str
    share: asyncio.Future[Tensors]


class Batches:
    """`call` runs a graph whose tensors have a first dimension of `most` sequences at most, and
    `size` numbers in all.

    Of one event loop.
    """

    def __init__(self, call: Callable[[Tensors], Awaitable[Tensors]], most: int, size: int) -> None:
        self._call = call
        self._most = most
        self._size = size
        self._waiting: deque[_Call] = deque()
        self._rounds = Rounds()
        self._runner: asyncio.Task[None] | None = None

    async def run(self, inputs: Tensors) -> Tensors:
        """This call's share of a batch's outputs."""
        share: asyncio.Future[Tensors] = asyncio.get_running_loop().create_future()
        call = _Call(inputs, CLIENT.get(), share)
        self._rounds.came(call.client)
        self._waiting.append(call)
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return await share

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # those that came together are all here then
            batch = self._next()
            if not batch:
                continue
            try:
                shares = await self._together([call.inputs for call in batch])
            except BaseException as exc:  # whatever it is, nobody waits for ever
                error = exc if isinstance(exc, Exception) else StreamClosed("the graph was closed")
                for call in batch if error is exc else [*batch, *self._waiting]:
                    if not call.share.done():
                        call.share.set_exception(error)
                if error is not exc:
                    self._waiting.clear()
                    raise
                continue
            for call, outputs in zip(batch, shares, strict=True):
                if not call.share.done():
                    call.share.set_result(outputs)

    def _next(self) -> list[_Call]:
        """The call whose turn it is and those of its shape behind it, without those that nobody
        waits for any more."""
        batch: list[_Call] = []
        left: deque[_Call] = deque()
        for call in sorted(self._waiting, key=lambda call: self._rounds.last(call.client)):
            if call.share.done():
                continue
            together = [*(each.inputs for each in batch), call.inputs]
            fits = (
                sum(map(_rows, together)) <= self._most
                and sum(map(_numbers, together)) <= self._size
            )
            if not batch or (_shapes(call.inputs) == _shapes(batch[0].inputs) and fits):
                batch.append(call)
            else:
                left.append(call)
        self._waiting = left
        for call in batch:
            self._rounds.served(call.client)
        return batch

    async def _together(self, calls: Sequence[Tensors]) -> list[Tensors]:
        outputs = await self._call(
            {name: np.concatenate([call[name] for call in calls]) for name in calls[0]}
        )
        ends = np.cumsum([_rows(call) for call in calls])
        return [
            {name: value[end - _rows(call) : end] for name, value in outputs.items()}
            for call, end in zip(calls, ends, strict=True)
        ]


def _rows(inputs: Tensors) -> int:
    return len(next(iter(inputs.values())))


def _numbers(inputs: Tensors) -> int:
    return sum(value.size for value in inputs.values())


def _shapes(inputs: Tensors) -> dict[str, tuple[int, ...]]:
    return {name: value.shape[1:] for name, value in inputs.items()}
