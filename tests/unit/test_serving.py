"""Triton's side of a model, on a fake of its Python backend; its configuration; events on the wire."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime import errors
from voxturn.runtime.errors import EmptyText, UsageError
from voxturn.runtime.messages import (
    Event,
    Partial,
    PcmChunk,
    ReplyToken,
    Sentence,
    SpeechStarted,
    Transcript,
    TurnDone,
    Word,
)
from voxturn.runtime.serving.backend import Backend
from voxturn.runtime.serving.contract import CANARY, MODELS, config_pbtxt
from voxturn.runtime.serving.events import Tensors, of_event, text_tensor, to_event
from voxturn.runtime.serving.handlers import Expiring, Inputs

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", MODELS)
def test_the_committed_configuration_is_the_contracts(name: str) -> None:
    assert (ROOT / f"triton_models/{name}/config.pbtxt").read_text(encoding="utf-8") == config_pbtxt(MODELS[name])


@pytest.mark.parametrize("path", sorted((ROOT / "triton_models").glob("*/1/model.py")), ids=lambda p: p.parts[-3])
def test_adapters_are_thin(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    assert f'Backend(pb_utils, "{path.parts[-3]}")' in text


@pytest.mark.parametrize(
    "event",
    [
        SpeechStarted(7),
        Partial("so", " far", "en", 3),
        Transcript("مرحبا", "ar", -0.5, 1, ("a",), (Word("مرحبا", 0.1, 0.5),)),
        ReplyToken("token", (1, 2)),
        Sentence("A clause.", 2, ("b",)),
        PcmChunk(np.arange(4, dtype=np.float32), 24000, 8, Sentence("x", 0), "silence", True),
        TurnDone("all"),
    ],
)
def test_events_survive_the_wire(event: Event) -> None:
    again = to_event(of_event(event))
    if isinstance(event, PcmChunk):
        assert isinstance(again, PcmChunk)
        np.testing.assert_array_equal(again.samples, event.samples)
        assert (again.rate, again.start, again.sentence, again.cut, again.final) == (
            24000,
            8,
            event.sentence,
            "silence",
            True,
        )
    else:
        assert again == event
        assert getattr(again, "ids", ()) == getattr(event, "ids", ())


def test_an_event_of_another_version_is_refused() -> None:
    with pytest.raises(errors.InferenceFailed, match="upgrade"):
        to_event({"event": text_tensor('{"kind": "Telepathy"}')})


@dataclass
class Sender:
    """What a request is answered through: notes what is sent."""

    sent: list[tuple[Any, int]] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)
    cancelled: bool = False

    def is_cancelled(self) -> bool:
        return self.cancelled

    def send(self, response: Any = None, flags: int = 0) -> None:
        assert not self.done.is_set(), "sent after the end"
        self.sent.append((response, flags))
        if flags:
            self.done.set()


@dataclass
class Item:
    label: str
    value: np.ndarray[Any, Any]

    def name(self) -> str:
        return self.label

    def as_numpy(self) -> np.ndarray[Any, Any]:
        return self.value


@dataclass
class Asked:
    tensors: dict[str, np.ndarray[Any, Any]]
    sender: Sender = field(default_factory=Sender)

    def inputs(self) -> list[Item]:
        return [Item(name, value) for name, value in self.tensors.items()]

    def get_response_sender(self) -> Sender:
        return self.sender


class Utilities:
    """`triton_python_backend_utils`."""

    TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1

    @staticmethod
    def Tensor(name: str, value: Any) -> tuple[str, Any]:
        return name, value

    @staticmethod
    def TritonError(message: str) -> str:
        return message

    @staticmethod
    def InferenceResponse(output_tensors: Any, error: str | None = None) -> tuple[Any, str | None]:
        return output_tensors, error


class Scripted:
    """A handler that does what the text says."""

    def __init__(self) -> None:
        self.closed, self.ended = False, 0

    async def warm(self) -> None:
        return None

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        try:
            text = inputs["text"][0].decode()
            if text == "bad":
                raise EmptyText("nothing to say")
            if text == "broken":
                raise ZeroDivisionError("oops")
            for number in range(3):
                yield {"text": np.array([number])}
            if text == "for ever":
                await asyncio.Event().wait()
        finally:
            self.ended += 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def served() -> Iterator[tuple[Backend, Scripted]]:
    handler = Scripted()
    backend = Backend(Utilities, "vits", handler)
    yield backend, handler
    if not handler.closed:
        backend.close()


def ask(backend: Backend, **tensors: np.ndarray[Any, Any]) -> Sender:
    asked = Asked(tensors)
    backend.execute([asked])
    return asked.sender


def test_answers_come_piece_by_piece_and_end(served: tuple[Backend, Scripted]) -> None:
    sender = ask(served[0], text=text_tensor("hello"))
    assert sender.done.wait(10)
    assert [response[0][0][1][0] for response, _ in sender.sent[:-1]] == [0, 1, 2]
    assert sender.sent[-1] == (None, 1)


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ({"text": text_tensor("bad")}, "EmptyText: nothing to say"),
        ({"text": text_tensor("broken")}, "InferenceFailed: vits: ZeroDivisionError: oops"),
        ({}, "UsageError: vits: needs input text"),
        ({"text": np.array([[b"x"]], np.object_)}, "UsageError: vits: input 'text' must have shape [1]"),
    ],
)
def test_errors_are_named_and_end_the_request(
    served: tuple[Backend, Scripted], inputs: dict[str, Any], error: str
) -> None:
    sender = ask(served[0], **inputs)
    assert sender.done.wait(10)
    assert sender.sent == [(([], error), 1)]


def test_a_canary_is_answered_without_the_handler(served: tuple[Backend, Scripted]) -> None:
    sender = ask(served[0], **{CANARY: np.array([True])})
    assert sender.done.wait(10)
    assert sender.sent == [(None, 1)]
    assert served[1].ended == 0


def test_whoever_has_gone_is_noticed_while_nothing_is_made(served: tuple[Backend, Scripted]) -> None:
    sender = ask(served[0], text=text_tensor("for ever"))
    sender.cancelled = True
    assert sender.done.wait(10)
    assert served[1].ended == 1


def test_closing_ends_every_request(served: tuple[Backend, Scripted]) -> None:
    backend, handler = served
    senders = [ask(backend, text=text_tensor("for ever")) for _ in range(5)]
    backend.close()
    assert all(sender.done.is_set() for sender in senders)
    assert (handler.ended, handler.closed) == (5, True)


def test_the_one_answer_of_a_model_that_does_not_stream_carries_the_end() -> None:
    handler = Scripted()
    backend = Backend(Utilities, "whisper", handler)
    try:
        sender = ask(backend, audio=np.zeros(1, np.float32), text=text_tensor("hello"))
        assert sender.done.wait(10)
        assert [flags for _, flags in sender.sent] == [1]
        canary = ask(backend, **{CANARY: np.array([True])})
        assert canary.done.wait(10)
        ((response, flags),) = canary.sent
        assert flags == 1
        assert [name for name, _ in response[0]] == ["text", "language", "confidence"]
    finally:
        backend.close()


def test_what_nobody_asks_for_is_forgotten() -> None:
    now = [0.0]
    kept = Expiring(list[int], lambda: now[0])
    kept.of("a").append(1)
    kept.of("").append(9)
    assert (kept.of("a"), kept.of(""), kept.of("b")) == ([1], [], [])
    now[0] = 599.0
    assert kept.of("a") == [1]
    now[0] = 700.0
    assert kept.of("b") == []
    now[0] = 1400.0
    assert kept.of("a") == []


def test_wrong_models_to_serve_are_a_usage_error() -> None:
    from voxturn.runtime.cli import main

    assert main(["serve", "triton", "--models", "xtts,parrot"]) == UsageError.exit_code
    assert main(["serve", "triton", "--models", ","]) == UsageError.exit_code
    assert main(["serve", "triton", "--profile", "nowhere"]) == errors.UnknownProfile.exit_code
    assert main(["serve", "triton"]) == errors.ExecutorUnavailable.exit_code  # numpy 2, or no server
