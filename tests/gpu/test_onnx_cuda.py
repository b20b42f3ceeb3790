"""ONNX Runtime's CUDA executor without a GPU: it refuses to run anywhere else; on a fake it binds what it should."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.contract import ModelContract, TensorSpec
from voxturn.runtime.errors import CorruptModel, ExecutorUnavailable, InferenceFailed
from voxturn.runtime.executors.cuda import Cuda
from voxturn.runtime.executors.onnx_cuda import PROVIDER, OnnxCudaGraph, cuda_session
from voxturn.runtime.streams import Streams

from tests.gpu.fakes import FakeCuda

CONTRACT = ModelContract("g.onnx", (TensorSpec("x", "float32", ("n",)),), (TensorSpec("y", "float32", ("n",)),))


class Session:
    """Of a fake ONNX Runtime: doubles `x`. `lands_on` is the provider that it really got."""

    lands_on, fails = PROVIDER, ""

    def __init__(self, path: str, options: Any, providers: list[Any]) -> None:
        if Session.fails == "load":
            raise RuntimeError("no kernel for Fancy\nmore")
        self.options, self.providers = options, providers
        Session.last = self

    def get_providers(self) -> list[str]:
        return [Session.lands_on, "CPUExecutionProvider"]

    def io_binding(self) -> Any:
        bound: dict[str, Any] = {}
        self.bound = bound
        return SimpleNamespace(
            bind_cpu_input=lambda name, value: bound.update({name: value}),
            bind_output=lambda name, device: bound.update({f"{name} on": device}),
            copy_outputs_to_cpu=lambda: [2 * bound["x"]],
        )

    def run_with_iobinding(self, binding: Any) -> None:
        if Session.fails == "run":
            raise RuntimeError("out of memory\nmore")


class Options:
    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimpleNamespace(
        SessionOptions=Options, InferenceSession=Session, get_available_providers=lambda: [PROVIDER]
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", library)
    monkeypatch.setattr(Session, "lands_on", PROVIDER)
    monkeypatch.setattr(Session, "fails", "")


def test_it_runs_in_the_stage_s_stream_and_nowhere_else(fake: None) -> None:
    streams = Streams(Cuda(FakeCuda()))
    stream = streams.of("vocode")
    graph = OnnxCudaGraph(Path("g.onnx"), CONTRACT, stream)
    assert Session.last.options.entries == {"session.disable_cpu_ep_fallback": "1"}
    assert Session.last.providers == [(PROVIDER, {"device_id": "0", "user_compute_stream": str(stream.handle)})]
    made = graph.run({"x": np.ones(3, np.float32)})
    assert made["y"].tolist() == [2, 2, 2]
    assert Session.last.bound["y on"] == "cuda"
    with pytest.raises(InferenceFailed, match="tensor 'x' must be"):
        graph.run({"x": np.ones((1, 3), np.float32)})
    graph.close()
    streams.close()


def test_a_silent_fallback_is_an_error(fake: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "lands_on", "CPUExecutionProvider")
    with pytest.raises(ExecutorUnavailable, match="went to CPUExecutionProvider instead of CUDA"):
        cuda_session(Path("g.onnx"), Streams().of("vocode"))


@pytest.mark.parametrize(("fails", "error"), [("load", CorruptModel), ("run", InferenceFailed)])
def test_what_it_says_is_passed_on_in_one_line(
    fake: None, monkeypatch: pytest.MonkeyPatch, fails: str, error: type[Exception]
) -> None:
    monkeypatch.setattr(Session, "fails", fails)
    with pytest.raises(error, match=r"no kernel for Fancy|out of memory") as caught:
        OnnxCudaGraph(Path("g.onnx"), CONTRACT, Streams().of("vocode")).run({"x": np.ones(3, np.float32)})
    assert "more" not in str(caught.value)


def test_a_library_without_cuda_is_refused(fake: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["onnxruntime"], "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ExecutorUnavailable, match="knows no CUDA"):
        cuda_session(Path("g.onnx"), Streams().of("vocode"))
