"""The decoder's graph in standard ONNX operators, for TensorRT and OpenVINO.

Shapes never change from step to step: the buffers have a fixed size, what of them counts is said by
the mask, and the new positions are scattered into them. Beyond the common inputs
(`export.decoder.graph`), in the graph's own type T:

    write_index   int64  [B]           positions of each sequence before this call: where the new ones go
    mask          T      [B, 1, S, P]  added to the scores: 0 where a new position may look, -30000 elsewhere
    positions     int64  [B, S]        only with rotary positions: `write_index + 0 … S - 1`

With 8 or 4 bits the linear weights alone are stored so, as `DequantizeLinear` before each product,
which TensorRT fuses with it: 8 bits with a scale for each output, 4 bits with one for each block of
128 (or 64) inputs (in 8 bits it does not fuse blocks). T is then float16.

Buffers are T. The sums inside norms are float32 whatever T is; the heads' softmax is the operator's
own. Operators of opset 24: `Attention`, `RotaryEmbedding`, `RMSNormalization` (23), `TensorScatter`
(24), which TensorRT 11 turns into its update of a KV cache and which wants P to be a number;
without `scatter`, `ScatterElements` takes its place, for TensorRT 10 and OpenVINO.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from onnx import helper
from voxturn.export.checkpoint import Float
from voxturn.export.decoder.graph import DecoderGraph
from voxturn.export.quantize import quantize
from voxturn.runtime.errors import ExportFailed

_MOST_POSITIONS = 2048
_BLOCKS = 128, 64


class PortableDecoder(DecoderGraph):
    """See the module."""

    opset = 24
    bits = frozenset({32, 16, 8, 4})
    halves = frozenset({"float16", "bfloat16"})
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
        return self.graph.node("Cast", [rows], to=helper.np_dtype_to_tensor_dtype(self._dtype))

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
                g.nodes("Split", [qkv, sizes], 3, axis=-1),
                (c.heads, c.kv_heads, c.kv_heads),
                strict=True,
            )
        )
        if f.qk_norm:
            q, k = (
                self.norm(x, name.format(layer)) for x, name in zip((q, k), f.qk_norm, strict=True)
            )
        q, k, v = (g.node("Transpose", [x], perm=[0, 2, 1, 3]) for x in (q, k, v))
        if not f.positions:
            q, k = (g.node("RotaryEmbedding", [x, "cos", "sin", "positions"]) for x in (q, k))
        for kind, value in (("key", k), ("value", v)):
            self._extend(f"past_{kind}.{layer}", value, f"present_{kind}.{layer}")
        y = g.node("Attention", [q, f"present_key.{layer}", f"present_value.{layer}", "mask"])
        return g.node(
            "Reshape",
            [g.node("Transpose", [y], perm=[0, 2, 1, 3]), self.ints([0, 0, c.heads * c.head_dim])],
        )

    def linear(self, x: str, names: list[str], name: str) -> str:
        g, stacked = self.graph, self.stacked_bias(names, name)
        bits = (
            self.precision.head_bits
            if name == "head" and self.precision.head_bits
            else self.precision.bits
        )
        weight, parts = self.stacked(names), [0]
        if bits == 8 and name.startswith(
            "qkv"
        ):  # TensorRT unpacks the weights of a product that is cut afterwards
            c = self.config
            parts = [0, c.heads * c.head_dim, (c.heads + c.kv_heads) * c.head_dim]
        products = [
            g.node("MatMul", [x, self._weight(rows, f"{name}.{number}" if number else name, bits)])
            for number, rows in enumerate(np.split(weight, parts[1:]))
        ]
        product = g.node("Concat", products, axis=-1) if len(products) > 1 else products[0]
        if stacked is None:
            return product
        return g.node("Add", [product, g.constant(f"{name}.bias", stacked.astype(self._dtype))])

    def _weight(self, weight: Float, name: str, bits: int) -> str:
        """`weight` `[out, in]` as `[in, out]` of the graph's type."""
        g = self.graph
        if bits >= 16:
            return g.constant(f"{name}.weight", weight.T.astype(self._dtype))
        inputs = weight.shape[1]
        block = inputs if bits == 8 else next((size for size in _BLOCKS if inputs % size == 0), 0)
        if not block:
            raise ExportFailed(
                f"{name}: {inputs} inputs are no multiple of {_BLOCKS[-1]}; export it in int8 or fp16"
            )
        blocks = quantize(weight, bits, block)
        middle = 1 << (bits - 1)
        codes = (blocks.codes.astype(np.int16) - middle).reshape(weight.shape).T
        scales = blocks.scales.T.astype(self._dtype)
        names = [
            g.constant(f"{name}.codes", codes.astype(np.int8 if bits == 8 else ml_dtypes.int4)),
            g.constant(f"{name}.scales", scales[0] if bits == 8 else scales),
        ]
        if bits == 8:
            return g.node("DequantizeLinear", names, axis=1)
        return g.node("DequantizeLinear", names, axis=0, block_size=block)

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
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(self._type)

    @property
    def _type(self) -> str:
        return "float32" if self.precision.bits == 32 else self.precision.half


class ScatterElementsDecoder(PortableDecoder):
    """The same for readers of ONNX that do not know `TensorScatter`."""

    bits = frozenset({32, 16})
    halves = frozenset({"float16"})
    scatter = False
