"""Graphs over ONNX Runtime's contrib operators compute what those of standard operators do."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from voxturn.export.xtts.export import export as export_xtts
from voxturn.runtime.executors.cuda.onnx_fuse import fuse
from voxturn.runtime.executors.decoder_inputs import PortableInputs
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import quiet

from tests.gpu.conftest import Portable, Tiny
from tests.gpu.test_onnx_cuda import Bench

Arrays = dict[str, np.ndarray[Any, Any]]
HALVES = ("fp16", "int8", "int4")


def graph_of(path: Path) -> onnx.ModelProto:
    return onnx.load(str(path), load_external_data=False)


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def loud(path: Path) -> onnx.ModelProto:
    """A graph whose every bias and norm counts: those of a synthetic GPT are zeros and ones, its
    other weights small."""
    model, random = onnx.load(str(path)), np.random.default_rng(7)
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.dtype != np.float16 or tensor.name.startswith("ids."):
            continue
        if value.ndim == 1:
            changed = value + 0.3 * random.standard_normal(value.shape)
        else:
            changed = value * (
                15 if tensor.name.startswith("qkv") else 10 if "embedding" not in tensor.name else 1
            )
        tensor.CopyFrom(onnx.numpy_helper.from_array(changed.astype(np.float16), tensor.name))
    return model


class Pair:
    """A graph as it was exported and as it runs on a GPU, each with buffers of its own."""

    def __init__(self, path: Path, batch: int) -> None:
        read = loud if path.name == "gpt.onnx" else graph_of
        options = ort.SessionOptions()
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(path.parent)
        )
        self.sessions = [
            ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            for model in (read(path), fuse(read(path)))
        ]
        shapes = {
            i.name: [batch if d == "B" else d for d in i.shape]
            for i in self.sessions[0].get_inputs()
        }
        caches = {
            name: np.zeros(shape, np.float16)
            for name, shape in shapes.items()
            if name.startswith("past")
        }
        self.caches: list[Arrays] = [dict(caches), dict(caches)]
        self.capacity = next(iter(caches.values())).shape[2]
        self.rows = shapes.get("rows", [0, 0])[1]
        self.most = 0.01 if path.name == "gpt.onnx" or "fp16" in path.parts else 0.03
        """The noise that may be: weights of 8 and 4 bits are multiplied by other kernels, of other
        roundings."""

    def run(self, ids: np.ndarray[Any, Any], pasts: list[int]) -> list[np.ndarray[Any, Any]]:
        """Logits of both for new tokens behind `pasts` positions."""
        inputs = PortableInputs(*ids.shape, self.capacity, np.dtype(np.float16))
        inputs.set(ids, pasts)
        given = inputs.arrays | {"rows": np.zeros((1, self.rows), np.float32)}
        return [self._one(number, given) for number in (0, 1)]

    def _one(self, number: int, given: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        session, caches = self.sessions[number], self.caches[number]
        feeds = {**given, **caches}
        names = [output.name for output in session.get_outputs()]
        made = dict(
            zip(
                names,
                session.run(names, {i.name: feeds[i.name] for i in session.get_inputs()}),
                strict=True,
            )
        )
        self.caches[number] = {name: made[name.replace("past_", "present_")] for name in caches}
        return np.asarray(made["logits"])


def _noise(made: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    """Of `wanted`, by amplitude."""
    return float(np.sqrt(np.mean((made - wanted) ** 2) / np.mean(wanted**2)))


@pytest.fixture(scope="session")
def gpt(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpt")
    export_xtts(
        tiny.checkpoint,
        Manifest("xtts-v2", "checkpoint", "source", {}, {}),
        folder,
        "fp16",
        quiet,
        "tensorrt",
    )
    return folder / "gpt.onnx"


@pytest.fixture(params=[*HALVES, "gpt"])
def path(request: pytest.FixtureRequest, portable: Portable) -> Path:
    if request.param == "gpt":
        return Path(request.getfixturevalue("gpt"))
    return Path(getattr(portable, request.param)) / "decoder.onnx"


def test_it_computes_the_same(path: Path) -> None:
    random = np.random.default_rng(0)
    one, three = Pair(path, 1), Pair(path, 3)
    past = 0
    for length in (33, 1, 7, 1, 1):  # a prompt, and others behind it
        plain, fused = one.run(random.integers(1, 50, (1, length)), [past])
        assert _noise(fused, plain) < one.most
        past += length
    for name, kept in one.caches[0].items():
        assert _noise(one.caches[1][name].astype(np.float32), kept.astype(np.float32)) < one.most
    for arrays in zip(*(caches.values() for caches in three.caches), strict=True):
        noise = 0.1 * random.standard_normal(arrays[0].shape)
        for array in arrays:
            array[...] = noise
    for step in range(3):
        plain, fused = three.run(random.integers(1, 50, (3, 1)), [4 + step, 20 + step, 11 + step])
        assert _noise(fused, plain) < three.most


@pytest.mark.parametrize("what", [*HALVES, "bf16", "gpt"])
def test_nothing_is_left_of_what_it_replaces(
    what: str, portable: Portable, request: pytest.FixtureRequest
) -> None:
    path = (
        request.getfixturevalue("gpt")
        if what == "gpt"
        else getattr(portable, what) / "decoder.onnx"
    )
    layers, left = operators(graph_of(path))["Attention"], operators(fuse(graph_of(path)))
    assert left["GroupQueryAttention"] == layers
    assert not {
        "Attention",
        "TensorScatter",
        "Transpose",
        "RotaryEmbedding",
        "Gelu",
        "Sigmoid",
    }.intersection(left)
    norms = left["SkipLayerNormalization"], left["SkipSimplifiedLayerNormalization"]
    assert max(norms) in (2 * layers, 2 * layers + 1)


def test_single_precision_keeps_its_attention(portable: Portable) -> None:
    left = operators(fuse(graph_of(portable.fp32 / "decoder.onnx")))
    assert (left["GroupQueryAttention"], left["Attention"], left["QuickGelu"]) == (0, 2, 2)


@pytest.mark.parametrize(
    "change",
    [
        ("Attention", "softcap"),
        ("RotaryEmbedding", "interleaved"),
        ("TensorScatter", 2, "elsewhere"),
        ("Attention", 3, "other_mask"),
        ("RotaryEmbedding", 1, "other_cos"),
    ],
)
def test_attention_that_is_written_otherwise_stays(
    portable: Portable, change: tuple[Any, ...]
) -> None:
    model = graph_of(portable.fp16 / "decoder.onnx")
    node = next(node for node in model.graph.node if node.op_type == change[0])
    if len(change) == 2:
        node.attribute.append(onnx.helper.make_attribute(change[1], 1))
    else:
        node.input[change[1]] = change[2]
    left = operators(fuse(model))
    assert (left["GroupQueryAttention"], left["Attention"]) == (1, 1)


_WRITTEN_OTHERWISE = {
    "no residual, and not the tanh form": """
      s = Add(x, w)
      n = LayerNormalization<axis = -1, epsilon = 0.1>(s, w)
      g = Gelu<approximate = "none">(n)
      t = Sigmoid(x)
      z = Mul(g, t)""",
    "the sum has a reader before its norm": """
      s = Add(x, x)
      t = Sigmoid(s)
      n = LayerNormalization<axis = -1, epsilon = 0.1>(s, w)
      z = Mul(n, t)""",
    "another axis": """
      s = Add(x, x)
      z = LayerNormalization<axis = 0, epsilon = 0.1>(s, x)""",
}


@pytest.mark.parametrize("body", _WRITTEN_OTHERWISE.values(), ids=_WRITTEN_OTHERWISE)
def test_what_is_written_otherwise_stays_as_it_is(body: str) -> None:
    model = onnx.parser.parse_model(
        f'<ir_version: 11, opset_import: ["" : 23]> g (float[2, 4] x) => (float[2, 4] z) '
        f"<float[4] w = {{1.0, 2.0, 3.0, 4.0}}> {{{body} }}"
    )
    wanted = operators(model)
    assert operators(fuse(model)) == wanted


def test_a_norm_without_beta_and_two_of_one_sum_stay_right() -> None:
    text = """<ir_version: 11, opset_import: ["" : 23]> g (float[2, 4] x) => (float[2, 4] z, float[2, 4] m, float[2, 4] s)
    <float[4] w = {1.0, 2.0, 3.0, 4.0}, float[4] b = {0.5, -1.0, 2.0, 0.0}> {
      p = Mul(x, x)
      q = Add(p, b)
      s = Add(x, q)
      n = LayerNormalization<axis = -1, epsilon = 0.1>(s, w)
      m = RMSNormalization<axis = -1, epsilon = 0.1>(s, w)
      z = Gelu<approximate = "tanh">(n)
    }"""
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    plain, fused = (
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )
        for model in (onnx.parser.parse_model(text), fuse(onnx.parser.parse_model(text)))
    )
    left = operators(fuse(onnx.parser.parse_model(text)))
    assert (left["SkipLayerNormalization"], left["RMSNormalization"]) == (1, 1)
    for one, other in zip(plain, fused, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_decoder_of_16_bits_gives_the_numbers_of_the_cpu(
    portable: Portable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("decoder.onnx", "decoder.onnx.data"):  # as a store of links has them
        (tmp_path / name).symlink_to(portable.fp16 / name)
    bench = Bench(portable.fp16)
    bench.path = tmp_path / "decoder.onnx"
    monkeypatch.setitem(sys.modules, "onnxruntime", bench.provider)
    reference, decoder = bench.reference(), bench.decoder()
    about = bench.provider.sessions[0].about
    assert (about["sdpa_kernel"], about["enable_skip_layer_norm_strict_mode"]) == ("3", "1")
    random = np.random.default_rng(1)
    prompt = random.integers(1, 500, (1, 19))
    for slot in (0, 1):
        for executor in (reference, decoder):
            executor.run(slot, prompt, [0])
    for step in range(4):
        ids = random.integers(1, 500, (2, 1))
        wanted, made = (e.run(0, ids, [19 + step] * 2).logits.copy() for e in (reference, decoder))
        assert _noise(made, wanted) < 0.01
    decoder.close()
    reference.close()
    bench.close()
