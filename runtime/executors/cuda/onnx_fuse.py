"""A decoder's graph of standard operators (`export.decoder.portable`) over the contrib operators
that ONNX Runtime has on a GPU.

There a step is a chain of small kernels, each waiting for the one before; on an H200 it took twenty
times as long as its weights take to read. So what is several operators of the standard becomes one,
where it is as our exporter writes it:

    Split, Transpose, RotaryEmbedding, TensorScatter, Attention     GroupQueryAttention, in the same buffers
    Add of a bias, Add of the residual, a norm                      SkipLayerNormalization, SkipSimplifiedLayerNormalization
    Add of a bias, Gelu in its tanh form                            FastGelu
    x · Sigmoid(x)                                                  QuickGelu

Inputs and outputs are those of the graph, but where positions lie comes from `write_index` alone
then: `mask` and `positions` are not read. Source: ONNX Runtime's `ContribOperators.md`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_DOMAIN = "com.microsoft"
_SWAPPED = [0, 2, 1, 3]
_NORMS = {
    "LayerNormalization": "SkipLayerNormalization",
    "RMSNormalization": "SkipSimplifiedLayerNormalization",
}


def fuse(model: ModelProto) -> ModelProto:
    """`model`, changed in place. Weights need not be loaded."""
    return _Fusion(model).done()


def _is(node: NodeProto | None, **attributes: object) -> bool:
    """Whether a node has these attributes and no others."""
    from onnx import helper

    return (
        node is not None
        and {a.name: helper.get_attribute_value(a) for a in node.attribute} == attributes
    )


@dataclass(frozen=True)
class _Part:
    """Query, key or value, as it comes out of the Split of a layer's product: `flat` is it without
    heads."""

    split: NodeProto
    heads: int
    flat: str
    norm: NodeProto | None
    tables: tuple[str, ...]
    """Cosines and sines of its rotary positions; none without them."""


class _Fusion:
    def __init__(self, model: ModelProto) -> None:
        import onnx

        self._onnx = onnx
        self._model = model
        self._graph = model.graph
        self._constants = {tensor.name: tensor for tensor in self._graph.initializer}
        self._makers = {name: node for node in self._graph.node for name in node.output}
        self._readers: defaultdict[str, list[NodeProto | None]] = defaultdict(list)
        """By value, in the graph's order; None is whoever takes the graph's outputs."""
        for node in self._graph.node:
            for name in node.input:
                self._readers[name].append(node)
        for value in self._graph.output:
            self._readers[value.name].append(None)
        self._first: list[NodeProto] = []
        self._instead: dict[str, list[NodeProto]] = {}
        """What takes the place of the node whose first output has this name."""

    def done(self) -> ModelProto:
        for node in self._graph.node:
            if node.op_type == "Attention":
                self._attention(node)
            elif node.op_type in _NORMS:
                self._norm(node)
            elif node.op_type == "Gelu":
                self._gelu(node)
            elif node.op_type == "Mul":
                self._silu(node)
        nodes = [*self._first]
        for node in self._graph.node:
            nodes += self._instead.get(node.output[0], [node])
        self._keep(nodes)
        if not any(opset.domain == _DOMAIN for opset in self._model.opset_import):
            self._model.opset_import.append(self._onnx.helper.make_opsetid(_DOMAIN, 1))
        return self._model

    def _attention(self, node: NodeProto) -> None:
        """It takes the place of the Reshape behind the operator, where heads lie side by side
        again."""
        if node.attribute or len(node.input) != 4 or node.input[3] != "mask":
            return
        query, key, value = node.input[:3]
        new_key, new_value = self._maker(key, "TensorScatter"), self._maker(value, "TensorScatter")
        behind = self._reader(node.output[0], "Transpose")
        last = self._reader(behind.output[0], "Reshape") if behind else None
        if new_key is None or new_value is None or last is None:
            return
        written = all(
            scatter.input[2] == "write_index" and _is(scatter, axis=2)
            for scatter in (new_key, new_value)
        )
        if not written or not _is(behind, perm=_SWAPPED) or self._is_single(new_key.input[0]):
            return
        q, k, v = (self._part(name) for name in (query, new_key.input[1], new_value.input[1]))
        if q is None or k is None or v is None or not self._belong_together(q, k, v):
            return
        flat = [self._flat(part) for part in (q, k)]
        packed = [q.split.input[0], "", ""]
        self._instead[last.output[0]] = [
            *(made for made in flat if made),
            self._contrib(
                "GroupQueryAttention",
                [
                    *(
                        [flat[0].output[0], flat[1].output[0], v.flat]
                        if flat[0] and flat[1]
                        else packed
                    ),
                    new_key.input[0],
                    new_value.input[0],
                    *self._lengths(new_key.input[0]),
                    *q.tables,
                ],
                [last.output[0], key, value],
                num_heads=q.heads,
                kv_num_heads=k.heads,
                do_rotary=int(bool(q.tables)),
            ),
        ]

    def _part(self, name: str) -> _Part | None:
        if rotary := self._maker(name, "RotaryEmbedding"):
            name = rotary.input[0]
        turned = self._maker(name, "Transpose")
        if turned is None or not _is(turned, perm=_SWAPPED):
            return None
        if rotary is not None and (rotary.attribute or rotary.input[3] != "positions"):
            return None
        norm = self._maker(turned.input[0], *_NORMS)
        reshape = self._maker(norm.input[0] if norm else turned.input[0], "Reshape")
        split = self._maker(reshape.input[0], "Split") if reshape else None
        if reshape is None or split is None or reshape.input[1] not in self._constants:
            return None
        heads = int(self._onnx.numpy_helper.to_array(self._constants[reshape.input[1]])[2])
        return _Part(
            split, heads, reshape.input[0], norm, tuple(rotary.input[1:3]) if rotary else ()
        )

    def _belong_together(self, q: _Part, k: _Part, v: _Part) -> bool:
        """Whether they are one product's, in this order, as our families have them: q and k alike,
        v as it comes."""
        in_order = [part.flat for part in (q, k, v)] == list(q.split.output)
        alike = q.tables == k.tables and (q.norm is None) == (k.norm is None)
        return in_order and alike and v.norm is None and not v.tables and k.heads == v.heads

    def _flat(self, part: _Part) -> NodeProto | None:
        """A normed query or key without heads."""
        if part.norm is None:
            return None
        sizes = self._constant("fused.flat", np.array([0, 0, -1], np.int64))
        return self._node("Reshape", [part.norm.output[0], sizes], [f"{part.norm.output[0]}.flat"])

    def _lengths(self, past: str) -> tuple[str, str]:
        """Positions of each sequence after this call, minus one; and how many the buffers hold."""
        last, total = "fused.seqlens_k", "fused.total"
        if not self._first:
            self._constant(total, np.array(self._buffer(past).shape.dim[2].dim_value, np.int32))
            zero, one, last_one = (
                self._constant(f"fused.{n}", np.array(n, np.int64)) for n in (0, 1, -1)
            )
            self._first = [  # how many `input_ids` a sequence has, counted where they are, by kernels that a capture may hold
                self._node("Mul", ["input_ids", zero], ["fused.zeros"]),
                self._node("Add", ["fused.zeros", one], ["fused.ones"]),
                self._node("CumSum", ["fused.ones", one], ["fused.counted"]),
                self._node("Gather", ["fused.counted", last_one], ["fused.new"], axis=1),
                self._node("Add", ["write_index", "fused.new"], ["fused.after"]),
                self._node("Sub", ["fused.after", one], ["fused.last"]),
                self._node("Cast", ["fused.last"], [last], to=self._onnx.TensorProto.INT32),
            ]
        return last, total

    def _buffer(self, past: str) -> Any:
        """Type and shape of an input."""
        return next(
            value.type.tensor_type for value in self._graph.input if value.name == past
        )  # a scatter's is one

    def _is_single(self, past: str) -> bool:
        """Whether the buffers are float32: on CUDA the operator is one of 16 bits."""
        return bool(self._buffer(past).elem_type == self._onnx.TensorProto.FLOAT)

    def _norm(self, node: NodeProto) -> None:
        total = self._maker(node.input[0], "Add")
        given = {attribute.name: attribute for attribute in node.attribute}
        weights = (
            list(node.input[1:])
            if node.op_type == "RMSNormalization"
            else [*node.input[1:], ""][:2]
        )
        if (
            total is None
            or self._constants.keys() & set(total.input)
            or not self._is_first(node, total.output[0])
        ):
            return
        if (
            len(node.output) > 1
            or "epsilon" not in given
            or "axis" not in given
            or given["axis"].i != -1
        ):
            return
        x, bias = self._unbiased(total.input[1])
        self._instead[node.output[0]] = [
            self._contrib(
                _NORMS[node.op_type],
                [x, total.input[0], *weights, *bias],
                [node.output[0], "", "", total.output[0]],
                epsilon=given["epsilon"].f,
            )
        ]

    def _gelu(self, node: NodeProto) -> None:
        if any(attribute.s == b"tanh" for attribute in node.attribute):
            x, bias = self._unbiased(node.input[0])
            self._instead[node.output[0]] = [
                self._contrib("FastGelu", [x, *bias], list(node.output))
            ]

    def _silu(self, node: NodeProto) -> None:
        gate = self._maker(node.input[1], "Sigmoid")
        if gate is not None and gate.input[0] == node.input[0]:
            self._instead[node.output[0]] = [
                self._contrib("QuickGelu", [node.input[0]], list(node.output), alpha=1.0)
            ]

    def _unbiased(self, name: str) -> tuple[str, list[str]]:
        """What a bias is added to, and the bias; without one, what it is."""
        add = self._maker(name, "Add")
        bias = self._constants.get(add.input[1]) if add is not None else None
        if add is None or bias is None or len(bias.dims) != 1 or len(self._readers[name]) != 1:
            return name, []
        return add.input[0], [add.input[1]]

    def _is_first(self, node: NodeProto, name: str) -> bool:
        """Whether nobody reads a value before this node does."""
        return self._readers[name][0] is node

    def _maker(self, name: str, *ops: str) -> NodeProto | None:
        node = self._makers.get(name)
        return node if node is not None and node.op_type in ops else None

    def _reader(self, name: str, op: str) -> NodeProto | None:
        """The only node that reads a value, if it is an `op`."""
        readers = self._readers[name]
        node = readers[0] if len(readers) == 1 else None
        return node if node is not None and node.op_type == op else None

    def _contrib(
        self, op: str, inputs: list[str], outputs: list[str], **attributes: Any
    ) -> NodeProto:
        return self._node(op, inputs, outputs, domain=_DOMAIN, **attributes)

    def _node(self, op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> NodeProto:
        return self._onnx.helper.make_node(op, inputs, outputs, **attributes)

    def _constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(value, name)
            self._graph.initializer.append(self._constants[name])
        return name

    def _keep(self, nodes: Iterable[NodeProto]) -> None:
        """These nodes, in this order, and the constants that they read; not what nothing reads any
        more."""
        wanted, kept = {value.name for value in self._graph.output}, []
        for node in reversed(list(nodes)):
            if wanted.intersection(
                node.output
            ):  # the last one that makes a value stands for those that it replaced
                wanted.difference_update(node.output)
                wanted.update(node.input)
                kept.append(node)
        constants = [tensor for tensor in self._graph.initializer if tensor.name in wanted]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(reversed(kept))
        self._graph.initializer.extend(constants)
