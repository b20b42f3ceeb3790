"""`voxturn bench roofline`: the turn on paper. What a GPU cannot be faster than, from the real
graphs. Never a measurement.

Bytes and operations are counted where the graphs have them: weights are the constants that a call
reads (tables that are gathered from apart), operations those of its products and convolutions. How
large those are in a window of the vocoder or the encoder depends on inputs, so such a graph is run
once on the CPU with every product's result as an output. The bound of a call is

    max(bytes / bandwidth, operations / peak) + launches * launch time

with a device's published bandwidth and dense fp16 peak, and the launches of the engine that
TensorRT-RTX built (or, where none was built, the products of the graph). A turn's bound is the sum
along its longest path (`PATH`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.bench.harness import Result
from voxturn.runtime.errors import UsageError
from voxturn.runtime.executors.cuda.tensorrt_build import PREFILL, STEP
from voxturn.runtime.models.manifest import Manifest, ModelContract


@dataclass(frozen=True)
class Device:
    """Bandwidth in GB/s and dense fp16 tensor-core peak in TFLOPS, as `source` has them."""

    bandwidth: float
    tflops: float
    source: str


DEVICES = {
    "l4": Device(
        300.0,
        121.0,
        "NVIDIA L4 datasheet: 300 GB/s; 242 TFLOPS fp16 with sparsity, half of it dense",
    ),
    "4090": Device(
        1008.0,
        165.2,
        "NVIDIA Ada GPU architecture whitepaper, RTX 4090: 165.2 TFLOPS fp16, fp32 accumulate",
    ),
    "a100": Device(2039.0, 312.0, "NVIDIA A100 80GB SXM datasheet"),
    "h100": Device(
        3350.0, 989.5, "NVIDIA H100 SXM datasheet: 1979 TFLOPS fp16 with sparsity, half of it dense"
    ),
}
LAUNCH_US = 1.5
"""Between kernels of a replayed CUDA graph; an assumption, the order of magnitude that NVIDIA's
posts on CUDA graphs give."""

_HEARD_POSITIONS = 250  # of five seconds of speech, in Whisper's cross-attention
_PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose", "MatMulNBits", "Attention")
PATH = (
    ("whisper.encoder", 1), ("whisper.decoder", 14), ("reply.prefill", 1), ("reply.step", 10),
    ("gpt.prefill", 1), ("gpt.step", 5), ("vocoder.window", 1),
)  # fmt: skip
"""Calls from a certain end of speech to first audio: a transcript of 14 tokens, a first clause of
10, six codes, of which the first is the prefill's."""


@dataclass(frozen=True)
class Call:
    """One call of a graph: bytes read and written, operations, kernel launches; `graph` says where
    they come from."""

    graph: str
    bytes: float
    operations: float
    launches: int

    def bound_ms(self, device: Device) -> float:
        """What it takes at least."""
        at_work = max(self.bytes / device.bandwidth / 1e9, self.operations / device.tflops / 1e12)
        return 1000 * (at_work + self.launches * LAUNCH_US / 1e6)


def decoder_call(
    folder: Path, role: str, tokens: int, context: int, launches: Mapping[str, int]
) -> Call:
    """A pass of `tokens` new positions after `context` others through a decoder's graph."""
    import onnx

    contract = Manifest.read(folder).graphs[role]
    model = onnx.load(str(folder / contract.file), load_external_data=False)
    packed = {
        node.output[0]: node.input
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
    }
    read = {name for node in model.graph.node if node.op_type in _PRODUCTS for name in node.input}
    constants = {
        t.name: (int(np.prod(t.dims)), _size(t.data_type)) for t in model.graph.initializer
    }
    matrices = {packed.get(name, [name])[0] for name in read} & constants.keys()
    scales = {packed[name][1] for name in read & packed.keys()}
    weights = sum(constants[name][0] * constants[name][1] for name in matrices | scales)
    products = sum(
        constants[name][0] * (1 if name.startswith("head") else tokens) for name in matrices
    )
    caches = [spec for spec in contract.inputs if spec.name.startswith(("past_", "cross_"))]
    heads_ratio = _query_heads(model, contract)
    moved = attention = 0.0
    for spec in caches:
        per_position = int(spec.shape[1]) * int(spec.shape[3])
        positions = context + tokens if spec.name.startswith("past_") else _HEARD_POSITIONS
        moved += per_position * positions * np.dtype(spec.dtype).itemsize
        attention += 2 * tokens * positions * per_position * heads_ratio
    key = f"{folder.name}/{contract.file}.{STEP if tokens == 1 else PREFILL}"
    count = launches.get(key, sum(node.op_type in _PRODUCTS for node in model.graph.node))
    return Call(
        f"{folder.name}/{contract.file}", weights + moved, 2.0 * products + attention, count
    )


