"""Triton's side of a model, on a fake of its Python backend; its configuration; events on the wire."""

from __future__ import annotations

import ast
import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime import errors
from voxturn.runtime.cli import main
from voxturn.runtime.commands import serve
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.generation import Follow, Request, Step
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.errors import EmptyText, UsageError
from voxturn.runtime.executors.fake import FakeDecoder
from voxturn.runtime.flow import fairness
from voxturn.runtime.flow.clock import ManualClock
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
from voxturn.runtime.models.manifest import CTRANSLATE2, MANIFEST, Manifest, ModelContract
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import load_profile
from voxturn.runtime.remote.contract import (
    CANARY,
    CANCEL,
    CLIENT,
    END,
    INFO,
    LONGEST_REQUEST_S,
    MODELS,
    MOST_STREAMS,
    SEQUENCE,
    START,
    config_pbtxt,
    ngc_pbtxt,
)
from voxturn.runtime.remote.requests import check_request, of_request, of_step, to_request, to_step
from voxturn.runtime.remote.tensors import Tensors, of_event, text_tensor, to_event
from voxturn.runtime.serving import backend
from voxturn.runtime.serving.backend import (
    MOST_AT_ONCE,
    MOST_UNNAMED,
    Backend,
)
from voxturn.runtime.serving.handlers import HANDLERS
from voxturn.runtime.serving.inputs import Inputs
from voxturn.runtime.serving.metrics import Heard, Metrics

from tests.triton_fakes import SERIES, Asked, Sender, Utilities, ask

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", MODELS)
def test_the_committed_configuration_is_the_contracts(name: str) -> None:
    folder, model = ROOT / "triton_models" / name, MODELS[name]
    assert (folder / "config.pbtxt").read_text(encoding="utf-8") == config_pbtxt(model)
    assert (folder / "configs/ngc.pbtxt").read_text(encoding="utf-8") == ngc_pbtxt(model)


ADAPTERS = sorted((ROOT / "triton_models").glob("*/1/model.py"))


