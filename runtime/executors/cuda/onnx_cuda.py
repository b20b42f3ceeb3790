"""ONNX Runtime's CUDA provider: the second GPU executor, for a machine without TensorRT.

It works in the stage's own stream and keeps inputs and outputs on the device while it runs. ONNX
Runtime would go to the CPU without a word where a library is missing or an operator has no kernel;
here both are errors. What may run there is arithmetic of sizes, which it puts there by itself
(`session.disable_cpu_ep_fallback` would refuse that, too).

Runs are captured from outside, as TensorRT's: `enable_cuda_graph` keeps what a capture must not
hold out of the stream, and `gpu_graph_id = -1` leaves the capture itself to the caller.

cuDNN makes its plans anew whenever a convolution's shape changes: 0.3 s for our vocoder on an H200,
0.1 s without them, where then nothing is fast. So a graph whose inputs decide shapes gets a session
for every combination of them, in which they are constants, and a captured run; a plan of windows
has few. A decoder runs over operators of its own (`onnx_fuse`). Source: ONNX Runtime, CUDA
execution provider (`user_compute_stream`, `enable_cuda_graph`), I/O binding.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.errors import CorruptModel, ExecutorUnavailable, InferenceFailed, VoxturnError
from voxturn.runtime.executors.cuda.device_decoder import DecoderEngine
from voxturn.runtime.executors.cuda.device_memory import Buffer, DeviceMemory
from voxturn.runtime.executors.cuda.library import Cuda
from voxturn.runtime.executors.cuda.onnx_fuse import fuse
from voxturn.runtime.executors.cuda.streams import StageStream
from voxturn.runtime.executors.loading import first_line, unloadable
from voxturn.runtime.models.manifest import ModelContract, TensorSpec
from voxturn.runtime.protocols import Tensor

PROVIDER = "CUDAExecutionProvider"
DECIDING = ("frames", "before", "after")
"""Inputs of our graphs whose values decide shapes inside (`export.xtts.graphs`)."""
_CHANGING = {"cudnn_conv_algo_search": "DEFAULT"}
_FIXED = {"enable_cuda_graph": "1", "cudnn_conv_algo_search": "HEURISTIC", "prefer_nhwc": "1"}
"""Convolutions whose shapes change from run to run, and those of a captured run; measured in
docs/performance.md."""
_DECODER = {"enable_cuda_graph": "1", "enable_skip_layer_norm_strict_mode": "1"}
"""The sums of a fused norm are float32, as the graph has them."""
_ATTENTION = {"sdpa_kernel": "3"}
"""Flash attention, or memory-efficient attention where a GPU has no other: left to itself the
provider takes cuDNN's, which makes a plan for every length of a prompt, 50 to 80 ms on an H200. For
fused attention, which is of 16 bits."""
_ERRORS, _FATAL, _BFLOAT16 = 3, 4, 16
_MOST_FIXED = 96
"""Captured shapes of a graph that are kept, of some 50 MB each: about as many as all shipped plans
together have."""
_SIZES = frozenset(
    {
        "Add",
        "Cast",
        "Concat",
        "Div",
        "Gather",
        "Max",
        "Min",
        "Mul",
        "Range",
        "Shape",
        "Slice",
        "Squeeze",
        "Sub",
        "Unsqueeze",
    }
)
"""Operators that ONNX Runtime may compute on the CPU: of these it puts those there whose values
become shapes."""


def cuda_session(
    model: Path | bytes, path: Path, stream: StageStream, about: Mapping[str, str] | None = None
) -> Any:
    """A session that runs on the GPU, in the stage's stream, or not at all. `about` are more
    options of the provider.

    `model` is what is loaded, the file `path` or what was made of it. Raises `ExecutorUnavailable`
    where it would run elsewhere, `CorruptModel`.
    """
    ort = cuda_library()
    # cuDNN's search reports every algorithm that does not fit as an error, thousands of lines; what
    # fails raises
    ort.set_default_logger_severity(_FATAL)
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    folder = str(
        path.resolve().parent
    )  # a file may be a link, and no weights are read from outside this folder
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    provider = {"device_id": "0", "user_compute_stream": str(stream.handle), "use_tf32": "0"}
    try:
        given = model if isinstance(model, bytes) else str(model)
        session = ort.InferenceSession(
            given, options, providers=[(PROVIDER, provider | dict(about or {}))]
        )
    except (
        Exception
    ) as exc:  # ONNX Runtime's classes derive from Exception alone and are not public
        raise unloadable(path, "ONNX Runtime's CUDA provider", exc) from exc
    if session.get_providers()[0] != PROVIDER:
        raise ExecutorUnavailable(
            f"{path}: ONNX Runtime went to {session.get_providers()[0]} instead of CUDA; see `voxturn doctor --gpu`"
        )
    elsewhere = {
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != PROVIDER
        for node in part.get_nodes()
    }
    if fallen := sorted(elsewhere - _SIZES):
        raise ExecutorUnavailable(
            f"{path}: ONNX Runtime would compute {', '.join(fallen)} on the CPU instead of CUDA"
        )
    return session


def cuda_library() -> Any:
    """ONNX Runtime with its CUDA provider. Raises `ExecutorUnavailable`."""
    try:
        import onnxruntime as ort
    except ImportError as exc:
        raise ExecutorUnavailable(
            "executor 'onnx-cuda' needs onnxruntime-gpu; pip install 'voxturn[gpu]'"
        ) from exc
    if PROVIDER not in ort.get_available_providers():
        raise ExecutorUnavailable(
            "this onnxruntime knows no CUDA; pip install onnxruntime-gpu in its place"
        )
    return ort


class OnnxCudaGraph:
    """A stateless graph. Inputs are checked against the contract. Close it when done."""

    name = "onnx-cuda"

    def __init__(
        self, path: Path, contract: ModelContract, cuda: Cuda, stream: StageStream
    ) -> None:
        self._path = path
        self._contract = contract
        self._cuda = cuda
        self._stream = stream
        self._deciding = [spec.name for spec in contract.inputs if spec.name in DECIDING]
        self.compiles_shapes = self.few_shapes = bool(self._deciding)
        self._session = None if self._deciding else cuda_session(path, path, stream, _CHANGING)
        self._fixed: OrderedDict[tuple[object, ...], _FixedGraph] = OrderedDict()
        self._closed = False
        self._lock = (
            threading.Lock()
        )  # memory of a fixed graph holds one call; callers may be in several threads

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self._contract.check(inputs)
        with self._stream.range(self._contract.file):
            try:
                return self._run_fixed(inputs) if self._deciding else self._run(inputs)
            except VoxturnError:
                raise
            except Exception as exc:
                raise InferenceFailed(f"{self._contract.file}: {first_line(exc)}") from exc

    def _run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if (session := self._session) is None:
            raise InferenceFailed(f"{self._contract.file}: is closed")
        binding = session.io_binding()
        for spec in self._contract.inputs:
            binding.bind_cpu_input(spec.name, inputs[spec.name])
        for spec in self._contract.outputs:
            binding.bind_output(spec.name, "cuda")
        session.run_with_iobinding(binding)
        values = binding.copy_outputs_to_cpu()
        return {
            spec.name: value for spec, value in zip(self._contract.outputs, values, strict=True)
        }

    def _run_fixed(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values = {name: int(inputs[name]) for name in self._deciding}
        given = {
            spec.name: inputs[spec.name]
            for spec in self._contract.inputs
            if spec.name not in values
        }
        key = (*values.values(), *(value.shape for value in given.values()))
        with self._lock:
            if self._closed:
                raise InferenceFailed(f"{self._contract.file}: is closed")
            if key not in self._fixed:
                while len(self._fixed) >= _MOST_FIXED:
                    self._fixed.popitem(last=False)[1].close()
                self._fixed[key] = _FixedGraph(
                    self._path, self._contract, self._cuda, self._stream, values, given
                )
            self._fixed.move_to_end(key)
            return self._fixed[key].run(given)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            while self._fixed:
                self._fixed.popitem()[1].close()
            self._session = None


class _FixedGraph(DeviceMemory):
    """A graph for inputs of these shapes, some of them constants: `values`. Its run is captured
    once and replayed."""

    def __init__(
        self,
        path: Path,
        contract: ModelContract,
        cuda: Cuda,
        stream: StageStream,
        values: Mapping[str, int],
        inputs: Mapping[str, Tensor],
    ) -> None:
        super().__init__(cuda, stream)
        try:
            session = cuda_session(_fixed(path, values, inputs), path, stream, _FIXED)
            binding, options = session.io_binding(), captured_options()
            self._inputs = {
                name: self.buffer(value.shape, value.dtype.name) for name, value in inputs.items()
            }
            for name, buffer in self._inputs.items():
                buffer.host.array[...] = inputs[
                    name
                ]  # among them are indices: no run may see what was there before
                cuda.copy(buffer.device, buffer.host.address, buffer.host.size, stream.handle)
                binding.bind_input(
                    name, "cuda", 0, inputs[name].dtype, inputs[name].shape, buffer.device
                )
            for spec in contract.outputs:
                binding.bind_output(spec.name, "cuda")
            session.run_with_iobinding(binding, options)  # tells what the outputs' shapes are
            cuda.synchronize(stream.handle)
            shapes = [tuple(value.shape()) for value in binding.get_outputs()]
            self._outputs: dict[str, Buffer] = {}
            for spec, shape in zip(contract.outputs, shapes, strict=True):
                made = self._outputs[spec.name] = self.buffer(shape, spec.dtype)
                binding.bind_output(spec.name, "cuda", 0, np.dtype(spec.dtype), shape, made.device)
            self._graph = self.captured(lambda: self._enqueue(session, binding, options))
            self._bound: Any = (session, binding)  # what was captured uses their memory
        except BaseException:
            self.close()
            raise

    def _enqueue(self, session: Any, binding: Any, options: Any) -> None:
        for buffer in self._inputs.values():
            self.cuda.copy(buffer.device, buffer.host.address, buffer.host.size, self.stream.handle)
        session.run_with_iobinding(binding, options)
        for buffer in self._outputs.values():
            self.cuda.copy(buffer.host.address, buffer.device, buffer.host.size, self.stream.handle)

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name."""
        for name, value in inputs.items():
            self._inputs[name].host.array[...] = value
        try:
            self.cuda.replay(self._graph, self.stream.handle)
        finally:  # nothing may be in flight when the pinned memory is written again
            self.cuda.synchronize(self.stream.handle)
        return {name: buffer.host.array.copy() for name, buffer in self._outputs.items()}

    def close(self) -> None:
        """Free the captured run first, then what it used."""
        try:
            super().close()
        finally:
            self._bound = None


