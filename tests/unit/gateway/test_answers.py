"""Answers end when the client leaves, when their time is over, or with an error: each time
everything is closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from voxturn.runtime.errors import InferenceFailed, TooManyStreams
from voxturn.runtime.families.fake import FakeReplier
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.limits import Limits
from voxturn.runtime.messages import ReplyToken, Transcript
from voxturn.runtime.turn.recognise import FilteredRecogniser

from tests.unit.gateway.sounds import wav

CHAT, HEARD = "/v1/chat/completions", "/v1/audio/transcriptions"
QUESTION = {"messages": [{"role": "user", "content": "Why?"}]}


class Slow(FakeReplier):
    """Says a word, then waits for ever; or raises `error` first, or after it."""

    def __init__(self, first: bool = True, error: Exception | None = None) -> None:
        super().__init__("")
        self.first = first
        self.error = error
        self.waiting = asyncio.Event()
        self.closed = asyncio.Event()

    async def __call__(self, messages: Any, tools: Any = ()) -> AsyncGenerator[ReplyToken, None]:  # type: ignore[override]
        try:
            if self.first:
                yield ReplyToken("Because ", (1,))
            if self.error is not None:
                raise self.error
            self.waiting.set()
            await asyncio.Event().wait()
        finally:
            self.closed.set()


@pytest.fixture
def slow(gateway: Gateway) -> Slow:
    """The gateway's replier."""
    return replaced(gateway, Slow())


def replaced(gateway: Gateway, replier: Slow) -> Slow:
    gateway.assistant.stages = replace(gateway.assistant.stages, replier=replier)
    return replier


async def empty(gateway: Gateway) -> None:
    """Return once nobody has a place."""
    while gateway.limits.sessions:  # noqa: ASYNC110  nobody is told of it
        await asyncio.sleep(0)


async def test_a_client_that_leaves_stops_the_model(
    http: httpx2.AsyncClient, gateway: Gateway, slow: Slow
) -> None:
    asked = asyncio.create_task(http.post(CHAT, json=QUESTION))
    async with asyncio.timeout(10):
        await slow.waiting.wait()
        assert gateway.limits.sessions == 1
        asked.cancel()
        await slow.closed.wait()
        await empty(gateway)


async def test_a_client_that_leaves_a_stream_stops_the_model(
    http: httpx2.AsyncClient, gateway: Gateway, slow: Slow
) -> None:
    async with asyncio.timeout(10):
        async with http.stream("POST", CHAT, json=QUESTION | {"stream": True}) as answer:
            lines = answer.aiter_lines()
            while "Because" not in await anext(lines):
                pass
            assert not slow.closed.is_set()
        await slow.closed.wait()
        await empty(gateway)


async def test_a_client_that_leaves_while_it_does_not_read_stops_the_model(
    http: httpx2.AsyncClient, gateway: Gateway
) -> None:
    """What is sent waits for the client, not for the model."""

    class Endless(Slow):
        async def __call__(self, messages: Any, tools: Any = ()) -> Any:
            try:
                while True:
                    yield ReplyToken("word " * 1000, (1,))
                    await asyncio.sleep(0)
            finally:
                self.closed.set()

    endless = replaced(gateway, Endless())
    async with asyncio.timeout(10):
        async with http.stream("POST", CHAT, json=QUESTION | {"stream": True}) as answer:
            await anext(answer.aiter_bytes())
            for _ in range(500):
                await asyncio.sleep(0)
        await endless.closed.wait()
        await empty(gateway)


async def test_a_client_that_leaves_before_the_first_word_stops_the_model(
    http: httpx2.AsyncClient, gateway: Gateway
) -> None:
    slow = replaced(gateway, Slow(first=False))
    asked = asyncio.create_task(http.post(CHAT, json=QUESTION | {"stream": True}))
    async with asyncio.timeout(10):
        await slow.waiting.wait()
        asked.cancel()
        await slow.closed.wait()
        await empty(gateway)


