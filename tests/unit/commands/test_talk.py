"""`voxturn talk` on fakes: a microphone and a loudspeaker that are faster than time, and typed
lines."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from voxturn.runtime import cli
from voxturn.runtime.client import voice
from voxturn.runtime.errors import ExecutorUnavailable, ServerUnavailable
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.profile import load_profile
from voxturn.runtime.serving.backend import Backend
from voxturn.runtime.serving.handlers import TurnHandler

from tests.cli_fakes import use_fakes
from tests.conftest import tone
from tests.triton_fakes import Utilities
from tests.triton_wire import Wire, WiredServer

FRAME = 320
ANSWERED_FRAMES = 30_000  # a minute: who has no answer by then fails


class Device:
    """A stream of the fake sounddevice, which calls back in a thread of its own."""

    latency, active = 0.0, True

    def __init__(self, **options: Any) -> None:
        self._callback = options["callback"]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def __enter__(self) -> Device:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        raise NotImplementedError


class Out(Device):
    """A loudspeaker.

    `loud` is set when something was heard, `silent` when it stopped after that.
    """

    loud, silent = threading.Event(), threading.Event()

    def _run(self) -> None:
        out = np.zeros((FRAME, 1), np.float32)
        while not self._stop.wait(0.001):
            self._callback(out, FRAME, None, None)
            if np.any(out):
                Out.loud.set()
            elif Out.loud.is_set():
                Out.silent.set()


class In(Device):
    """A microphone: a question, then silence until the answer has sounded; then Ctrl-C."""

    def _run(self) -> None:
        question = tone(1.0)
        for begin in range(0, question.size, FRAME):
            self._callback(question[begin : begin + FRAME, None], FRAME, None, None)
        for _ in range(ANSWERED_FRAMES):
            if Out.silent.is_set() or self._stop.wait(0.002):
                break
            self._callback(np.zeros((FRAME, 1), np.float32), FRAME, None, None)
        if not self._stop.is_set():  # whoever closed it does not wait for Ctrl-C
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    library: Any = ModuleType("sounddevice")
    library.InputStream, library.OutputStream = In, Out
    library.query_devices = lambda kind: {"name": kind}
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    # of a microphone that is faster than time, a late reader would lose the question
    monkeypatch.setattr("voxturn.runtime.client.devices._FRAMES_AHEAD", 2 * ANSWERED_FRAMES)
    use_fakes(monkeypatch, tmp_path / "home")
    Out.loud.clear()
    Out.silent.clear()
    return library


@contextmanager
def typed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> Iterator[None]:
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    with os.fdopen(reader) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield


def test_typed_lines_are_answered_aloud_one_after_the_other(
    devices: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with typed(monkeypatch, b"Where is Paris?\n\nAnd Rome?"):
        assert cli.main(["talk", "--text"]) == 0
    lines = capsys.readouterr().out.splitlines()
    asked = [line for line in lines if line.startswith("> ")]
    assert asked == ["> Where is Paris?", "> And Rome?"]
    assert lines.count("It lies on the Seine.") == 2
    assert Out.loud.is_set()


def test_a_spoken_question_is_answered_and_both_sides_are_kept(
    devices: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["talk", "--record", str(tmp_path / "call.wav")]) == 130
    assert capsys.readouterr().out.startswith("> What is the capital")
    with wave.open(str(tmp_path / "call.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 16000)
        both = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)
    assert np.abs(both[: 16000 - FRAME, 0]).max() > 10_000
    assert np.abs(both[:, 1]).max() > 10_000
    traces = [json.loads(line) for line in (tmp_path / "call.jsonl").read_text().splitlines()]
    assert [trace["transcript"][:19] for trace in traces] == ["What is the capital"]
    assert traces[0]["interruptions"] == []


def test_what_is_no_text_and_what_does_not_go_together(
    devices: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with typed(monkeypatch, b"\xff\xff\n"):
        assert cli.main(["talk", "--text"]) == 3
    assert "is not UTF-8" in capsys.readouterr().err
    assert cli.main(["talk", "--text", "--record", "call.wav"]) == 2


@pytest.mark.parametrize("missing", ["library", "device"])
def test_without_a_sound_device_there_is_one_line(
    missing: str,
    devices: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def none(kind: str) -> None:
        raise ValueError("No input device matching")

    devices.query_devices = none
    if missing == "library":
        monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert cli.main(["talk"]) == ExecutorUnavailable.exit_code
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A server at every address."""
    profile = load_profile(write_profile(tmp_path / "there", "Why?", "Because it is."))
    backend = Backend(Utilities, "voice_turn", TurnHandler(profile))
    wire = Wire(backend)
    monkeypatch.setattr(voice, "TritonServer", lambda _, **options: WiredServer(wire, **options))
    yield wire
    backend.close()


def test_a_conversation_at_a_server(
    devices: ModuleType,
    wire: Wire,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with typed(monkeypatch, b"Where is Paris?"):
        assert cli.main(["talk", "--text", "--server", "there:1"]) == 0
    assert capsys.readouterr().out.splitlines() == ["> Where is Paris?", "Because it is."]
    Out.loud.clear()
    Out.silent.clear()
    assert cli.main(["talk", "--server", "there:1", "--record", str(tmp_path / "call.wav")]) == 130
    assert capsys.readouterr().out.startswith("> Why?\nBecause it is.")
    assert (tmp_path / "call.wav").exists()
    assert not (tmp_path / "call.jsonl").exists()
    assert not wire.calls


def test_a_server_that_is_not_there_is_one_line(
    devices: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["talk", "--server", "127.0.0.1:9"]) == ServerUnavailable.exit_code
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "127.0.0.1:9: no server answers there" in err