def test_every_model_has_an_adapter_a_handler_and_stages() -> None:
    assert {path.parts[-3] for path in ADAPTERS} == MODELS.keys()
    assert HANDLERS.keys() == MODELS.keys()
    assert serve._STAGES.keys() == MODELS.keys()


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda p: p.parts[-3])
def test_adapters_are_thin(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hands every call to the backend of its own model, and does nothing else."""
    utilities = ModuleType("triton_python_backend_utils")
    monkeypatch.setitem(sys.modules, utilities.__name__, utilities)
    calls: list[tuple[Any, ...]] = []

    class Recorded:
        def __init__(self, *args: Any) -> None:
            calls.append(("load", *args))

        def execute(self, *args: Any) -> None:
            calls.append(("execute", *args))

        def close(self, *args: Any) -> None:
            calls.append(("close", *args))

    source = path.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "model"}
    monkeypatch.setattr(backend, "Backend", Recorded)
    exec(compile(source, str(path), "exec"), names)
    assert calls == []
    model, requests = names["TritonPythonModel"](), [object()]
    model.initialize({})
    assert model.execute(requests) is None
    model.finalize()
    name = path.parts[-3]
    assert calls == [("load", utilities, name), ("execute", requests), ("close",)]
    _, *imports, adapter = ast.parse(source).body
    assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in imports)
    assert isinstance(adapter, ast.ClassDef)
    methods = [node for node in adapter.body if isinstance(node, ast.FunctionDef)]
    assert [len(method.body) for method in methods] == [2, 2, 2]  # a docstring and a call
    assert len(adapter.body) == 1 + len(methods)


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


class Scripted:
    """A handler that does what the text says."""

    engine = None

    def __init__(self) -> None:
        self.closed, self.ended = False, 0
        self.asked: list[Inputs] = []

    def describe(self) -> dict[str, Any]:
        return {"artifact_sha256": "abc"}

    async def warm(self) -> None:
        return None

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        self.asked.append(inputs)
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
        (
            {"text": np.array([[b"x"]], np.object_)},
            "UsageError: vits: input 'text' must have shape [1]",
        ),
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


def test_whoever_has_gone_is_noticed_while_nothing_is_made(
    served: tuple[Backend, Scripted],
) -> None:
    sender = ask(served[0], text=text_tensor("for ever"))
    sender.cancelled = True
    assert sender.done.wait(10)
    assert served[1].ended == 1


def test_a_request_is_ended_by_its_name(served: tuple[Backend, Scripted]) -> None:
    backend, handler = served
    asked = [Asked({"text": text_tensor("for ever")}, name=name) for name in ("one", "two")]
    backend.execute(asked)
    ended = ask(backend, **{CANCEL: text_tensor("one")})
    assert ended.done.wait(10)
    assert ended.sent == [(None, 1)]
    assert asked[0].sender.done.wait(10)
    assert asked[0].sender.sent[-1][0][1].startswith("StreamClosed")
    assert not asked[1].sender.done.is_set()
    again = ask(backend, **{CANCEL: text_tensor("one")})  # it is over already
    assert again.done.wait(10)
    assert handler.ended == 1


def test_requests_may_share_an_id_and_are_ended_for_their_client_alone(
    served: tuple[Backend, Scripted],
) -> None:
    backend = served[0]

    def asked(text: str, client: str) -> Asked:
        return Asked({"text": text_tensor(text), CLIENT: text_tensor(client)}, name="1")

    mine, other = [asked("for ever", "me") for _ in range(2)], asked("for ever", "you")
    short = asked("hello", "me")
    backend.execute([*mine, other, short])
    assert short.sender.done.wait(10)  # its end is not the end of the others' name
    ended = ask(backend, **{CANCEL: text_tensor("1"), CLIENT: text_tensor("me")})
    assert ended.done.wait(10)
    for request in mine:
        assert request.sender.done.wait(10)
        assert request.sender.sent[-1][0][1].startswith("StreamClosed")
    assert ask(backend, text=text_tensor("hello")).done.wait(10)  # by then both are forgotten
    assert not other.sender.done.is_set()
    assert backend._named.keys() == {("you", "1")}


@pytest.mark.parametrize("named", [text_tensor("x" * 257), np.array([b"\xff"], np.object_)])
def test_what_is_no_name_of_a_request_is_refused(
    served: tuple[Backend, Scripted], named: np.ndarray[Any, Any]
) -> None:
    refused = ask(served[0], **{CANCEL: named})
    assert refused.done.wait(10)
    assert refused.sent[-1][0][1].startswith("UsageError: cancel: ")


def test_a_request_that_takes_too_long_is_ended() -> None:
    clock, handler = ManualClock(), Scripted()
    backend = Backend(Utilities, "vits", handler, clock)
    try:
        late = ask(backend, text=text_tensor("for ever"))
        for _ in range(1000):  # the watch may not have begun
            if late.done.wait(0.01):
                break
            clock.advance(LONGEST_REQUEST_S / 4)
        assert late.done.is_set()
        assert late.sent[-1][0][1].startswith("DeadlineExceeded: vits: a request may take 1800 s")
        assert clock.now() >= LONGEST_REQUEST_S
    finally:
        backend.close()


def test_what_is_said_for_too_long_is_ended() -> None:
    class Endless(Scripted):
        async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
            while True:
                yield {"pcm": np.zeros(600, np.float32), "rate": np.array([1])}

    backend = Backend(Utilities, "vits", Endless())
    try:
        sender = ask(backend, text=text_tensor("1,1,1"))
        assert sender.done.wait(10)
        assert len(sender.sent) == 3 + 1  # half an hour, and why it ends
        assert sender.sent[-1][0][1].startswith("TextTooLong: vits: a request may be answered with")
    finally:
        backend.close()


def test_an_error_is_sent_whatever_a_stranger_has_put_into_it() -> None:
    class Telling(Scripted):
        async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
            yield {}
            raise UsageError("half of a pair: \ud800\n" + "x" * 5000)

    backend = Backend(Utilities, "vits", Telling())
    try:
        sender = ask(backend, text=text_tensor("hello"))
        assert sender.done.wait(10)
        error = sender.sent[-1][0][1]
        assert error.encode().startswith(rb"UsageError: half of a pair: \ud800 xxx")
        assert len(error) < 1100
    finally:
        backend.close()


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
        outputs = ["answer", "text", "stable", "language", "confidence", "event"]
        assert [name for name, _ in response[0]] == outputs
        about = ask(backend, **{INFO: np.array([True])})
        assert about.done.wait(10)
        ((response, _),) = about.sent
        said = json.loads(dict(response[0])["answer"][0])
        assert said["artifact_sha256"] == "abc"
        assert said["load_s"] >= 0
        piece = Asked(
            {"audio": np.zeros(1, np.float32), "text": text_tensor("hello")}, sequence=7, flag=2
        )
        backend.execute([piece])
        assert piece.sender.done.wait(10)
        assert handler.asked[-1][SEQUENCE][0] == b"7"
        assert END in handler.asked[-1]
        assert START not in handler.asked[-1]
        first = Asked(piece.tensors, sequence=7, flag=1)
        backend.execute([first])
        assert first.sender.done.wait(10)
        assert START in handler.asked[-1]
        assert END not in handler.asked[-1]
    finally:
        backend.close()


def test_a_client_may_have_so_many_streams_at_once(served: tuple[Backend, Scripted]) -> None:
    backend = served[0]
    asked = {"text": text_tensor("for ever"), CLIENT: text_tensor("me")}
    senders = [ask(backend, **asked) for _ in range(MOST_STREAMS)]
    refused = ask(backend, **asked)
    assert refused.done.wait(10)
    assert refused.sent[-1][0][1].startswith("TooManyStreams: vits: a client may have 16 streams")
    other = ask(backend, text=text_tensor("hello"), **{CLIENT: text_tensor("another")})
    assert other.done.wait(10)
    assert other.sent[-1] == (None, 1)
    senders[0].cancelled = True
    assert senders[0].done.wait(10)
    again = ask(backend, text=text_tensor("hello"), **{CLIENT: text_tensor("me")})
    assert again.done.wait(10)
    assert again.sent[-1] == (None, 1)


def test_clients_without_a_name_share_their_streams(served: tuple[Backend, Scripted]) -> None:
    backend = served[0]
    asked = {"text": text_tensor("for ever")}
    senders = [ask(backend, **asked) for _ in range(MOST_UNNAMED)]
    refused = ask(backend, **asked)
    assert refused.done.wait(10)
    assert refused.sent[-1][0][1].startswith(
        "TooManyStreams: vits: clients without a name have 256"
    )
    named = ask(backend, text=text_tensor("hello"), **{CLIENT: text_tensor("me")})
    assert named.done.wait(10)
    assert named.sent[-1] == (None, 1)
    assert not any(sender.done.is_set() for sender in senders)


def test_a_client_with_many_names_does_not_have_any_number_of_streams(
    served: tuple[Backend, Scripted],
) -> None:
    backend = served[0]

    def asked(name: str) -> Sender:
        return ask(backend, text=text_tensor("for ever"), **{CLIENT: text_tensor(name)})

    senders = [asked(f"name {number // MOST_STREAMS}") for number in range(MOST_AT_ONCE)]
    refused = asked("another")
    assert refused.done.wait(10)
    assert refused.sent[-1][0][1].startswith("TooManyStreams: vits: there are 1024 streams")
    assert not any(sender.done.is_set() for sender in senders)


def test_work_is_done_for_the_client_that_asked_for_it() -> None:
    class Asking(Scripted):
        async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
            yield {"text": np.array([fairness.CLIENT.get()])}

    backend = Backend(Utilities, "vits", Asking())
    try:
        for client in ({CLIENT: text_tensor("me")}, {}):
            sender = ask(backend, text=text_tensor("hello"), **client)
            assert sender.done.wait(10)
            assert sender.sent[0][0][0][0][1][0] == ("me" if client else "")
    finally:
        backend.close()


def test_requests_are_counted_by_how_they_ended(served: tuple[Backend, Scripted]) -> None:
    backend = served[0]
    SERIES.clear()
    assert ask(backend, text=text_tensor("hello")).done.wait(10)
    assert ask(backend, text=text_tensor("bad")).done.wait(10)
    assert ask(backend, **{CANARY: np.array([True])}).done.wait(10)
    backend.close()
    counted = {
        key[2]: sum(values) for key, values in SERIES.items() if key[0] == "voxturn_requests_total"
    }
    assert counted == {"done": 1, "error": 1}


def test_a_stall_of_the_loudspeaker_is_an_underrun() -> None:
    SERIES.clear()
    clock = ManualClock()
    heard = Heard(Metrics(Utilities, "xtts"), clock)
    second = {"pcm": np.zeros(24000, np.float32), "rate": np.array([24000])}
    for at in (
        0.25,
        1.0,
        2.5,
        3.1,
    ):  # the third comes a quarter of a second after the two before have been played
        clock.advance(at - clock.now())
        heard.sent(second)
        heard.sent({"event": np.array([b""])})
    assert SERIES["voxturn_first_audio_seconds", "xtts"] == [0.25]
    assert SERIES["voxturn_underruns_total", "xtts"] == [1]


def test_metrics_tell_what_an_engine_has_done_since() -> None:
    SERIES.clear()
    engine = DecodeEngine(FakeDecoder(lambda ids: 1, 8))
    metrics = Metrics(Utilities, "qwen3")
    list(engine.generate([1, 2, 3], Sampling(), (), 4))
    metrics.engine(engine)
    list(engine.generate([1, 2, 3, 4], Sampling(), (), 2))
    metrics.engine(engine)
    assert SERIES["voxturn_tokens_total", "qwen3"] == [4, 2]
    assert SERIES["voxturn_prompt_positions_total", "qwen3", "computed"] == [3, 1]
    assert SERIES["voxturn_prompt_positions_total", "qwen3", "reused"] == [0, 3]
    assert SERIES["voxturn_slots_busy", "qwen3"] == [0, 0]


@given(
    prompt=st.lists(st.integers(0, (1 << 40) - 1), min_size=1),
    history=st.none() | st.lists(st.integers(0, 9)),
    rows=st.none() | st.integers(1, 3),
    keep=st.booleans(),
    penalty=st.floats(0.5, 20),
)
def test_requests_survive_the_wire(
    prompt: list[int], history: list[int] | None, rows: int | None, keep: bool, penalty: float
) -> None:
    made = None if rows is None else np.ones((rows, 4), np.float32)
    sampling = Sampling(0.7, 5, 0.9, 0.0, penalty, 3)
    request = Request(prompt, sampling, {1, 2}, 9, "voice", made, history, Follow(5, 7), 3, [4], 2)
    again, kept = to_request(of_request(request, keep))
    assert kept == keep
    for name in ("sampling", "max_tokens", "namespace", "history", "follow", "watch", "urgent"):
        assert getattr(again, name) == getattr(request, name)
    assert (list(again.prompt), set(again.stop_ids), list(again.forced)) == (prompt, {1, 2}, [4])
    assert (again.rows is None) == (made is None)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"keep": 1}', '{"prompt": [-1]}', '{"x": 1, "keep": false}']
)
def test_a_request_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="request: "):
        to_request({"request": text_tensor(text)})


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": [10]}, {"forced": [10]}, {"stop_ids": {10}}, {"history": [10]}, {"watch": 10}, {"follow": Follow(1, 0)},
        {"rows": np.zeros((2, 5), np.float32)}, {"rows": np.full((2, 4), np.nan, np.float32)},
        {"rows": np.zeros((34, 4), np.float32)},
    ],
)  # fmt: skip
def test_ids_that_a_model_does_not_have_end_their_own_request_alone(change: dict[str, Any]) -> None:
    given: dict[str, Any] = {"prompt": [1, 2], "rows": np.zeros((33, 4), np.float32)}
    check_request(Request(**given), 10, lambda i: i < 10, Follow(), 4)
    with pytest.raises(UsageError, match="request: "):
        check_request(Request(**given | change), 10, lambda i: i < 10, Follow(), 4)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("urgent", [65, 1.5, None]),
        ("max_tokens", [True, -1, 1 << 50, "9", 10**400]),
        ("prompt", [[1 << 50], [], None, "1", [1.0], [[1]], {"1": 1}]),
        ("history", [[-1], 5]),
        ("forced", [None, [True]]),
        ("watch", ["a", -1]),
        ("namespace", [5, None, "x" * 257]),
        ("keep", [1, None, "yes"]),
        ("sampling", [5, None, [], {"temperature": "hot"}, {"top_k": 1.5}, {"seed": -1}]),
        ("sampling", [{"warmth": 1}, {"top_p": float("nan")}, {"top_k": 1 << 31}]),
        ("follow", [None, {"first": -1}, {"stride": "1"}, {"last": 1}]),
        ("wish", ["a song"]),
    ],
)
def test_what_would_stop_the_engine_is_refused_by_the_name_of_its_field(
    field: str, values: list[Any]
) -> None:
    for value in values:
        about = json.loads(of_request(Request([1]))["request"][0]) | {field: value}
        with pytest.raises(UsageError, match=rf"request.*{field}"):
            to_request({"request": text_tensor(json.dumps(about))})


@pytest.mark.parametrize("change", [{"temperature": -1}, {"top_p": 0}, {"repetition_penalty": 0}])
def test_sampling_out_of_range_is_refused(change: dict[str, Any]) -> None:
    about = json.loads(of_request(Request([1]))["request"][0])
    about["sampling"] |= change
    with pytest.raises(UsageError, match="sampling out of range"):
        to_request({"request": text_tensor(json.dumps(about))})


def test_steps_survive_the_wire() -> None:
    step = Step(7, np.arange(3, dtype=np.float32), True, 0.25)
    again = to_step(of_step(step))
    assert (again.token, again.stop, again.watched) == (7, True, 0.25)
    np.testing.assert_array_equal(again.hidden, step.hidden)


def test_wrong_models_to_serve_are_a_usage_error() -> None:
    assert main(["serve", "triton", "--models", "xtts,parrot"]) == UsageError.exit_code
    assert main(["serve", "triton", "--models", ","]) == UsageError.exit_code
    assert main(["serve", "triton", "--profile", "nowhere"]) == errors.UnknownProfile.exit_code


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The profiles of servers that were started; there is none, and no model either."""
    profiles: list[str] = []

    def start(models: Path, environment: dict[str, str], http: bool) -> None:
        profiles.append(environment[backend.PROFILE])
        raise errors.ExecutorUnavailable("there is no server")

    monkeypatch.setattr(serve, "EmbeddedTriton", start)
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path))
    return profiles


