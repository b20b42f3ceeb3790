"""What strangers and broken clients may do to sessions: each request ends in an answer or in one
typed error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.errors import (
    AudioTooLong,
    EmptyAudio,
    EmptyText,
    ForgottenSession,
    InvalidSamples,
    TextTooLong,
    TooManyStreams,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.messages import SessionEvent, TurnDone
from voxturn.runtime.profile import load_profile
from voxturn.runtime.remote.tensors import Tensors, text_of, text_tensor, to_session_event
from voxturn.runtime.serving.handlers import TurnHandler

from tests.conftest import tone

ANSWER = "Paris is the capital."
MANY = np.zeros(16000, np.float32)


@pytest.fixture
async def handler(tmp_path: Path) -> AsyncIterator[TurnHandler]:
    handler = TurnHandler(load_profile(write_profile(tmp_path, "Why?", ANSWER)), ManualClock())
    yield handler
    assert not handler._sessions._places._entries
    handler.close()


def session(name: str = "one", **inputs: Any) -> Tensors:
    """The inputs of a request to a session; text and JSON become tensors."""
    made: Tensors = {"session": text_tensor(name)}
    for key, value in inputs.items():
        if key == "number":
            made[key] = np.array([value], np.int64)
        elif key == "audio":
            made[key] = value
        else:
            made[key] = text_tensor(value if isinstance(value, str) else json.dumps(value))
    return made


async def answered(handler: TurnHandler, inputs: Tensors) -> list[Tensors]:
    return [tensors async for tensors in handler(inputs)]


@asynccontextmanager
async def opened(
    handler: TurnHandler, name: str = "one", how: Any = "{}"
) -> AsyncGenerator[AsyncGenerator[Tensors, None], None]:
    """A session's answers, after the first."""
    answers = handler(session(name, open=how))
    try:
        first = json.loads(text_of((await anext(answers))["answer"]))
        assert (first["rate"], first["kept"], first["sets"]) == (24_000, 0, 0)
        yield answers
    finally:
        await answers.aclose()


async def following(answers: AsyncGenerator[Tensors, None]) -> SessionEvent:
    """The next event."""
    async for tensors in answers:
        if "answer" not in tensors:
            return to_session_event(tensors)
    raise AssertionError("the session ended")


@pytest.mark.parametrize(
    ("inputs", "error", "says"),
    [
        (session(""), UsageError, "session: needs a name"),
        (session(), UsageError, "one of open, audio and command"),
        (session(open="{}", command={"do": "close"}), UsageError, "one of open"),
        (session("x" * 300, open="{}"), UsageError, "session: has 300 characters"),
        (session(open="["), UsageError, "open: must be JSON"),
        (session(open={"ahead_s": 1}), UsageError, "open: has no field ahead_s"),
        (session(open={"interrupt": 1}), UsageError, "open.interrupt: must be a JSON object"),
        (session(open={"interrupt": {}}), UsageError, "open.interrupt: needs strategy"),
        (session(open={"interrupt": {"strategy": "nods"}}), UsageError, "must be one of speech"),
        (
            session(open={"interrupt": {"strategy": "never", "ms": 3}}),
            UsageError,
            "open: interrupt.ms: the strategy 'never' has no such key",
        ),
        (
            session(open={"interrupt": {"strategy": "words", "words": 0}}),
            UsageError,
            "open.interrupt.words: must be a whole number from 1 to 100",
        ),
        (session(audio=MANY), UsageError, "number: a piece of a session's audio needs one"),
        (session(audio=MANY[:0], number=1), EmptyAudio, "audio"),
        (session(audio=np.zeros(160_001, np.float32), number=1), AudioTooLong, "may have 10 s"),
        (session(audio=np.full(9, np.nan, np.float32), number=1), InvalidSamples, "NaN"),
        (session(audio=MANY, number=1), ForgottenSession, "session one: is not open"),
        (session(command={"do": "cancel"}), ForgottenSession, "open another"),
        (session(command={"do": "sing"}), UsageError, "command.do: must be one of ask"),
        (session(command={"do": "cancel", "x": 1}), UsageError, "command: has no field x"),
        (session(command={"do": "ask"}), UsageError, "command: needs text"),
        (session(command={"do": "played", "ms": "1"}), UsageError, "command.ms: must be a number"),
        (session(command={"do": "messages", "messages": 1}), UsageError, "command.messages"),
        (
            session(command={"do": "messages", "messages": [{"role": "king", "text": ""}]}),
            UsageError,
            r"command.messages\[0\].role",
        ),
        (
            session(
                command={"do": "messages", "messages": [{"role": "user", "text": "x" * 10_001}]}
            ),
            TextTooLong,
            "more than 10000 characters",
        ),
    ],
)
async def test_what_is_no_request_is_one_line_that_names_the_field(
    inputs: Tensors, error: type[VoxturnError], says: str, handler: TurnHandler
) -> None:
    with pytest.raises(error, match=says) as caught:
        await answered(handler, inputs)
    assert "\n" not in str(caught.value)


