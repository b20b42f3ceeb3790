from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

import pytest
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.canary import Canary
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.messages import Message, ReplyToken, ToolSpec


class Engine:
    """Answers once it may; counts who asks."""

    def __init__(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.running = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None
        monkeypatch.setattr(type(gateway.assistant.stages.replier), "__call__", self._answer_of())

    def _answer_of(self) -> object:
        async def answer(
            _: object, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()
        ) -> AsyncGenerator[ReplyToken, None]:
            self.asked += 1
            self.running += 1
            try:
                await self.go.wait()
                if self.error is not None:
                    raise self.error
                yield ReplyToken("Yes.", (1,))
            finally:
                self.running -= 1

        return answer


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(100.0)


@pytest.fixture
def engine(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Engine(gateway, monkeypatch)


@pytest.fixture
async def canary(gateway: Gateway, clock: ManualClock) -> AsyncIterator[Canary]:
    made = Canary(gateway.assistant, clock, holds_s=15.0, patience_s=10.0)
    yield made
    await made.aclose()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)


async def test_a_result_holds_for_a_while(
    canary: Canary, engine: Engine, clock: ManualClock
) -> None:
    engine.go.set()
    first = await canary()
    assert first.problem == ""
    clock.advance(14.9)
    assert await canary() is first
    assert engine.asked == 1
    clock.advance(0.2)
    assert await canary() is not first
    assert engine.asked == 2


async def test_there_is_one_at_a_time_and_whoever_asks_shares_it(
    canary: Canary, engine: Engine
) -> None:
    asking = [asyncio.create_task(canary()) for _ in range(5)]
    await until(lambda: engine.asked)
    asking[0].cancel()  # one leaves; the others are told all the same
    engine.go.set()
    results = await asyncio.gather(*asking[1:])
    assert engine.asked == 1
    assert len(set(map(id, results))) == 1


async def test_a_hung_engine_is_a_problem_after_the_patience(
    canary: Canary, engine: Engine, clock: ManualClock
) -> None:
    asking = asyncio.create_task(canary())
    await until(lambda: engine.asked and clock.waiting)
    clock.advance(10.0)
    assert (await asking).problem == "canary_too_slow"
    await until(lambda: engine.running == 0)


async def test_an_error_is_told_by_its_code(canary: Canary, engine: Engine) -> None:
    engine.error = InferenceFailed("inside")
    engine.go.set()
    assert (await canary()).problem == "internal_error"


async def test_closing_stops_what_runs(canary: Canary, engine: Engine) -> None:
    asking = asyncio.create_task(canary())
    await until(lambda: engine.running)
    await canary.aclose()
    assert (await asking).problem == "stopping"
    assert engine.running == 0
