"""Graphs whose weights lie in another file, wherever they say, and graphs of a few bytes that ask for
gigabytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from tests.security.ingredients import PIPER, put_json

Passes = tuple[tuple[str, str, int], ...]
"""A graph's inputs, each with the output that it becomes and its rank."""


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


def _whole(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _node(op: str, inputs: list[str], out: str = "constant", **attributes: object) -> NodeProto:
    return helper.make_node(op, inputs, [out], **attributes)


def _constants(count: int) -> dict[str, list[NodeProto]]:
    """By operator: nodes that make a constant of `count` numbers, out of `shape`, `side` (its root)
    and `one`."""
    return {
        "ConstantOfShape": [_node("ConstantOfShape", ["shape"])],
        "Expand": [_node("Expand", ["one", "shape"])],
        "Tile": [_node("Tile", ["one", "shape"])],
        "RandomNormal": [_node("RandomNormal", [], shape=[count])],
        "Mul": [_node("Mul", ["side", "side"], "area"), _node("ConstantOfShape", ["area"])],
    }


OPERATORS = tuple(_constants(1))


def constant(path: Path, operator: str, size: int, passes: Passes = (("in", "out", 1),)) -> None:
    """Each output is its input plus the largest of a constant that is made by an operator and has
    `size` bytes."""
    count = size // 4
    nodes = [
        *_constants(count)[operator],
        helper.make_node("ReduceMax", ["constant"], ["most"], keepdims=0),
        *(helper.make_node("Add", [name, "most"], [out]) for name, out, _ in passes),
    ]
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    numbers = [_whole("shape", count), _whole("side", int(count**0.5)), one]
    inputs = [_value(name, rank) for name, _, rank in passes]
    outputs = [_value(out, rank) for _, out, rank in passes]
    body = helper.make_graph(nodes, "hostile", inputs, outputs, numbers)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path.write_bytes(model.SerializeToString())


def _value(name: str, rank: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank)


def voice(folder: Path) -> None:
    """A folder as Piper's voices are, with a graph that is none of theirs."""
    folder.mkdir()
    put_json(folder / "voice.onnx.json", PIPER)
    node = helper.make_node("Identity", ["in"], ["out"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in ("in", "out")]
    body = helper.make_graph([node], "voice", values[:1], values[1:])
    onnx.save(helper.make_model(body), str(folder / "voice.onnx"))