def _query_heads(model: Any, contract: ModelContract) -> float:
    """Query heads a key head."""
    kv = next(int(spec.shape[1]) for spec in contract.inputs if spec.name.startswith("past_"))
    width = next(int(spec.shape[3]) for spec in contract.inputs if spec.name.startswith("past_"))
    out = [
        t
        for t in model.graph.initializer
        if t.name in ("attention_out.0.weight", "attention_out.0.codes")
    ]
    return (
        int(out[0].dims[0]) / width / kv if out else 1.0
    )  # a Whisper's heads have keys of their own


def graph_call(
    folder: Path, file: str, inputs: Mapping[str, np.ndarray[Any, Any]], launches: Mapping[str, int]
) -> Call:
    """A call of a stateless graph on these inputs; run once to know its shapes."""
    import onnx
    import onnxruntime as ort

    model = onnx.load(str(folder / file))
    constants = {t.name: t for t in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in _PRODUCTS]
    wanted = [
        name
        for node in products
        for name in (*node.input[:2], node.output[0])
        if name and name not in constants
    ]
    known = {value.name for value in (*model.graph.input, *model.graph.output)}
    names = {name for node in model.graph.node for name in node.output}
    asked = [name for name in dict.fromkeys(wanted) if name in names]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked if name not in known)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    path = folder / f".roofline-{file}"
    try:
        onnx.save(model, str(path), save_as_external_data=True, location=f".roofline-{file}.data")
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        values = session.run(asked, dict(inputs))
    finally:
        path.unlink(missing_ok=True)
        (folder / f".roofline-{file}.data").unlink(missing_ok=True)
    shapes = {name: value.shape for name, value in zip(asked, values, strict=True)}
    shapes |= {name: value.shape for name, value in inputs.items()}
    shapes |= {name: tuple(t.dims) for name, t in constants.items()}
    operations = sum(_operations(node, shapes) for node in products)
    weights = sum(
        int(np.prod(t.dims)) * _size(t.data_type)
        for t in constants.values()
        if np.prod(t.dims) >= 1 << 10
    )
    size = _size(
        constants[next(n for node in products for n in node.input if n in constants)].data_type
    )
    moved = sum(
        int(np.prod(shapes[n])) * size
        for node in products
        for n in (node.input[0], node.output[0])
        if n in shapes
    )
    count = launches.get(
        f"{folder.name}/{file}.0", launches.get(f"{folder.name}/{file}.1", len(products))
    )
    return Call(f"{folder.name}/{file}", weights + moved, float(operations), count)