def _fixed(path: Path, values: Mapping[str, int], inputs: Mapping[str, Tensor]) -> bytes:
    """A graph whose inputs of some names are constants and whose others have these shapes; its
    weights stay in their file.

    Nothing is left in it then that ONNX Runtime computes on the CPU, which a captured run may not.
    """
    onnx, model = _read(path)
    graph = model.graph
    free = [value for value in graph.input if value.name not in values]
    for value in free:
        for dimension, size in zip(
            value.type.tensor_type.shape.dim, inputs[value.name].shape, strict=True
        ):
            dimension.dim_value = size
    del graph.input[:]
    graph.input.extend(free)
    graph.initializer.extend(
        onnx.numpy_helper.from_array(np.array(v, np.int64), name) for name, v in values.items()
    )
    serialised: bytes = model.SerializeToString()
    return serialised


def _read(path: Path) -> tuple[Any, Any]:
    """The library `onnx`, and a graph without the weights of its data file.

    Raises `ExecutorUnavailable`, `CorruptModel`.
    """
    try:
        import onnx
    except ImportError as exc:
        raise ExecutorUnavailable(
            f"{path}: executor 'onnx-cuda' needs onnx; pip install 'voxturn[gpu]'"
        ) from exc
    try:
        return onnx, onnx.load(str(path), load_external_data=False)
    except Exception as exc:  # protobuf's errors have no common base
        raise CorruptModel(
            f"{path}: is not an ONNX graph ({first_line(exc)}); export it again"
        ) from exc