VITS_ROLES = ("acoustic_encoder", "waveform_decoder")
INSTALLED: dict[str, dict[str, Any]] = {
    "speak": {
        "kind": "vits",
        "graphs": {role: ModelContract(f"{role}.onnx", (), ()) for role in VITS_ROLES},
        "properties": {
            "espeak_voice": "en-us",
            "phoneme_id_map": {"_": [0]},
            **dict.fromkeys(("noise_scale", "length_scale", "noise_w"), 1.0),
            **dict.fromkeys(("noise_frames", "sample_rate", "hop", "margin"), 8),
        },
    },
    "transcribe": {"kind": "whisper", "dialect": CTRANSLATE2},
}
"""What the manifests of the demo's models say, by stage."""


def install(stage: str) -> None:
    """An artifact of the demo's model for a stage, without files."""
    engine = load_profile("demo").engine(stage)
    model = Registry.read().models[engine.model]
    folder = Store().artifact_path(model, engine.precision)
    folder.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {"model": model.id, "precision": engine.precision}
    manifest = Manifest(**about, source={}, files={}, **INSTALLED[stage])
    (folder / MANIFEST).write_text(manifest.to_json())


def test_what_a_served_model_lacks_is_said_before_a_server_is_started(
    started: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "triton", "--models", "vits,whisper"]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert "'vits-en-us-joe' (fp32) is not on this machine; run `voxturn models pull" in line
    install("speak")
    assert main(["serve", "triton", "--models", "vits,whisper"]) == 5
    assert "'whisper-base'" in capsys.readouterr().err
    assert started == []
    assert main(["serve", "triton", "--models", "vits"]) == 6  # the others are not asked for
    assert capsys.readouterr().err == "voxturn: there is no server\n"
    assert started == ["demo"]
    install("transcribe")
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    assert main(["serve", "triton", "--models", "whisper"]) == 6
    assert "demo.transcribe: executor 'ctranslate2' is not installed" in capsys.readouterr().err
    assert started == ["demo"]


def test_a_profile_that_leaves_its_vocoder_out_is_served(
    started: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("speak")
    demo = (ROOT / "runtime/profiles/demo.toml").read_text(encoding="utf-8")
    profile = tmp_path / "short.toml"
    profile.write_text(demo[: demo.index("[vocode]")], encoding="utf-8")
    assert main(["serve", "triton", "--profile", str(profile), "--models", "vits"]) == 6
    assert capsys.readouterr().err == "voxturn: there is no server\n"
    assert started == [str(profile)]