class Hears:
    """A recogniser that hears `heard` in each passage; None: never."""

    def __init__(self, gateway: Gateway, heard: Callable[[], Transcript] | None = None) -> None:
        self.waiting, self.closed = asyncio.Event(), asyncio.Event()
        self._heard = heard
        stages = gateway.assistant.stages
        recogniser = FilteredRecogniser(self, stages.recogniser._filter)
        gateway.assistant.stages = replace(stages, recogniser=recogniser)

    def hear(self, prior: str = "") -> Hears:
        return self

    async def warm(self) -> None: ...

    async def partial(self, speaking: Any) -> None: ...

    async def final(self, samples: Any, words: bool = False) -> Transcript:
        if self._heard is not None:
            return self._heard()
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.closed.set()
        raise AssertionError("unreachable")


async def test_a_client_that_leaves_stops_the_recogniser(
    http: httpx2.AsyncClient, gateway: Gateway
) -> None:
    hears = Hears(gateway)
    asked = asyncio.create_task(http.post(HEARD, files={"file": wav(1.0)}))
    async with asyncio.timeout(10):
        await hears.waiting.wait()
        asked.cancel()
        await hears.closed.wait()
        await empty(gateway)


@pytest.mark.parametrize("stream", ["true", "false"])
async def test_each_utterance_of_a_recording_has_the_time_of_an_answer(
    http: httpx2.AsyncClient, gateway: Gateway, stream: str
) -> None:
    clock = gateway.clock = ManualClock()

    words = iter(["Yes.", "", "", "", "Yes."] * 2)

    def slowly() -> Transcript:
        clock.advance(0.9 * gateway.settings.request_s)
        return Transcript(next(words), "en")

    vad = '{"type": "server_vad", "silence_duration_ms": 300}'
    form = {"stream": stream, "chunking_strategy": vad}
    passages = {"file": wav(*[1.0] * 9)}
    Hears(gateway, slowly)
    answer = await http.post(HEARD, data=form, files=passages)
    assert answer.status_code == 200
    assert answer.text.count("Yes. Yes.") == 1
    hangs = Hears(gateway)
    asked = asyncio.create_task(http.post(HEARD, data=form, files=passages))
    async with asyncio.timeout(10):
        await hangs.waiting.wait()
        clock.advance(gateway.settings.request_s + 1)
        answer = await asked
        assert hangs.closed.is_set()
        await empty(gateway)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")


async def test_an_answer_has_its_time(
    http: httpx2.AsyncClient, gateway: Gateway, slow: Slow
) -> None:
    clock = gateway.clock = ManualClock()
    for body in (QUESTION, QUESTION | {"stream": True}):
        slow.waiting.clear()
        slow.closed.clear()
        asked = asyncio.create_task(http.post(CHAT, json=body))
        async with asyncio.timeout(10):
            await slow.waiting.wait()
            assert not slow.closed.is_set()
            clock.advance(gateway.settings.request_s + 1)
            answer = await asked
            assert slow.closed.is_set()
        assert "deadline_exceeded" in answer.text
    assert answer.status_code == 200  # it had begun
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_an_error_in_a_stream_is_its_last_event(
    http: httpx2.AsyncClient, gateway: Gateway
) -> None:
    replaced(gateway, Slow(error=TooManyStreams("no place is free")))
    answer = await http.post(CHAT, json=QUESTION | {"stream": True})
    *_, error, done = (line for line in answer.text.split("\n\n") if line)
    assert done == "data: [DONE]"
    told = json.loads(error.removeprefix("data: "))
    assert told["error"]["code"] == "session_limit_reached"


async def test_an_error_before_the_first_word_has_a_status(
    http: httpx2.AsyncClient, gateway: Gateway
) -> None:
    replaced(gateway, Slow(first=False, error=InferenceFailed("at /home/ana/models")))
    answer = await http.post(CHAT, json=QUESTION | {"stream": True})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "ana" not in answer.text


async def test_a_full_house_says_so_at_once(
    http: httpx2.AsyncClient, gateway: Gateway, slow: Slow
) -> None:
    gateway.limits = Limits(replace(gateway.settings, sessions=1), 1)
    asked = asyncio.create_task(http.post(CHAT, json=QUESTION))
    async with asyncio.timeout(10):
        await slow.waiting.wait()
        for body in (QUESTION, QUESTION | {"stream": True}):
            answer = await http.post(CHAT, json=body)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
        asked.cancel()
        await slow.closed.wait()
