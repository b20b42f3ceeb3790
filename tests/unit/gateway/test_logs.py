"""The gateway's log: what is in a line, and what never is."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.errors import EmptyText, InferenceFailed
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.logs import (
    JsonFormatter,
    TextFormatter,
    event,
    log_context,
    logging_to,
    note,
)
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.gateway.wyoming.server import serving_wyoming
from voxturn.runtime.messages import Message, ReplyToken, SessionError, ToolSpec, TurnDone
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import load_profile
from voxturn.runtime.turn.session import SessionOptions
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioStart
from wyoming.tts import Synthesize, SynthesizeVoice

from tests.wyoming_client import Client

RARE = "Xylographie"
LOG = logging.getLogger("voxturn.runtime.test")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Everything that is logged, as JSON, from the lowest level on."""
    stream = io.StringIO()
    with logging_to(stream, "json", "debug"):
        yield stream


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_time_level_event_ids_and_fields(lines: io.StringIO) -> None:
    with log_context(request="req_1", key="k1"):
        note(session="s1")
        event(LOG, "happened", logging.WARNING, ms=3)
    event(LOG, "later")
    first, second = read(lines)
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "warning",
        "event": "happened",
        "request": "req_1",
        "session": "s1",
        "key": "k1",
        "ms": 3,
    }
    assert second.keys() == {"time", "level", "event"}


async def test_ids_noted_late_are_those_of_tasks_begun_before(lines: io.StringIO) -> None:
    go = asyncio.Event()

    async def work() -> None:
        await go.wait()
        event(LOG, "worked")

    with log_context(request="req_1"):
        task = asyncio.create_task(work())
        note(session="s1", turn="t1")
        go.set()
    await task
    (line,) = read(lines)
    assert (line["request"], line["session"], line["turn"]) == ("req_1", "s1", "t1")


def test_an_error_has_its_place_and_no_message_that_quotes_somebody(lines: io.StringIO) -> None:
    for error in (KeyError(RARE), EmptyText(RARE), InferenceFailed("the sampler stopped")):
        try:
            raise error
        except Exception:
            LOG.exception("it failed")
    stranger, input_error, engine = (each["error"] for each in read(lines))
    assert stranger["type"] == "KeyError"
    assert "test_an_error_has_its_place" in stranger["at"][-1]
    assert "message" not in stranger
    assert "message" not in input_error
    assert engine["message"] == "the sampler stopped"
    assert "/" not in lines.getvalue()  # no path of this machine


@given(st.text(max_size=50), st.text(max_size=50))
def test_every_event_is_one_line_in_both_formats(message: str, value: str) -> None:
    plain = logging.LogRecord("a", logging.INFO, "p", 1, "%s", (message,), None)
    ours = logging.LogRecord("a", logging.INFO, "p", 1, "happened", (), None)
    ours.voxturn_fields = {"value": value}
    for record in (plain, ours):
        for formatter in (JsonFormatter(), TextFormatter()):
            assert len(formatter.format(record).splitlines()) == 1
    assert json.loads(JsonFormatter().format(ours))["value"] == value
    assert json.loads(JsonFormatter().format(plain))["message"] == message


def test_loggers_are_left_as_they_were() -> None:
    logger = logging.getLogger("voxturn")
    before = (logger.handlers, logger.level, logger.propagate)
    with logging_to(io.StringIO(), "text", "error"):
        assert logger.handlers is not before[0]
    assert (logger.handlers, logger.level, logger.propagate) == before


async def converse(folder: Path, content: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole conversation about a rare word: typed, answered, then an answer that fails and an
    error which quotes it, and requests that have it in every place."""
    path = write_profile(folder / "fake", f"Say {RARE}.", f"{RARE} it is. {RARE} again.")
    profile = load_profile(path)
    profile = replace(profile, gateway=replace(profile.gateway, log_content=content))
    async with Assistant.load(profile, Store(folder / "store")) as assistant:
        gateway = Gateway(assistant, profile.gateway)
        options = SessionOptions(on_trace=gateway.metrics.turn)
        with log_context(session="s1"):
            async with assistant.session(options) as session:
                session.ask(f"What is {RARE}?")
                await until_done(session)
        with log_context(session="s2"):
            _fail(assistant, monkeypatch)
            async with assistant.session(options) as session:
                session.ask(f"What is {RARE}?")
                await until_done(session)
        async with (
            serving(gateway, Address(port=0)) as port,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10.0) as http,
        ):
            await http.get("/readyz", headers={"x-request-id": f"({RARE})"})
            await http.get(f"/{RARE}?q={RARE}")
            await http.post("/healthz", content=RARE)
        gateway.stopping.clear()
        async with serving_wyoming(gateway, Address(port=0)) as port:
            context = {"conversation_id": f"about {RARE}"}
            for asked, last in (
                (Transcript(f"What is {RARE}?", context=context), "error"),
                (Synthesize(f"{RARE}."), "audio-stop"),
                (Synthesize("Yes.", voice=SynthesizeVoice(RARE)), "error"),
                (Transcribe(language=RARE), "error"),
            ):
                async with Client("127.0.0.1", port) as client:
                    await client.tell(asked, AudioStart(16_000, 2, 1))
                    await client.until(last)


async def until_done(session: Any) -> None:
    async with asyncio.timeout(10):
        async for each in session:
            if isinstance(each, SessionError):
                try:
                    raise each.error
                except Exception:
                    LOG.exception("a turn failed")
            if isinstance(each, TurnDone):
                return


def _fail(assistant: Assistant, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(
        _: object, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()
    ) -> AsyncGenerator[ReplyToken, None]:
        yield ReplyToken("Well. ", (1,))
        raise ValueError(messages[-1].text)

    monkeypatch.setattr(type(assistant.stages.replier), "__call__", answer)


async def test_a_conversation_is_logged_without_a_word_of_it(
    lines: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await converse(tmp_path, False, monkeypatch)
    assert RARE not in lines.getvalue()
    told = read(lines)
    turns = [each for each in told if each["event"] == "turn"]
    assert [(each["session"], each["outcome"]) for each in turns] == [
        ("s1", "done"),
        ("s2", "error"),
    ]
    assert all(each["turn"].startswith("turn_") for each in turns)
    assert any(each["event"] == "request" and each["path"] == "/readyz" for each in told)


async def test_what_was_said_is_logged_where_it_is_wanted(
    lines: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await converse(tmp_path, True, monkeypatch)
    first = next(each for each in read(lines) if each["event"] == "turn")
    assert RARE in first["transcript"]
    assert RARE in first["reply"]
