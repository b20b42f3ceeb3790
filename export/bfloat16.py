"""A graph in bfloat16 on a CPU: ONNX Runtime computes nothing there in it, so every value is
float32 and rounded.

That is what GPUs do: products are summed in float32 and rounded when they are stored. What an
operator keeps inside, as the probabilities of `Attention`, is not rounded here.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, helper, shape_inference

_BF16, _FLOAT = TensorProto.BFLOAT16, TensorProto.FLOAT
_MOVING = frozenset({"Concat", "Gather", "Reshape", "Slice", "Split", "TensorScatter", "Transpose"})
"""Operators whose results are rounded if what they take is."""


@contextlib.contextmanager
def computable(path: Path) -> Iterator[Path]:
    """A graph that the CPU computes: `path` itself, or for one in bfloat16 a float32 twin beside
    it, which is removed.

    The twin has float32 where the graph's inputs and outputs are bfloat16, and reads the same file
    of weights.
    """
    model = shape_inference.infer_shapes(onnx.load(str(path), load_external_data=False))
    graph = model.graph
    kinds = {
        v.name: v.type.tensor_type.elem_type
        for v in (*graph.input, *graph.value_info, *graph.output)
    }
    if _BF16 not in kinds.values():
        yield path
        return
    twin = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        _widen(graph, kinds)
        onnx.save(model, str(twin))
        yield twin
    finally:
        twin.unlink(missing_ok=True)


def _widen(graph: onnx.GraphProto, kinds: dict[str, int]) -> None:
    nodes: list[onnx.NodeProto] = []

    def cast(source: str, target: str, kind: int) -> None:
        nodes.append(helper.make_node("Cast", [source], [target], to=kind))

    for weight in graph.initializer:
        if weight.data_type == _BF16:
            stored = f"{weight.name}.stored"
            cast(stored, weight.name, _FLOAT)
            weight.name = stored
    for node in graph.node:
        nodes.append(node)
        if node.op_type in _MOVING:
            continue
        for number, name in enumerate(node.output):
            if kinds[name] == _BF16:
                exact, rounded = f"{name}.exact", f"{name}.rounded"
                node.output[number] = exact
                cast(exact, rounded, _BF16)
                cast(rounded, name, _FLOAT)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == _BF16:
            value.type.tensor_type.elem_type = _FLOAT
