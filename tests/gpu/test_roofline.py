"""The turn on paper: counts against arithmetic done by hand, and bounds that follow from them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from voxturn.bench import roofline
from voxturn.bench.roofline import DEVICES, Call, Device, decoder_call, graph_call
from voxturn.export import verify_gpu
from voxturn.runtime.errors import UsageError
from voxturn.runtime.models.manifest import Manifest

from tests.gpu.conftest import Portable


def test_a_call_takes_what_its_bytes_or_its_operations_take_and_its_launches() -> None:
    device = Device(100.0, 10.0, "")
    assert Call("g", 1e9, 1e9, 0).bound_ms(device) == pytest.approx(10.0)  # 1 GB at 100 GB/s
    assert Call("g", 1e6, 1e12, 0).bound_ms(device) == pytest.approx(100.0)  # 1 T at 10 T/s
    assert Call("g", 0, 0, 1000).bound_ms(device) == pytest.approx(roofline.LAUNCH_US)


def test_a_step_reads_every_weight_and_the_cache_of_its_context(portable: Portable) -> None:
    layers, width, inner, vocabulary, heads, kv_heads, head = 2, 64, 128, 4096, 4, 2, 32
    layer = width * (heads + 2 * kv_heads) * head + heads * head * width + 3 * width * inner
    weights = layers * layer + vocabulary * width
    step = decoder_call(portable.fp16, "token_decoder", 1, 100, {})
    cache = layers * 2 * kv_heads * head * 101 * 2
    assert step.bytes == pytest.approx(2 * weights + cache, rel=0.02)
    attention = layers * 2 * 2 * 101 * heads * head
    assert step.operations == pytest.approx(2 * weights + attention, rel=0.02)
    prefill = decoder_call(portable.fp16, "token_decoder", 16, 100, {})
    assert prefill.bytes == pytest.approx(step.bytes, rel=0.05)
    head_once = 2 * vocabulary * width
    assert prefill.operations == pytest.approx(
        16 * (step.operations - head_once) + head_once, rel=0.1
    )
    file = Manifest.read(portable.fp16).graphs["token_decoder"].file
    assert (
        decoder_call(portable.fp16, "token_decoder", 1, 100, {f"fp16/{file}.1": 77}).launches == 77
    )


@pytest.mark.parametrize(("bits", "bytes_each"), [("int8", 1.0), ("int4", 0.5 + 2 / 64)])
def test_packed_weights_are_read_packed_and_multiplied_as_often(
    portable: Portable, bits: str, bytes_each: float
) -> None:
    plain = decoder_call(portable.fp16, "token_decoder", 16, 100, {})
    packed = decoder_call(
        portable.int8 if bits == "int8" else portable.int4, "token_decoder", 16, 100, {}
    )
    assert packed.operations == pytest.approx(plain.operations, rel=1e-3)
    layers, head = 2 * (64 * 256 + 128 * 64 + 3 * 64 * 128), 4096 * 64  # which has 8 bits in both
    assert plain.bytes - packed.bytes == pytest.approx(
        layers * (2 - bytes_each) + head * (2 - 1), rel=0.05
    )


def test_a_graph_s_operations_are_those_of_its_products(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1]),
        helper.make_node("ConvTranspose", ["y", "u"], ["z"], strides=[2]),
        helper.make_node("MatMul", ["z", "m"], ["out"]),
    ]
    constants = [
        numpy_helper.from_array(np.zeros((8, 4, 3), np.float32), "w"),
        numpy_helper.from_array(np.zeros((8, 2, 2), np.float32), "u"),
        numpy_helper.from_array(np.zeros((20, 5), np.float32), "m"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, "n"])
    graph = helper.make_graph(
        nodes, "g", [x], [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, str(tmp_path / "g.onnx"))
    call = graph_call(tmp_path, "g.onnx", {"x": np.zeros((1, 4, 10), np.float32)}, {})
    assert call.operations == 2 * (8 * 10 * 4 * 3) + 2 * (8 * 10 * 2 * 2) + 2 * (2 * 5 * 20)
    assert call.launches == 3
    assert list(tmp_path.iterdir()) == [tmp_path / "g.onnx"]


def test_devices_have_sources_and_others_are_refused(tmp_path: Path) -> None:
    assert all(device.source for device in DEVICES.values())
    with pytest.raises(UsageError, match="must be some of l4, 4090"):
        roofline.main(["toaster"], tmp_path, tmp_path, tmp_path, [], None)


def test_the_path_of_first_audio_names_calls_that_there_are(
    monkeypatch: Any, tmp_path: Path
) -> None:
    calls, seen = {name: Call("g", 1e9, 0, 0) for name, _ in roofline.PATH}, list[Any]()
    monkeypatch.setattr(roofline, "calls_of", lambda *given: (seen.append(given[-1]), calls)[1])
    built, about = (
        tmp_path / "built.json",
        {"fp16/decoder.onnx": {"seconds": 1, "bytes": 2, "kernels": {"1": 77}, "kinds": {}}},
    )
    verify_gpu.write(built, about, SimpleNamespace(__name__="trt", __version__="1"), ["SM80"])
    result = roofline.main(["l4"], tmp_path, tmp_path, tmp_path, [built], tmp_path / "out.json")
    assert seen == [{"fp16/decoder.onnx.1": 77}]
    total = sum(count for _, count in roofline.PATH) * 1000 / 300
    assert result.metrics["roofline.l4.first_audio_ms"]["value"] == pytest.approx(total, rel=1e-3)
    assert "nothing was run on a GPU" in (tmp_path / "out.json").read_text()
