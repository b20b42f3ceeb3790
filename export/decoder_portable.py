"""The decoder's graph in standard ONNX operators, for TensorRT and OpenVINO.

Shapes never change from step to step: the buffers have a fixed size, what of them counts is said by the mask, and the
new positions are scattered into them. Beyond the common inputs (`export.decoder_graph`), in the graph's own type T:

    write_index   int64  [B]           positions of each sequence before this call: where the new ones go
    mask          T      [B, 1, S, P]  added to the scores: 0 where a new position may look, -30000 elsewhere
    positions     int64  [B, S]        only with rotary positions: `write_index + 0 … S - 1`

Buffers are T. The sums inside norms are float32 whatever T is; the heads' softmax is the operator's own. Operators of
opset 24: `Attention`, `RotaryEmbedding`, `RMSNormalization` (23), `TensorScatter` (24), which TensorRT 11 turns into its
update of a KV cache and which wants P to be a number; without `scatter`, `ScatterElements` takes its place, for
TensorRT 10 and OpenVINO.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper
from voxturn.export.decoder_graph import DecoderGraph

_MOST_POSITIONS = 2048
_TYPES: dict[int, type[np.floating[Any]]] = {32: np.float32, 16: np.float16}


class PortableDecoder(DecoderGraph):
    """See the module."""

    opset = 24
    bits = frozenset({32, 16})
    scatter = True

    def begin(self) -> None:
        if self.scatter:
            self.capacity = min(self.config.context, _MOST_POSITIONS)
        self.graph.input("write_index", "int64", ["B"])
        self.graph.input("mask", self._type, ["B", 1, "S", self.capacity])
        if not self.family.positions:
            self.graph.input("positions", "int64", ["B", "S"])
            self.rotary_tables(self._dtype)
        if not self.scatter:
            self._places = self._scatter_places()

    def output(self, name: str, value: str, size: int) -> None:
        self.graph.node("Cast", [value], [name], to=1)
        self.graph.output(name, "float32", ["B", 1, size])

    def rows(self, name: str, ids: str) -> str:
        table = self.checkpoint.array(name).astype(self._dtype)
        return self.graph.node("Gather", [self.graph.constant(name, table), ids])

    def given_rows(self) -> str:
        rows = self.graph.input("rows", "float32", ["R", self.config.width])
        return self.graph.node("Cast", [rows], to=helper.np_dtype_to_tensor_dtype(np.dtype(self._dtype)))

    def norm(self, x: str, name: str) -> str:
        op = "RMSNormalization" if self.family.norm == "rms" else "LayerNormalization"
        weights = [
            self.graph.constant(f"{name}.{i}", value.astype(self._dtype))
            for i, value in enumerate(self.norm_weights(name))
        ]
        return self.graph.node(op, [x, *weights], axis=-1, epsilon=self.config.epsilon)

    def add_norm(self, x: str, hidden: str, name: str) -> tuple[str, str]:
        total = self.graph.node("Add", [hidden, x])
        return self.norm(total, name), total

    def gelu(self, x: str) -> str:
        return self.graph.node("Gelu", [x], approximate="tanh")

    def silu(self, x: str) -> str:
        return self.graph.node("Mul", [x, self.graph.node("Sigmoid", [x])])

    def attention(self, qkv: str, layer: int) -> str:
        g, c, f = self.graph, self.config, self.family
        self.caches(layer, self._type)
        sizes = self.ints([c.heads * c.head_dim, c.kv_heads * c.head_dim, c.kv_heads * c.head_dim])
        q, k, v = (
            g.node("Reshape", [part, self.ints([0, 0, heads, c.head_dim])])
            for part, heads in zip(
                g.nodes("Split", [qkv, sizes], 3, axis=-1), (c.heads, c.kv_heads, c.kv_heads), strict=True
            )
        )
        if f.qk_norm:
            q, k = (self.norm(x, name.format(layer)) for x, name in zip((q, k), f.qk_norm, strict=True))
        q, k, v = (g.node("Transpose", [x], perm=[0, 2, 1, 3]) for x in (q, k, v))
        if not f.positions:
            q, k = (g.node("RotaryEmbedding", [x, "cos", "sin", "positions"]) for x in (q, k))
        for kind, value in (("key", k), ("value", v)):
            self._extend(f"past_{kind}.{layer}", value, f"present_{kind}.{layer}")
        y = g.node("Attention", [q, f"present_key.{layer}", f"present_value.{layer}", "mask"])
        return g.node("Reshape", [g.node("Transpose", [y], perm=[0, 2, 1, 3]), self.ints([0, 0, c.heads * c.head_dim])])

    def linear(self, x: str, names: list[str], name: str) -> str:
        g, stacked = self.graph, self.stacked_bias(names, name)
        product = g.node("MatMul", [x, g.constant(f"{name}.weight", self.stacked(names).T.astype(self._dtype))])
        if stacked is None:
            return product
        return g.node("Add", [product, g.constant(f"{name}.bias", stacked.astype(self._dtype))])

    def _extend(self, past: str, value: str, present: str) -> None:
        if self.scatter:
            self.graph.node("TensorScatter", [past, value, "write_index"], [present], axis=2)
        else:
            places = self.graph.node("Expand", [self._places, self.graph.node("Shape", [value])])
            self.graph.node("ScatterElements", [past, places, value], [present], axis=2)

    def _scatter_places(self) -> str:
        """`write_index + 0 … S - 1` as `[B, 1, S, 1]`."""
        g = self.graph
        zero, one = (g.constant(f"scatter.{value}", np.array(value, np.int64)) for value in (0, 1))
        length = g.node("Gather", [g.node("Shape", ["input_ids"]), one])
        steps = g.node("Range", [zero, length, one])
        places = g.node("Add", [g.node("Unsqueeze", ["write_index", self.ints([1])]), steps])
        return g.node("Unsqueeze", [places, self.ints([1, 3])])

    @property
    def _dtype(self) -> type[np.floating[Any]]:
        return _TYPES[self.precision.bits]

    @property
    def _type(self) -> str:
        return np.dtype(self._dtype).name


class ScatterElementsDecoder(PortableDecoder):
    """The same for readers of ONNX that do not know `TensorScatter`."""

    scatter = False
