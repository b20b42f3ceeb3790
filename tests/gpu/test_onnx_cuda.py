"""ONNX Runtime's CUDA executor without a GPU: it refuses to run anywhere else; on a fake it binds
what it should."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.errors import CorruptModel, ExecutorUnavailable, InferenceFailed
from voxturn.runtime.executors.cuda import device_chooser, onnx_cuda
from voxturn.runtime.executors.cuda.device_decoder import DeviceDecoder
from voxturn.runtime.executors.cuda.gpu import Gpu
from voxturn.runtime.executors.cuda.kernels import CudaKernels
from voxturn.runtime.executors.cuda.library import Cuda
from voxturn.runtime.executors.cuda.onnx_cuda import (
    PROVIDER,
    OnnxCudaEngine,
    OnnxCudaGraph,
    cuda_session,
)
from voxturn.runtime.executors.cuda.streams import Streams
from voxturn.runtime.executors.onnx import OnnxDecoder, OnnxGraph
from voxturn.runtime.families.xtts import plans
from voxturn.runtime.families.xtts.family import as_xtts
from voxturn.runtime.families.xtts.frames import XttsFrames
from voxturn.runtime.flow.scheduling import EngineBudget
from voxturn.runtime.models.manifest import Manifest, ModelContract, TensorSpec
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Engine, SpeakEngine, load_profile
from voxturn.runtime.serving.handlers import VocoderHandler

from tests.gpu import test_tensorrt
from tests.gpu.conftest import Portable, Tiny
from tests.gpu.fakes import FakeCuda, FakeCudaProvider, FakeKernels
from tests.gpu.test_tensorrt import SLOTS
from tests.gpu.test_tensorrt import Bench as TensorRtBench

PATH = Path("g.onnx")
CONTRACT = ModelContract(
    "g.onnx", (TensorSpec("x", "float32", ("n",)),), (TensorSpec("y", "float32", ("n",)),)
)


class Session:
    """Of a fake ONNX Runtime: doubles `x`. `lands_on` is the provider that it really got."""

    lands_on, fails = PROVIDER, ""
    on_the_cpu: tuple[str, ...] = ("Shape", "Mul")

    def __init__(self, path: str, options: Any, providers: list[Any]) -> None:
        if Session.fails == "load":
            raise RuntimeError("no kernel for Fancy\nmore")
        self.options, self.providers = options, providers
        Session.last = self

    def get_providers(self) -> list[str]:
        return [Session.lands_on, "CPUExecutionProvider"]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        def part(provider: str, *names: str) -> Any:
            return SimpleNamespace(
                ep_name=provider, get_nodes=lambda: [SimpleNamespace(op_type=n) for n in names]
            )

        return [part(PROVIDER, "Conv"), part("CPUExecutionProvider", *Session.on_the_cpu)]

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
        SessionOptions=Options,
        InferenceSession=Session,
        get_available_providers=lambda: [PROVIDER],
        set_default_logger_severity=lambda severity: None,
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", library)
    monkeypatch.setattr(Session, "lands_on", PROVIDER)
    monkeypatch.setattr(Session, "fails", "")


def test_it_runs_in_the_stage_s_stream_and_nowhere_else(fake: None) -> None:
    streams = Streams(Cuda(FakeCuda()))
    stream = streams.of("vocode")
    graph = OnnxCudaGraph(Path("g.onnx"), CONTRACT, Cuda(FakeCuda()), stream)
    assert Session.last.options.entries["session.record_ep_graph_assignment_info"] == "1"
    ((name, about),) = Session.last.providers
    assert (name, about["user_compute_stream"], about["use_tf32"]) == (
        PROVIDER,
        str(stream.handle),
        "0",
    )
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
        cuda_session(PATH, PATH, Streams().of("vocode"))


def test_arithmetic_of_sizes_may_run_on_the_cpu_and_nothing_else(
    fake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cuda_session(PATH, PATH, Streams().of("vocode"))
    monkeypatch.setattr(Session, "on_the_cpu", ("Shape", "MatMul", "Attention"))
    with pytest.raises(
        ExecutorUnavailable, match="compute Attention, MatMul on the CPU instead of CUDA"
    ):
        cuda_session(PATH, PATH, Streams().of("vocode"))


@pytest.mark.parametrize(("fails", "error"), [("load", CorruptModel), ("run", InferenceFailed)])
def test_what_it_says_is_passed_on_in_one_line(
    fake: None, monkeypatch: pytest.MonkeyPatch, fails: str, error: type[Exception]
) -> None:
    monkeypatch.setattr(Session, "fails", fails)
    with pytest.raises(error, match=r"no kernel for Fancy|out of memory") as caught:
        OnnxCudaGraph(Path("g.onnx"), CONTRACT, Cuda(FakeCuda()), Streams().of("vocode")).run(
            {"x": np.ones(3, np.float32)}
        )
    assert "more" not in str(caught.value)


def test_a_type_that_numpy_has_not_is_bound_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = (TensorSpec("mask", "bfloat16", (1,)), TensorSpec("past", "float16", (1,)))
    monkeypatch.setattr(onnx_cuda, "cuda_session", lambda *_: None)
    monkeypatch.setattr(onnx_cuda, "_fused", lambda _: b"")
    monkeypatch.setattr(onnx_cuda, "captured_options", lambda: None)
    cuda = Cuda(FakeCuda())
    engine = OnnxCudaEngine(
        PATH, ModelContract("g.onnx", specs, specs), cuda, Streams(cuda).of("reply")
    )
    bound: list[Any] = []
    context = SimpleNamespace(
        bind_input=lambda *about: bound.append(about[3]),
        bind_output=lambda *about: bound.append(about[3]),
    )
    for bind in (engine.bind_input, engine.bind_output):
        for spec in specs:
            bind(context, spec.name, 8, (1,))
    assert bound == [onnx.TensorProto.BFLOAT16, np.float16] * 2
    engine.close()


@pytest.fixture
def bench(portable: Portable, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(portable.fp32)
    monkeypatch.setitem(sys.modules, "onnxruntime", made.provider)
    yield made
    made.close()


class Bench(TensorRtBench):
    """A decoder over the fake CUDA provider."""

    def __init__(self, artifact: Path) -> None:
        super().__init__(artifact)
        self.provider: Any = FakeCudaProvider(self.fake)

    def decoder(
        self, slots: int = SLOTS, plan: bytes | None = None, kernels: Any = None
    ) -> DeviceDecoder:
        engine = OnnxCudaEngine(self.path, self.contract, self.cuda, self.streams.of("reply"))
        return DeviceDecoder(engine, self.contract, slots, kernels)

    def reference(self) -> OnnxDecoder:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "onnxruntime", onnxruntime)
            return super().reference()


def test_a_decoder_gives_the_numbers_of_the_cpu(bench: Bench) -> None:
    test_tensorrt.test_it_gives_the_numbers_of_onnx_runtime(bench)
    bench.fake.calls.clear()
    test_tensorrt.test_the_engine_s_loop_gives_the_same_tokens(bench)
    names = [call[0] for call in bench.fake.calls]
    assert names.count("cudaStreamBeginCapture") == 2  # a step, and pieces of 16 of the prompt
    assert (
        names.count("cudaGraphLaunch") == 25
    )  # 23 steps, and the 20 positions of the prompt in two pieces


def test_tokens_are_chosen_in_the_captured_step(bench: Bench, kernels: CudaKernels) -> None:
    tokens = []
    for on_device in (FakeKernels(bench.fake, kernels), None):
        decoder = bench.decoder(kernels=on_device)
        tokens.append(
            list(DecodeEngine(decoder).generate([300, 301], Sampling(0.8, 20, 0.9, seed=4), (), 24))
        )
        decoder.close()
    assert tokens[0] == tokens[1]
    assert "cudaEventSynchronize" in {call[0] for call in bench.fake.calls}


def test_of_a_large_vocabulary_the_device_chooses_among_few(
    bench: Bench, kernels: CudaKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_device: Any = FakeKernels(bench.fake, kernels)
    decoder = bench.decoder(kernels=on_device)
    chooser, many, few = decoder.chooser, Sampling(0.8, 500), Sampling(0.8, 400)
    assert chooser is not None
    monkeypatch.setattr(device_chooser, "ROOM", decoder.vocabulary)
    assert chooser.can_choose(many, 10)
    monkeypatch.setattr(device_chooser, "ROOM", decoder.vocabulary - 1)
    assert (chooser.can_choose(many, 10), chooser.can_choose(few, 10)) == (False, True)
    decoder.close()


def test_a_window_is_captured_for_its_sizes_and_replayed(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = Manifest.read(tiny.fp32).graphs["windowed_waveform_decoder"]
    path, fake = tiny.fp32 / contract.file, FakeCuda()
    cuda, provider = Cuda(fake), FakeCudaProvider(fake)
    streams, frames = Streams(cuda), XttsFrames(4, 24000 / 22050)
    latents = np.random.default_rng(0).standard_normal(
        (60, int(contract.inputs[0].shape[2])), np.float32
    )
    speaker = {"speaker": np.random.default_rng(1).standard_normal((1, 512, 1), np.float32)}
    windows = [(0, 22, 0, 13), (9, 44, 13, 13), (20, 55, 13, 13), (60, 95, 13, 13), (0, 22, 0, 13)]
    given = [frames.inputs(latents, *window) | speaker for window in windows]
    reference = OnnxGraph(path, contract, EngineBudget(1, False, 0))
    wanted = [reference.run(inputs)["audio"] for inputs in given]
    monkeypatch.setitem(sys.modules, "onnxruntime", provider)
    graph = OnnxCudaGraph(path, contract, cuda, streams.of("vocode"))
    assert (graph.compiles_shapes, graph.few_shapes) == (True, True)
    for inputs, audio in zip(given, wanted, strict=True):
        np.testing.assert_allclose(graph.run(inputs)["audio"], audio, atol=1e-5)
    names = [call[0] for call in fake.calls]
    assert (
        names.count("cudaStreamBeginCapture") == len(provider.sessions) == 2
    )  # one for each of the sizes, not the places
    assert names.count("cudaGraphLaunch") == len(windows)
    monkeypatch.setattr(onnx_cuda, "_MOST_FIXED", 2)
    alive = fake.alive
    graph.run(
        frames.inputs(latents, 0, 31, 0, 13) | speaker
    )  # in the place of the one that was used longest ago
    assert (len(graph._fixed), fake.alive) == (2, alive)
    np.testing.assert_allclose(graph.run(given[0])["audio"], wanted[0], atol=1e-5)
    assert len(provider.sessions) == 3
    provider.fails = True
    with pytest.raises(InferenceFailed, match=r"vocoder.onnx: CUDA failure 700$"):
        graph.run(frames.inputs(latents, 0, 30, 0, 13) | speaker)
    graph.close()
    with pytest.raises(InferenceFailed, match="is closed"):
        graph.run(given[0])
    streams.close()
    assert fake.alive == 0


@pytest.mark.parametrize("executor", ["onnx-cuda", "openvino"])
def test_whoever_asks_a_server_for_windows_takes_those_that_suit_it(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    """The client knows of the server's executor what the served model says of itself, and no more."""
    folder, fake = str(tiny.short), FakeCuda()
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path))
    monkeypatch.setattr(
        "voxturn.runtime.executors.cuda.gpu.Gpu",
        lambda root, progress: Gpu(root, progress, cuda=Cuda(fake)),
    )
    speak, vocode = SpeakEngine(folder, "onnx", "int8"), Engine(folder, executor, "int8")
    profile = replace(load_profile("demo"), speak=speak, vocode=vocode)
    served = VocoderHandler(profile)
    about = served.describe()
    assert about["executor"] == executor
    served.close()
    assert fake.alive == 0
    server = SimpleNamespace(describe=lambda model: about, close=lambda: None)
    monkeypatch.setattr("voxturn.runtime.remote.connection.Connection", lambda address: server)
    asking = replace(profile, vocode=vocode.served("localhost:8001"))
    parts = LoadedParts(asking, Store(tmp_path))
    plan = as_xtts(parts.voice()).vocoder.plan
    parts.close()
    assert plan is (plans.FEW_SHAPES if executor == "onnx-cuda" else plans.ALONE)[0]


def test_a_run_that_fails_is_an_error_and_leaves_nothing_in_flight(bench: Bench) -> None:
    decoder = bench.decoder()
    bench.provider.fails = True
    for ids in ([[1, 2]], [[1]]):
        with pytest.raises(InferenceFailed, match=r"CUDA failure 700$"):
            decoder.run(0, np.array(ids, np.int64), [0])
        assert not bench.fake.streams[bench.streams.of("reply").handle]
    decoder.close()


def test_a_library_without_cuda_is_refused(fake: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys.modules["onnxruntime"], "get_available_providers", lambda: ["CPUExecutionProvider"]
    )
    with pytest.raises(ExecutorUnavailable, match="knows no CUDA"):
        cuda_session(PATH, PATH, Streams().of("vocode"))