def _operations(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> float:
    """Multiplications and additions of a product."""
    out = int(np.prod(shapes.get(node.output[0], (0,))))
    if node.op_type == "Conv":
        return 2.0 * out * int(np.prod(shapes[node.input[1]][1:]))
    if node.op_type == "ConvTranspose":
        rows = int(np.prod(shapes[node.input[0]]))
        return 2.0 * rows * int(np.prod(shapes[node.input[1]][1:]))
    if node.op_type == "Attention":
        return 4.0 * out * shapes[node.input[1]][-2]
    return 2.0 * out * shapes[node.input[0]][-1]


def _size(kind: int) -> float:
    """Bytes of an element; two of 4 bits share one."""
    from onnx import TensorProto, helper

    return (
        0.5
        if kind in (TensorProto.INT4, TensorProto.UINT4)
        else int(helper.tensor_dtype_to_np_dtype(kind).itemsize)
    )


def calls_of(
    whisper: Path, reply: Path, voice: Path, launches: Mapping[str, int]
) -> dict[str, Call]:
    """Every call of a turn, from three artifacts in standard operators."""
    for folder, role in (
        (whisper, "whisper_encoder"),
        (reply, "token_decoder"),
        (voice, "windowed_waveform_decoder"),
    ):
        if role not in Manifest.read(folder).graphs:
            raise UsageError(
                f"{folder}: has no graph {role!r}; the folders are Whisper's, the reply's and the voice's"
            )
    w = Manifest.read(whisper)
    mels = next(int(spec.shape[-2]) for spec in w.graphs["whisper_encoder"].inputs)
    features = {
        w.graphs["whisper_encoder"].inputs[0].name: np.zeros(
            (1, mels, 500), w.graphs["whisper_encoder"].inputs[0].dtype
        )
    }
    p = Manifest.read(voice).properties
    frames, width = 9 + int(p["margin"]), int(p["gpt_n_model_channels"])
    kind = Manifest.read(voice).graphs["windowed_waveform_decoder"].inputs[0].dtype
    window = {
        "latents": np.zeros((1, 6, width), kind),
        "speaker": np.zeros((1, int(p["d_vector_dim"]), 1), kind),
        "latent_offset": np.array(0), "frame_offset": np.array(0), "frames": np.array(frames),
        "before": np.array(0), "after": np.array(int(p["margin"])),
    }  # fmt: skip
    return {
        "whisper.encoder": graph_call(
            whisper, w.graphs["whisper_encoder"].file, features, launches
        ),
        "whisper.decoder": decoder_call(whisper, "whisper_decoder", 1, 8, launches),
        "reply.prefill": decoder_call(reply, "token_decoder", 16, 300, launches),
        "reply.step": decoder_call(reply, "token_decoder", 1, 316, launches),
        "gpt.prefill": decoder_call(voice, "token_decoder", 38, 32, launches),
        "gpt.step": decoder_call(voice, "token_decoder", 1, 75, launches),
        "vocoder.window": graph_call(voice, "vocoder.onnx", window, launches),
    }


def main(
    names: list[str],
    whisper: Path,
    reply: Path,
    voice: Path,
    built: Sequence[Path],
    path: Path | None,
) -> Result:
    """The table, for devices by their names.

    `built`: results of `make verify-gpu`, for the launches.
    """
    if unknown := [name for name in names if name not in DEVICES]:
        raise UsageError(f"--gpu {','.join(unknown)}: must be some of {', '.join(DEVICES)}")
    launches: dict[str, int] = {}
    for each in built:
        try:
            metrics = json.loads(each.read_text(encoding="utf-8"))["metrics"]
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise UsageError(f"--built {each}: is no result of `make verify-gpu`") from exc
        launches |= {
            k.removeprefix("kernels."): int(v["value"])
            for k, v in metrics.items()
            if k.startswith("kernels.")
        }
    result = Result("roofline")
    calls = calls_of(whisper, reply, voice, launches)
    for name, call in calls.items():
        result.value(f"roofline.{name}.megabytes", "MB", call.bytes / 1e6)
        result.value(f"roofline.{name}.gigaoperations", "G", call.operations / 1e9)
        result.value(f"roofline.{name}.launches", "count", call.launches)
        for device in names:
            result.value(f"roofline.{device}.{name}_ms", "ms", call.bound_ms(DEVICES[device]))
    for device in names:
        total = sum(count * calls[name].bound_ms(DEVICES[device]) for name, count in PATH)
        result.value(f"roofline.{device}.first_audio_ms", "ms", total)
    result.notes["what"] = (
        "lower bounds computed from graphs and datasheets; nothing was run on a GPU"
    )
    result.notes["path"] = [list(step) for step in PATH]
    result.notes["graphs"] = {name: call.graph for name, call in calls.items()}
    counted = {key.rpartition(".")[0] for key in launches}
    result.notes["launches"] = {
        name: "kernels of the engine" if call.graph in counted else "products of the graph"
        for name, call in calls.items()
    }
    result.notes["devices"] = {name: DEVICES[name].source for name in names}
    result.notes["launch_us"] = LAUNCH_US
    if path:
        result.write(path)
    return result
