"""The TensorRT executor on a fake library and a fake CUDA: the same numbers as ONNX Runtime, and
nothing out of order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.export.artifact import contract_of
from voxturn.export.bfloat16 import computable
from voxturn.export.xtts import export as xtts
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.errors import (
    CorruptModel,
    ExecutorUnavailable,
    InferenceFailed,
    InvalidProfile,
)
from voxturn.runtime.executors.cuda import device_decoder, tensorrt_build
from voxturn.runtime.executors.cuda.device_decoder import DeviceDecoder
from voxturn.runtime.executors.cuda.gpu import Gpu
from voxturn.runtime.executors.cuda.kernels import CudaKernels
from voxturn.runtime.executors.cuda.library import Cuda
from voxturn.runtime.executors.cuda.streams import Streams
from voxturn.runtime.executors.cuda.tensorrt import TensorRtGraph
from voxturn.runtime.executors.cuda.tensorrt_engine import Engine as TensorRtEngine
from voxturn.runtime.executors.onnx import OnnxDecoder, OnnxGraph
from voxturn.runtime.flow.scheduling import EngineBudget
from voxturn.runtime.flow.sharing import process_cores
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import Store, quiet
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Engine, SpeakEngine, load_profile
from voxturn.runtime.serving.handlers import XttsHandler
from voxturn.runtime.xtts import XTTS

from tests.gpu.conftest import Portable, Tiny
from tests.gpu.fakes import FakeCuda, FakeKernels, FakeTensorRt
from tests.tiny.conftest import shortened

BUDGET = EngineBudget(1, False, 0)
SLOTS = 4


def serialized(path: Path) -> bytes:
    return b"onnx:" + str(path).encode()


class Bench:
    """The executor under test, what it runs on, and its equal on ONNX Runtime."""

    def __init__(self, artifact: Path, **library: Any) -> None:
        self.contract = Manifest.read(artifact).graphs["token_decoder"]
        self.path = artifact / self.contract.file
        self.fake = FakeCuda()
        self.trt = FakeTensorRt(self.fake, **library)
        self.cuda = Cuda(self.fake)
        self.streams = Streams(self.cuda)

    def decoder(self, slots: int = SLOTS, plan: bytes | None = None) -> DeviceDecoder:
        engine = TensorRtEngine(
            self.trt, self.cuda, self.streams.of("reply"), plan or serialized(self.path)
        )
        return DeviceDecoder(engine, self.contract, slots)

    def reference(self) -> OnnxDecoder:
        with computable(self.path) as readable:
            return OnnxDecoder(readable, contract_of(readable), BUDGET, SLOTS, 2048)

    def close(self) -> None:
        self.streams.close()
        assert self.fake.alive == 0, "something was not freed"


@pytest.fixture
def bench(portable: Portable) -> Iterator[Bench]:
    made = Bench(portable.fp32)
    yield made
    made.close()


def script(executor: Any) -> list[np.ndarray[Any, Any]]:
    """Prompts, steps of one and of several slots, copies, saves and loads: the logits of all of it."""
    out = []

    def run(first: int, ids: list[list[int]], pasts: list[int]) -> None:
        made = executor.run(first, np.array(ids, np.int64), pasts)
        out.extend([made.logits.copy(), made.hidden.copy()])

    run(0, [list(range(300, 330))], [0])
    run(1, [[5, 6, 7]], [0])
    for step in range(3):
        run(0, [[9 + step], [8 + step]], [30 + step, 3 + step])
    executor.copy(0, 2, 20)
    run(2, [[1]], [20])
    kept = executor.save(1, 6)
    executor.load(3, kept)
    run(3, [[2, 3]], [6])
    run(1, [[4], [5], [6]], [6, 21, 8])
    run(0, [[4]], [33])
    return out


def test_it_gives_the_numbers_of_onnx_runtime(bench: Bench) -> None:
    ours, theirs = bench.decoder(), bench.reference()
    for got, wanted in zip(script(ours), script(theirs), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    ours.close()
    ours.close()


def test_a_decoder_in_bfloat16_gives_the_numbers_of_its_twin_in_float32(portable: Portable) -> None:
    bench = Bench(portable.bf16)
    assert "bfloat16" in {spec.dtype for spec in bench.contract.inputs}
    ours, theirs = bench.decoder(), bench.reference()
    for got, wanted in zip(script(ours), script(theirs), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    ours.close()
    bench.close()


def test_the_engine_s_loop_gives_the_same_tokens(bench: Bench) -> None:
    tokens = []
    for executor in (bench.decoder(), bench.reference()):
        engine = DecodeEngine(executor)
        tokens.append(
            list(engine.generate(list(range(300, 320)), Sampling(0.8, 20, 0.9, seed=4), (), 24))
        )
        executor.close()
    assert tokens[0] == tokens[1]


def test_a_step_is_captured_once_for_a_range_of_slots_and_replayed(bench: Bench) -> None:
    decoder = bench.decoder()
    for step in range(4):
        decoder.run(0, np.array([[1], [2]], np.int64), [step, step])
    decoder.run(1, np.array([[1]], np.int64), [4])
    names = [call[0] for call in bench.fake.calls]
    assert names.count("cudaStreamBeginCapture") == 2
    assert names.count("cudaGraphLaunch") == 5
    (step,) = [i for i, name in enumerate(names) if name == "cudaGraphLaunch"][3:4]
    assert names[step - 1 : step + 2] == [
        "cudaStreamSynchronize",
        "cudaGraphLaunch",
        "cudaStreamSynchronize",
    ]
    decoder.close()


def test_prefill_and_step_have_contexts_of_their_own_over_one_scratch_memory(bench: Bench) -> None:
    decoder = bench.decoder()
    decoder.run(0, np.array([[1, 2]], np.int64), [0])
    decoder.run(0, np.array([[3]], np.int64), [2])
    decoder.run(0, np.array([[3], [4]], np.int64), [3, 0])
    prefill, step, two = (
        bench.trt.contexts
    )  # one for every number of sequences: a captured graph holds its shapes
    assert (prefill.profile, step.profile, two.profile) == (0, 1, 1)
    assert prefill.scratch == step.scratch == two.scratch
    decoder.close()


def test_a_prompt_s_piece_of_a_known_length_is_captured_once_for_its_slot(bench: Bench) -> None:
    decoder, reference = bench.decoder(), bench.reference()
    random = np.random.default_rng(0)
    for slot, past, length in (
        (0, 0, 32),
        (1, 0, 16),
        (0, 10, 32),
        (1, 16, 16),
        (1, 5, 32),
        (0, 42, 20),
        (0, 3, 16),
    ):
        ids = random.integers(1, 300, (1, length))
        made, wanted = (
            executor.run(slot, ids, [past]).logits.copy() for executor in (decoder, reference)
        )
        np.testing.assert_allclose(made, wanted, atol=1e-5)
    names = [call[0] for call in bench.fake.calls]
    assert names.count("cudaStreamBeginCapture") == 4  # two lengths in two slots
    assert names.count("cudaGraphLaunch") == 6  # all but the piece of 20
    assert {context.profile for context in bench.trt.contexts} == {0}
    assert len(bench.trt.contexts) == 3  # of 32, of 16, of any length
    decoder.close()


@pytest.mark.parametrize("top_k", [20, 0])  # 0: the host chooses
def test_what_a_sequence_would_wait_for_is_captured_when_a_decoder_is_loaded(
    bench: Bench, kernels: CudaKernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top_k: int
) -> None:
    monkeypatch.setattr(tensorrt_build, "build", lambda trt, path, *_: serialized(path))
    on_device: Any = FakeKernels(bench.fake, kernels)
    gpu = Gpu(tmp_path, quiet, bench.trt, bench.cuda, on_device)
    decoder = gpu.tensorrt_decoder(bench.path, bench.contract, "token_decoder", "reply", 2)
    bench.fake.calls.clear()
    contexts, engine = len(bench.trt.contexts), DecodeEngine(decoder)
    for length in (5, 16, 40, 300):
        wanted = [int(i) for i in np.random.default_rng(length).integers(1, 300, length)]
        assert len(list(engine.generate(wanted, Sampling(0.8, top_k), (), 4))) == 4
    names = {call[0] for call in bench.fake.calls}
    assert not names & {"cudaStreamBeginCapture", "cudaMalloc", "cudaMallocHost"}
    assert len(bench.trt.contexts) == contexts
    decoder.close()
    gpu.close()


def test_prompts_that_cannot_be_captured_run_as_they_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decoder, reference, replay = bench.decoder(), bench.reference(), device_decoder._Call.replay

    def refuses(call: Any, first: int) -> None:
        if call._length == 32:
            raise InferenceFailed("CUDA: cudaStreamEndCapture failed with error 901")
        replay(call, first)

    monkeypatch.setattr(device_decoder._Call, "replay", refuses)
    decoder.warm()
    assert "prompts are not captured, and slower: CUDA: cudaStreamEndCapture" in caplog.text
    prompt = list(range(300, 350))
    tokens = [
        list(DecodeEngine(each).generate(prompt, Sampling(), (), 6))
        for each in (decoder, reference)
    ]
    assert tokens[0] == tokens[1]
    decoder.close()


def test_only_lengths_that_leave_room_for_an_answer_are_captured(bench: Bench) -> None:
    shorter = tuple(
        replace(s, shape=(*s.shape[:2], 64, s.shape[3])) if s.name.startswith("past_") else s
        for s in bench.contract.inputs
    )
    engine = TensorRtEngine(
        bench.trt, bench.cuda, bench.streams.of("reply"), serialized(bench.path)
    )
    decoder = DeviceDecoder(engine, replace(bench.contract, inputs=shorter), SLOTS)
    assert decoder.lengths == (16, 32)
    decoder.close()


def test_sequences_with_rows_of_their_own_come_one_at_a_time(bench: Bench) -> None:
    decoder = bench.decoder()
    with pytest.raises(InferenceFailed, match="one at a time, not 2"):
        decoder.run(0, np.ones((2, 1), np.int64), [0, 0], np.zeros((1, 4), np.float32))
    with pytest.raises(InferenceFailed, match="34 rows are beyond the profile's 33"):
        decoder.run(0, np.ones((1, 2), np.int64), [0], np.zeros((34, 4), np.float32))
    decoder.close()


def test_a_capture_that_fails_is_ended_and_says_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = bench.decoder()
    begin = bench.cuda.begin_capture

    def then_refuse(stream: int) -> None:
        begin(stream)
        bench.trt.says_no = "execute_async_v3"

    monkeypatch.setattr(bench.cuda, "begin_capture", then_refuse)
    with pytest.raises(InferenceFailed, match="TensorRT: the run failed"):
        decoder.run(0, np.array([[1]], np.int64), [0])
    monkeypatch.undo()
    bench.trt.says_no = ""
    decoder.run(0, np.array([[1]], np.int64), [0])
    decoder.close()


def test_what_fails_halfway_leaves_nothing_in_flight(bench: Bench) -> None:
    decoder, stream = bench.decoder(), bench.streams.of("reply").handle
    for ids in ([[1, 2]], [[1]]):
        bench.trt.says_no = "execute_async_v3"
        with pytest.raises(InferenceFailed, match="TensorRT: the run failed"):
            decoder.run(0, np.array(ids, np.int64), [0])
        assert not bench.fake.streams[stream]
    bench.trt.says_no = ""
    decoder.close()


@contextmanager
def graph_on_the_fake_gpu(
    tiny: Tiny, role: str, stage: str, on_host: tuple[str, ...] = ()
) -> Iterator[tuple[TensorRtGraph, OnnxGraph, FakeCuda]]:
    """A graph of the tiny voice, the same on ONNX Runtime, and the fake; at the end nothing is left
    of them."""
    contract = Manifest.read(tiny.fp32).graphs[role]
    fake = FakeCuda()
    cuda = Cuda(fake)
    streams = Streams(cuda)
    plan = serialized(tiny.fp32 / contract.file)
    graph = TensorRtGraph(
        FakeTensorRt(fake, on_host=on_host), cuda, streams.of(stage), plan, contract, role
    )
    yield graph, OnnxGraph(tiny.fp32 / contract.file, contract, BUDGET), fake
    graph.close()
    streams.close()
    assert fake.alive == 0


def test_a_graph_is_run_by_several_threads_one_after_the_other(tiny: Tiny) -> None:
    inputs = [
        {"mel": np.random.default_rng(n).standard_normal((1, 64, 80 + n), np.float32)}
        for n in range(8)
    ]
    with graph_on_the_fake_gpu(tiny, "speaker_encoder", "clone") as (graph, reference, _):
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(graph.run, inputs))
        for got, given in zip(made, inputs, strict=True):
            np.testing.assert_allclose(
                got["embedding"], reference.run(given)["embedding"], atol=1e-5
            )


def test_closing_waits_for_the_stream_before_it_frees(bench: Bench) -> None:
    decoder = bench.decoder()
    decoder.run(0, np.array([[1, 2]], np.int64), [0])
    bench.fake.calls.clear()
    bench.fake.enqueue(bench.streams.of("reply").handle, lambda: None)
    decoder.close()
    names = [call[0] for call in bench.fake.calls]
    assert names[0] == "cudaStreamSynchronize"
    assert {"cudaFree", "cudaFreeHost"} <= set(names)


@pytest.mark.parametrize(
    "call",
    ["set_optimization_profile_async", "set_input_shape", "set_tensor_address", "execute_async_v3"],
)
def test_whatever_tensorrt_refuses_is_an_error_and_nothing_leaks(bench: Bench, call: str) -> None:
    bench.trt.says_no = call
    with pytest.raises(InferenceFailed, match="TensorRT: "):
        decoder = bench.decoder()
        try:
            decoder.run(0, np.array([[1, 2]], np.int64), [0])
        finally:
            decoder.close()


@pytest.mark.parametrize(
    "call",
    [
        "cudaMalloc",
        "cudaMallocHost",
        "cudaMemcpyAsync",
        "cudaMemsetAsync",
        "cudaStreamBeginCapture",
        "cudaGraphLaunch",
    ],
)
def test_whatever_cuda_refuses_is_an_error_and_nothing_leaks(bench: Bench, call: str) -> None:
    bench.streams.of("reply")
    bench.fake.fails = call
    with pytest.raises(InferenceFailed, match=f"CUDA: {call} failed with error 700"):
        decoder = bench.decoder()
        try:
            decoder.run(0, np.array([[1]], np.int64), [0])
        finally:
            bench.fake.fails = ""
            decoder.close()
    bench.fake.fails = ""


@pytest.mark.parametrize(
    "call", ["cudaGraphLaunch", "cudaGraphInstantiate", "cudaEventRecord", "cudaMalloc"]
)
def test_a_decoder_whose_steps_cannot_be_captured_leaves_nothing(
    bench: Bench, kernels: CudaKernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(tensorrt_build, "build", lambda trt, path, *_: serialized(path))
    on_device: Any = FakeKernels(bench.fake, kernels)
    gpu = Gpu(tmp_path, quiet, bench.trt, bench.cuda, on_device)
    bench.fake.fails = call
    with pytest.raises(InferenceFailed, match=f"CUDA: {call} failed with error 700"):
        gpu.tensorrt_decoder(bench.path, bench.contract, "token_decoder", "reply", SLOTS)
    bench.fake.fails = ""
    gpu.close()
    assert bench.fake.alive == 0


def test_a_kept_engine_that_is_not_whole_is_built_again_once(
    bench: Bench, kernels: CudaKernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Path] = []
    on_device: Any = FakeKernels(bench.fake, kernels)
    monkeypatch.setattr(
        tensorrt_build, "build", lambda trt, path, *_: built.append(path) or serialized(path)
    )
    gpu = Gpu(tmp_path, quiet, bench.trt, bench.cuda, on_device)
    for _ in range(2):
        gpu.tensorrt_decoder(bench.path, bench.contract, "token_decoder", "reply", SLOTS).close()
    (kept,) = tmp_path.glob("*.engine")
    kept.write_bytes(b"half of")
    gpu.tensorrt_decoder(bench.path, bench.contract, "token_decoder", "reply", SLOTS).close()
    assert (len(built), kept.read_bytes()) == (2, serialized(bench.path))
    monkeypatch.setattr(tensorrt_build, "build", lambda *_: b"for another GPU")
    kept.write_bytes(b"half of")
    with pytest.raises(CorruptModel, match="not one for this GPU"):
        gpu.tensorrt_decoder(bench.path, bench.contract, "token_decoder", "reply", SLOTS)
    gpu.close()
    assert bench.fake.alive == 0


def test_an_engine_of_another_version_is_refused(bench: Bench) -> None:
    with pytest.raises(
        CorruptModel, match=r"not one for this GPU and TensorRT 11\.4\.0 .*plan is not one"
    ):
        bench.decoder(plan=b"from elsewhere")


def test_caches_that_are_copied_are_refused(portable: Portable) -> None:
    bench = Bench(portable.fp32, aliased=False)
    with pytest.raises(ExecutorUnavailable, match="not updated in place"):
        bench.decoder()
    bench.close()


def test_more_slots_than_the_profile_has_are_refused(bench: Bench) -> None:
    with pytest.raises(ExecutorUnavailable, match="1 to 8 slots, not 9"):
        bench.decoder(slots=9)


@pytest.mark.parametrize("length", [0, 2049])
def test_what_does_not_fit_is_refused(bench: Bench, length: int) -> None:
    decoder = bench.decoder()
    with pytest.raises(InferenceFailed, match="do not fit buffers"):
        decoder.run(0, np.zeros((1, length), np.int64), [0])
    decoder.close()


def test_a_graph_whose_sizes_are_inputs(tiny: Tiny) -> None:
    sizes = ("latent_offset", "frame_offset", "frames", "before", "after")
    random = np.random.default_rng(0)
    with graph_on_the_fake_gpu(tiny, "windowed_waveform_decoder", "vocode", sizes) as (
        graph,
        reference,
        _,
    ):
        width = int(graph._contract.inputs[0].shape[2])
        for count, frames in (
            (6, 20),
            (12, 40),
            (3, 9),
            (5, 4),
        ):  # a sentence of one code has four frames
            inputs = (
                {
                    "latents": random.standard_normal((1, count, width), np.float32),
                    "speaker": random.standard_normal((1, 512, 1), np.float32),
                }
                | {name: np.array(0, np.int64) for name in sizes}
                | {"frames": np.array(frames, np.int64)}
            )
            np.testing.assert_allclose(
                graph.run(inputs)["audio"], reference.run(inputs)["audio"], atol=1e-5
            )
        with pytest.raises(InferenceFailed, match="beyond the profile"):
            graph.run(inputs | {"latents": np.zeros((1, 81, width), np.float32)})
        with pytest.raises(InferenceFailed, match="the run failed"):
            graph.run(inputs | {"frame_offset": np.array(2701, np.int64)})
        with pytest.raises(InferenceFailed, match=r"the shape \[1, 1, 64\] of latents failed"):
            graph.run(inputs | {"latents": np.zeros((1, 1, width), np.float32)})


def test_whole_sequences_have_room_for_what_they_become(tiny: Tiny) -> None:
    random = np.random.default_rng(0)
    with graph_on_the_fake_gpu(tiny, "sequence_waveform_decoder", "vocode") as (
        graph,
        reference,
        fake,
    ):
        width = int(graph._contract.inputs[0].shape[2])
        for sequences, count in ((1, 300), (3, 1), (8, 20)):
            inputs = {
                "latents": random.standard_normal((sequences, count, width), np.float32),
                "speaker": random.standard_normal((sequences, 512, 1), np.float32),
            }
            np.testing.assert_allclose(
                graph.run(inputs)["audio"], reference.run(inputs)["audio"], atol=1e-5
            )

        def copies() -> int:
            return [call[0] for call in fake.calls].count("cudaMemcpyAsync")

        graph._outputs["audio"].host.size, before = 1000, copies()
        with pytest.raises(InferenceFailed, match=r"output audio has shape .*, too large"):
            graph.run(inputs)
        assert copies() == before + 2  # inputs, and nothing ran


def test_without_a_device_or_the_library_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(ExecutorUnavailable, match="no CUDA device"):
        Cuda(FakeCuda(devices=0))
    with pytest.raises(ExecutorUnavailable, match="needs cuda-bindings"):
        Cuda()


# --- streams


def test_whoever_takes_what_a_step_made_waits_for_its_mark_and_for_nothing_else() -> None:
    fake = FakeCuda()
    streams = Streams(Cuda(fake))
    speak, vocode = streams.of("speak"), streams.of("vocode")
    order: list[str] = []
    mark = speak.mark()
    for step in ("first", "second"):  # a mark is put again and again
        fake.enqueue(speak.handle, partial(order.append, step))
        mark.put()
        fake.enqueue(speak.handle, partial(order.append, f"after the {step}"))
        fake.enqueue(vocode.handle, partial(order.append, "another stage's"))
        mark.reached()
        assert order[-1:] == [step]
    assert order == ["first", "after the first", "second"]
    for stage in (speak, vocode):
        fake.cudaStreamSynchronize(stage.handle)
    mark.free()
    mark.free()
    streams.close()
    assert fake.alive == 0


def test_speech_goes_ahead_of_text() -> None:
    fake = FakeCuda()
    streams = Streams(Cuda(fake))
    for stage in ("reply", "speak", "clone"):
        streams.of(stage)
    assert streams.of("speak") is streams.of("speak")
    priorities = [call[2] for call in fake.calls if call[0] == "cudaStreamCreateWithPriority"]
    assert priorities == [-4, -5, -4]
    streams.close()


def test_without_a_device_streams_do_nothing() -> None:
    streams = Streams()
    stage = streams.of("speak")
    mark = stage.mark()
    with stage.range("step"):
        mark.put()
    mark.reached()
    mark.free()
    assert stage.handle == 0
    streams.close()


# --- mutation: what a mistake in the executor would do

_context, _replay = TensorRtEngine.context, device_decoder._Call.replay

MUTATIONS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "no synchronisation": lambda patch: patch.setattr(
        Cuda, "synchronize", lambda self, stream: None
    ),
    "no event": lambda patch: patch.setattr(Cuda, "record", lambda self, event, stream: None),
    "freed at once": lambda patch: patch.setattr(
        "voxturn.runtime.executors.cuda.device_memory.DeviceMemory.allocate",
        lambda self, size: (a := self.cuda.allocate(size), self.cuda.free(a))[0],
    ),
    "the default stream": lambda patch: patch.setattr(Cuda, "stream", lambda self, rank: 0),
    "unchecked": lambda patch: patch.setattr(
        "voxturn.runtime.executors.cuda.tensorrt_engine.Engine.checked", lambda self, ok, what: None
    ),
    "a slot too far": lambda patch: patch.setattr(
        "voxturn.runtime.executors.cuda.device_decoder._Cache.slot",
        lambda self, n: self.address + (n + 1) * self.heads * self._pitch,
    ),
    "one context for all lengths": lambda patch: patch.setattr(
        TensorRtEngine,
        "context",
        lambda self, profile, batch, length=0: _context(self, profile, batch),
    ),
    "the graph of the first slot": lambda patch: patch.setattr(
        device_decoder._Call, "replay", lambda self, first: _replay(self, 0)
    ),
    "never freed": lambda patch: patch.setattr(Cuda, "free", lambda self, address: None),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mistake_makes_a_test_fail(
    mutation: str, portable: Portable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything() -> None:
        bench = Bench(portable.fp32)
        test_it_gives_the_numbers_of_onnx_runtime(bench)
        bench.close()
        bench = Bench(portable.fp32)
        test_a_prompt_s_piece_of_a_known_length_is_captured_once_for_its_slot(bench)
        bench.close()
        test_whoever_takes_what_a_step_made_waits_for_its_mark_and_for_nothing_else()
        bench = Bench(portable.fp32)
        test_whatever_tensorrt_refuses_is_an_error_and_nothing_leaks(bench, "execute_async_v3")
        bench.close()

    everything()
    MUTATIONS[mutation](monkeypatch)
    with pytest.raises((AssertionError, KeyError, InferenceFailed, pytest.fail.Exception)):
        everything()


# --- a whole profile on the fake GPU


def test_a_profile_for_tensorrt_speaks_on_the_fake_gpu(
    tiny: Tiny, kernels: CudaKernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Graphs of a voice exported for TensorRT, through the profile, the engine cache, streams and
    the batched engine."""
    whole, folder = tmp_path / "whole", tmp_path / "voice"
    whole.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xtts, "find_spec", lambda name: None)
        source = Manifest("xtts-v2", "checkpoint", "source", {}, {})
        xtts.export(tiny.checkpoint, source, whole, "fp32", quiet, "tensorrt")
    shortened(whole, folder)
    fake = FakeCuda()
    sizes = ("latent_offset", "frame_offset", "frames", "before", "after")
    library = FakeTensorRt(fake, on_host=sizes)
    on_device: Any = FakeKernels(fake, kernels)
    monkeypatch.setattr(tensorrt_build, "build", lambda trt, path, *_: serialized(path))
    monkeypatch.setattr(
        "voxturn.runtime.executors.cuda.gpu.Gpu",
        lambda root, progress: Gpu(root, progress, library, Cuda(fake), on_device),
    )
    demo = load_profile("demo")
    speak = SpeakEngine(str(folder), "tensorrt", "fp32", slots=2)
    chosen = replace(demo, speak=speak, vocode=Engine(str(folder), "tensorrt", "fp32"))
    said = []
    for executor in ("tensorrt", "onnx"):
        with XTTS.load(
            folder, slots=2, executor=executor, vocoder=executor, store=Store(tmp_path / "home")
        ) as voice:
            assert (voice.info.executor, voice.vocoder_info.executor) == (executor, executor)
            # whoever has the cores keeps no GPU waiting
            with (
                ThreadPoolExecutor(1) as pool,
                process_cores().gate.turn(0) if executor == "tensorrt" else nullcontext(),
            ):
                says = partial(voice.tts, "Good morning.", language="en", guard=False)
                said.append([pool.submit(says, seed=n).result(60) for n in range(2)])
    for ours, theirs in zip(*said, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))
    served = XttsHandler(chosen)
    assert served.describe()["executor"] == "tensorrt"
    served.close()
    assert fake.alive == 0
    assert "cudaEventSynchronize" in {call[0] for call in fake.calls}, (
        "its codes were not chosen on the device"
    )
    assert list((tmp_path / "home/engines").glob("*.engine"))
    wrong = replace(demo, speak=replace(speak, model=str(tiny.fp32)), vocode=chosen.vocode)
    parts = LoadedParts(wrong, Store(tmp_path / "home"))
    with pytest.raises(InvalidProfile, match="export it with --for tensorrt"):
        parts.voice()
    parts.close()
