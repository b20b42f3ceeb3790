"""The decoder's graph for ONNX Runtime on the CPU: contrib operators, weights in 8 or 4 bits.

Past and present keys and values are the same buffers: the attention operator writes the new
positions in place. Beyond the common inputs (`export.decoder.graph`):

    seqlens_k              int32    [B]      positions of each sequence after this call, minus one
    total_sequence_length  int32    []       the most positions of any sequence after this call

Buffers are float32. Operators: `GroupQueryAttention`, `MatMulNBits`, `SkipLayerNormalization`,
`FastGelu` and their kin, as ONNX Runtime's `ContribOperators.md` has them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from voxturn.export.decoder.graph import DecoderGraph
from voxturn.export.graph import MICROSOFT, OPSET
from voxturn.export.quantize import BlockWeight, quantize
from voxturn.runtime.errors import ExportFailed

_HEAD_MULTIPLE = 16  # of a head's size, for its rotary embedding
_ACCURACY_LEVEL = 4  # activations are rounded to int8 in the product; judged by the recorded KL


class FusedDecoder(DecoderGraph):
    """See the module."""

    opset = OPSET
    bits = frozenset({32, 8, 4})

    def begin(self) -> None:
        if not self.family.positions and self.config.head_dim % _HEAD_MULTIPLE:
            raise ExportFailed(
                f"ONNX Runtime's attention needs heads of a multiple of {_HEAD_MULTIPLE}, the model's have "
                f"{self.config.head_dim}; export it with --for openvino or tensorrt"
            )
        self.graph.input("seqlens_k", "int32", ["B"])
        self.graph.input("total_sequence_length", "int32", [])
        if not self.family.positions:
            self.rotary_tables(np.float32)

    def output(self, name: str, value: str, size: int) -> None:
        self.graph.node("Identity", [value], [name])
        self.graph.output(name, "float32", ["B", 1, size])

    def rows(self, name: str, ids: str) -> str:
        table = self.checkpoint.array(name).astype(
            np.float32 if self.precision.bits == 32 else np.float16
        )
        return self.graph.node(
            "Cast", [self.graph.node("Gather", [self.graph.constant(name, table), ids])], to=1
        )

    def given_rows(self) -> str:
        return self.graph.input("rows", "float32", ["R", self.config.width])

    def norm(self, x: str, name: str) -> str:
        op = "SimplifiedLayerNormalization" if self.family.norm == "rms" else "LayerNormalization"
        return self.graph.node(
            op, [x, *self._norm_constants(name)], epsilon=self.config.epsilon, axis=-1
        )

    def add_norm(self, x: str, hidden: str, name: str) -> tuple[str, str]:
        op = (
            "SkipSimplifiedLayerNormalization"
            if self.family.norm == "rms"
            else "SkipLayerNormalization"
        )
        normed, total = f"{name}.normed", f"{name}.sum"
        outputs = [normed, "", "", total]
        weights = self._norm_constants(name)
        return self._contrib(op, [hidden, x, *weights], outputs, epsilon=self.config.epsilon), total

    def gelu(self, x: str) -> str:
        return self._contrib("FastGelu", [x])

    def silu(self, x: str) -> str:
        return self._contrib("QuickGelu", [x], alpha=1.0)

    def attention(self, qkv: str, layer: int) -> str:
        c, f = self.config, self.family
        self.caches(layer, "float32")
        past = [f"past_key.{layer}", f"past_value.{layer}", "seqlens_k", "total_sequence_length"]
        return self._contrib(
            "GroupQueryAttention",
            [*(self._head_normed(qkv, layer) if f.qk_norm else (qkv, "", "")), *past]
            + ([] if f.positions else ["cos", "sin"]),
            [f"attention.{layer}", f"present_key.{layer}", f"present_value.{layer}"],
            num_heads=c.heads,
            kv_num_heads=c.kv_heads,
            do_rotary=int(not f.positions),
        )

    def _head_normed(self, qkv: str, layer: int) -> tuple[str, str, str]:
        """Query and key normed head by head, and the value. (The operator's own norm exists on GPUs
        only.)"""
        g, c = self.graph, self.config
        sizes = self.ints([c.heads * c.head_dim, c.kv_heads * c.head_dim, c.kv_heads * c.head_dim])
        q, k, v = g.nodes("Split", [qkv, sizes], 3, axis=-1)
        q, k = (
            g.node(
                "Reshape",
                [
                    self.norm(
                        g.node("Reshape", [x, self.ints([0, 0, -1, c.head_dim])]),
                        name.format(layer),
                    ),
                    self.ints([0, 0, -1]),
                ],
            )
            for x, name in zip((q, k), self.family.qk_norm, strict=True)
        )
        return q, k, v

    def linear(self, x: str, names: list[str], name: str) -> str:
        g, stacked = self.graph, self.stacked_bias(names, name)
        bias = [] if stacked is None else [g.constant(f"{name}.bias", stacked)]
        bits = (
            self.precision.head_bits
            if name == "head" and self.precision.head_bits
            else self.precision.bits
        )
        if bits == 32:
            product = g.node("MatMul", [x, g.constant(f"{name}.weight", self.stacked(names).T)])
            return g.node("Add", [product, *bias]) if bias else product
        blocks = self._blocks(names, bits)
        inputs = [
            x,
            g.constant(f"{name}.codes", blocks.packed_codes()),
            g.constant(f"{name}.scales", blocks.scales),
        ]
        zeros = blocks.packed_zeros()
        if zeros is not None or bias:
            inputs.append("" if zeros is None else g.constant(f"{name}.zeros", zeros))
        if bias:
            inputs += ["", *bias]
        return self._contrib(
            "MatMulNBits",
            inputs,
            K=blocks.columns,
            N=blocks.rows,
            bits=bits,
            block_size=blocks.block,
            accuracy_level=_ACCURACY_LEVEL,
        )

    def _contrib(
        self, op: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any
    ) -> str:
        return self.graph.node(op, inputs, outputs, domain=MICROSOFT, **attributes)

    def _norm_constants(self, name: str) -> list[str]:
        return [
            self.graph.constant(f"{name}.{i}", value)
            for i, value in enumerate(self.norm_weights(name))
        ]

    def _blocks(self, names: list[str], bits: int) -> BlockWeight:
        if self.precision.native and bits == self.precision.bits:
            found = [self.checkpoint.blocks(n) for n in names]
            parts = [part for part in found if part is not None]
            if len(parts) == len(names):
                zeros = np.concatenate([part.zeros for part in parts if part.zeros is not None])
                return BlockWeight(
                    np.concatenate([part.codes for part in parts]),
                    np.concatenate([part.scales for part in parts]),
                    zeros,
                    4,
                    parts[0].columns,
                )
        block = self.family.blocks.get(bits, self.precision.block)
        return quantize(self.stacked(names), bits, block, self.precision.symmetric or bits == 8)
