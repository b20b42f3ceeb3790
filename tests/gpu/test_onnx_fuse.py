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
from voxturn.export.xtts import export as export_xtts
from voxturn.runtime.contract import Manifest
from voxturn.runtime.executors.decoder_inputs import PortableInputs
from voxturn.runtime.executors.onnx_fuse import fuse
from voxturn.runtime.store import quiet

from tests.gpu.conftest import Portable, Tiny
from tests.gpu.test_onnx_cuda import Bench

Arrays = dict[str, np.ndarray[Any, Any]]
HALVES = ("fp16", "int8", "int4")


class Pair:
    """A graph as it was exported and as it runs on a GPU, each with buffers of its own."""

    def __init__(self, path: Path, batch: int) -> None:
        plain = onnx.load(str(path), load_external_data=False)
        self.fused = fuse(onnx.load(str(path), load_external_data=False))
        self.operators = Counter(node.op_type for node in self.fused.graph.node)
        options = ort.SessionOptions()
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
        self.sessions = [
            ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            for model in (plain, self.fused)
        ]
        shapes = {i.name: [batch if d == "B" else d for d in i.shape] for i in self.sessions[0].get_inputs()}
        caches = {name: np.zeros(shape, np.float16) for name, shape in shapes.items() if name.startswith("past")}
        self.caches: list[Arrays] = [dict(caches), dict(caches)]
        self.capacity = next(iter(caches.values())).shape[2]
        self.rows = shapes.get("rows", [0, 0])[1]

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
        made = dict(zip(names, session.run(names, {i.name: feeds[i.name] for i in session.get_inputs()}), strict=True))
        self.caches[number] = {name: made[name.replace("past_", "present_")] for name in caches}
        return np.asarray(made["logits"])


def _noise(made: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    """Of `wanted`, by amplitude."""
    return float(np.sqrt(np.mean((made - wanted) ** 2) / np.mean(wanted**2)))


@pytest.fixture(scope="session")
def gpt(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpt")
    export_xtts(tiny.checkpoint, Manifest("xtts-v2", "checkpoint", "source", {}, {}), folder, "fp16", quiet, "tensorrt")
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
        assert _noise(fused, plain) < 0.03  # half precision, on random weights
        past += length
    for name, kept in one.caches[0].items():
        assert _noise(one.caches[1][name].astype(np.float32), kept.astype(np.float32)) < 0.03
    for arrays in zip(*(caches.values() for caches in three.caches), strict=True):
        noise = 0.1 * random.standard_normal(arrays[0].shape)
        for array in arrays:
            array[...] = noise
    for step in range(3):
        plain, fused = three.run(random.integers(1, 50, (3, 1)), [4 + step, 20 + step, 11 + step])
        assert _noise(fused, plain) < 0.03  # half precision, on random weights


def test_nothing_is_left_of_what_it_replaces(path: Path) -> None:
    layers = sum(node.op_type == "Attention" for node in onnx.load(str(path), load_external_data=False).graph.node)
    left = Pair(path, 1).operators
    assert left["GroupQueryAttention"] == layers
    assert not {"Attention", "TensorScatter", "Transpose", "RotaryEmbedding", "Gelu", "Sigmoid"}.intersection(left)
    norms = left["SkipLayerNormalization"], left["SkipSimplifiedLayerNormalization"]
    assert max(norms) in (2 * layers, 2 * layers + 1)


def test_single_precision_keeps_its_attention(portable: Portable) -> None:
    left = Counter(
        node.op_type
        for node in fuse(onnx.load(str(portable.fp32 / "decoder.onnx"), load_external_data=False)).graph.node
    )
    assert (left["GroupQueryAttention"], left["Attention"], left["QuickGelu"]) == (0, 2, 2)


def test_what_is_written_otherwise_stays_as_it_is() -> None:
    text = """<ir_version: 11, opset_import: ["" : 23]>
    g (float[2, 4] x, float[4] w) => (float[2, 4] z, float[2, 4] s) {
      s = Add(x, x)
      n = LayerNormalization<epsilon = 0.1>(x, w)
      g = Gelu<approximate = "none">(n)
      t = Sigmoid(s)
      z = Mul(g, t)
    }"""
    model = onnx.parser.parse_model(text)
    wanted = [node.op_type for node in model.graph.node]
    assert [node.op_type for node in fuse(model).graph.node] == wanted


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
    assert (about["sdpa_kernel"], about["enable_skip_layer_norm_strict_mode"]) == ("1", "1")
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