async def test_a_wrong_request_leaves_the_session_as_it_is(handler: TurnHandler) -> None:
    async with opened(handler) as answers:
        for wrong in (
            session(command={"do": "ask", "text": " "}),
            session(command="{"),
            session(audio=MANY[:0], number=1),
            session(open="{}"),
        ):
            with pytest.raises((EmptyText, UsageError, EmptyAudio)):
                await answered(handler, wrong)
        (answer,) = await answered(handler, session(command={"do": "ask", "text": "Why?"}))
        assert text_of(answer["answer"]) == "{}"
        while not isinstance(event := await following(answers), TurnDone):
            pass
        assert event == TurnDone(ANSWER)


async def test_a_piece_that_comes_twice_is_refused_and_the_next_one_is_taken(
    handler: TurnHandler,
) -> None:
    async with opened(handler):
        await answered(handler, session(audio=MANY, number=1))
        for number in (1, 0, -5):
            with pytest.raises(UsageError, match=f"number {number}: this piece came already"):
                await answered(handler, session(audio=MANY, number=number))
        await answered(handler, session(audio=MANY, number=2))


async def test_a_piece_that_is_lost_ends_the_session(handler: TurnHandler) -> None:
    async with opened(handler) as answers:
        await answered(handler, session(audio=MANY, number=1))
        with pytest.raises(ForgottenSession, match="piece 2 did not come"):
            await answered(handler, session(audio=MANY, number=3))
        with pytest.raises(ForgottenSession, match="piece 2 did not come"):
            await anext(answers)
        with pytest.raises(ForgottenSession, match="is not open"):
            await answered(handler, session(audio=MANY, number=2))


async def test_pieces_that_come_at_once_are_heard_in_their_order(handler: TurnHandler) -> None:
    async with opened(handler) as answers:
        sound = tone(1.0, 4.0)
        pieces = [
            asyncio.create_task(answered(handler, session(audio=sound[at : at + 5000], number=n)))
            for n, at in enumerate(range(0, sound.size, 5000), 1)
        ]
        while not isinstance(await following(answers), TurnDone):
            pass
        assert len(await asyncio.gather(*pieces)) == 16


async def test_more_pieces_than_it_may_keep_are_refused(handler: TurnHandler) -> None:
    long = np.zeros(160_000, np.float32)
    async with opened(handler):
        pieces = [
            asyncio.create_task(answered(handler, session(audio=long, number=number)))
            for number in range(1, 19)
        ]
        done, _ = await asyncio.wait(pieces, return_when=asyncio.FIRST_EXCEPTION)
        refused = [task.exception() for task in done if task.exception() is not None]
        assert [type(error) for error in refused] == [TooManyStreams] * 2
        await asyncio.gather(*pieces, return_exceptions=True)
        await answered(handler, session(audio=MANY, number=17))


async def test_closing_ends_it_for_its_client_and_a_piece_that_waits_for_room(
    handler: TurnHandler,
) -> None:
    async with opened(handler) as answers:
        await answered(handler, session(command={"do": "ask", "text": "Why?"}))
        waiting = asyncio.create_task(
            answered(handler, session(audio=np.zeros(160_000, np.float32), number=1))
        )
        for _ in range(10):
            await asyncio.sleep(0)
        await answered(handler, session(command={"do": "close"}))
        assert [tensors async for tensors in answers if "pcm" in tensors] == []
        await asyncio.wait([waiting])
        assert waiting.exception() is None or isinstance(waiting.exception(), ForgottenSession)
        with pytest.raises(ForgottenSession):
            await answered(handler, session(command={"do": "close"}))


async def test_a_client_does_not_reach_another_s_session(handler: TurnHandler) -> None:
    token = CLIENT.set("a")
    try:
        async with opened(handler):
            CLIENT.set("b")
            with pytest.raises(ForgottenSession):
                await answered(handler, session(command={"do": "cancel"}))
            async with opened(handler):
                pass
            CLIENT.set("a")
            await answered(handler, session(command={"do": "cancel"}))
    finally:
        CLIENT.reset(token)


async def test_tokens_of_strangers_are_not_taken(handler: TurnHandler) -> None:
    message = {"role": "user", "text": "Why?", "ids": [1 << 40]}
    async with opened(handler) as answers:
        await answered(handler, session(command={"do": "messages", "messages": [message]}))
        change = json.loads(text_of((await anext(answers))["answer"]))
        assert change == {
            "kept": 0,
            "added": [{"role": "user", "text": "Why?", "ids": []}],
            "sets": 1,
        }
