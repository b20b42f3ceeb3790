"""Calls of a stateless graph that come while it runs are made together, as far as their shapes allow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from voxturn.runtime.errors import StreamClosed
from voxturn.runtime.protocols import Tensor

Tensors = dict[str, Tensor]


class Batches:
    """`call` runs a graph whose tensors have a first dimension of `most` sequences at most, and `size` numbers in all.

    Of one event loop.
    """

    def __init__(self, call: Callable[[Tensors], Awaitable[Tensors]], most: int, size: int) -> None:
        self._call = call
        self._most = most
        self._size = size
        self._waiting: deque[tuple[Tensors, asyncio.Future[Tensors]]] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def run(self, inputs: Tensors) -> Tensors:
        """This call's share of a batch's outputs."""
        share: asyncio.Future[Tensors] = asyncio.get_running_loop().create_future()
        self._waiting.append((inputs, share))
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
                shares = await self._together([inputs for inputs, _ in batch])
            except BaseException as exc:  # whatever it is, nobody waits for ever
                error = exc if isinstance(exc, Exception) else StreamClosed("the graph was closed")
                for _, share in batch if error is exc else [*batch, *self._waiting]:
                    if not share.done():
                        share.set_exception(error)
                if error is not exc:
                    self._waiting.clear()
                    raise
                continue
            for (_, share), outputs in zip(batch, shares, strict=True):
                if not share.done():
                    share.set_result(outputs)

    def _next(self) -> list[tuple[Tensors, asyncio.Future[Tensors]]]:
        """The call that waits longest and those of its shape behind it, without those that nobody waits for any more."""
        batch: list[tuple[Tensors, asyncio.Future[Tensors]]] = []
        left: deque[tuple[Tensors, asyncio.Future[Tensors]]] = deque()
        for inputs, share in self._waiting:
            if share.done():
                continue
            together = [each for each, _ in batch] + [inputs]
            fits = (
                sum(map(_rows, together)) <= self._most
                and sum(map(_numbers, together)) <= self._size
            )
            if not batch or (_shapes(inputs) == _shapes(batch[0][0]) and fits):
                batch.append((inputs, share))
            else:
                left.append((inputs, share))
        self._waiting = left
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
