"""Graphs whose weights lie in another file, wherever they say."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from tests.security.ingredients import PIPER, put_json


def graph(path: Path, location: str, offset: int = 0, length: int = 4) -> None:
    """`out = in + weight`, with the weight in the file `location`."""
    weight = TensorProto(name="weight", dims=[max(1, length // 4)], data_type=TensorProto.FLOAT)
    weight.data_location = TensorProto.EXTERNAL
    for name, value in (("location", location), ("offset", offset), ("length", length)):
        weight.external_data.add(key=name, value=str(value))
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in ("in", "out")]
    node = helper.make_node("Add", ["in", "weight"], ["out"])
    body = helper.make_graph([node], "hostile", values[:1], values[1:], [weight])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(model.SerializeToString())


def voice(folder: Path) -> None:
    """A folder as Piper's voices are, with a graph that is none of theirs."""
    folder.mkdir()
    put_json(folder / "voice.onnx.json", PIPER)
    node = helper.make_node("Identity", ["in"], ["out"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in ("in", "out")]
    body = helper.make_graph([node], "voice", values[:1], values[1:])
    onnx.save(helper.make_model(body), str(folder / "voice.onnx"))