def _fused(path: Path) -> bytes:
    """A decoder's graph over the operators that the provider has for it; its weights stay in their
    file."""
    _, model = _read(path)
    serialised: bytes = fuse(model).SerializeToString()
    return serialised


def captured_options() -> Any:
    """Options of a run that is, or will be, captured by the caller."""
    options = cuda_library().RunOptions()
    options.add_run_config_entry("gpu_graph_id", "-1")
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


def _element_type(spec: TensorSpec) -> Any:
    """What I/O binding calls a tensor's type: numpy's, or ONNX's number where numpy has none."""
    return _BFLOAT16 if spec.dtype == "bfloat16" else np.dtype(spec.dtype)


class OnnxCudaEngine(DecoderEngine):
    """A decoder's graph (`export.decoder.portable`) in a session of its own. Close it when done."""

    name = "onnx-cuda"

    def __init__(
        self, path: Path, contract: ModelContract, cuda: Cuda, stream: StageStream
    ) -> None:
        super().__init__(cuda, stream)
        half = all(
            spec.dtype != "float32" for spec in contract.inputs if spec.name.startswith("past_")
        )
        options = _DECODER | (_ATTENTION if half else {})
        self._file = contract.file
        self._session = cuda_session(_fused(path), path, stream, options)
        self._types = {
            spec.name: _element_type(spec) for spec in (*contract.inputs, *contract.outputs)
        }
        self._options = captured_options()
        self._contexts: dict[tuple[int, int, int], Any] = {}

    def in_place(self, past: str, present: str) -> bool:
        """Always: where both are bound to one address, the fused attention and `TensorScatter`
        leave what is there."""
        return True

    def context(self, profile: int, batch: int, length: int = 0) -> Any:
        key = profile, batch, length
        if key not in self._contexts:
            self._contexts[key] = self._session.io_binding()
        return self._contexts[key]

    def bind_input(self, context: Any, name: str, address: int, shape: tuple[int, ...]) -> None:
        context.bind_input(name, "cuda", 0, self._types[name], shape, address)

    def bind_output(self, context: Any, name: str, address: int, shape: tuple[int, ...]) -> None:
        context.bind_output(name, "cuda", 0, self._types[name], shape, address)

    def execute(self, context: Any) -> None:
        try:
            self._session.run_with_iobinding(context, self._options)
        except Exception as exc:
            raise InferenceFailed(f"{self._file}: {first_line(exc)}") from exc

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._contexts, self._session = {}, None
