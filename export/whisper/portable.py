"""Whisper's graphs in standard ONNX operators, for TensorRT: see `export.whisper.graphs`.

Shapes never change from step to step: the buffers have a fixed size, the mask says what of them
counts, and the new positions are scattered into them. Operators of opset 24: `TensorScatter`, which
TensorRT turns into its update of a key/value cache (it wants a fixed number of positions), and
`Attention` with one output, for which it has kernels in float16 alone: float32 graphs have the
products and the softmax instead.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from voxturn.export.checkpoint import Float
from voxturn.export.whisper.checkpoint import WhisperCheckpoint
from voxturn.export.whisper.graphs import WhisperGraphs
from voxturn.export.whisper.spec import EMBEDDING


class PortableWhisper(WhisperGraphs):
    """`bits` 32 or 16: the width of every number but the features and the logits, which are
    float32."""

    opset = 24

    def __init__(self, checkpoint: WhisperCheckpoint, bits: int) -> None:
        super().__init__(checkpoint, bits)
        self.capacity = self.sizes.text_positions

    def enter(self, mel: str) -> str:
        return mel if self.bits == 32 else self.g.node("Cast", [mel], to=TensorProto.FLOAT16)

    def leave(self, logits: str) -> None:
        self.g.node("Cast", [logits], ["logits"], to=TensorProto.FLOAT)

    def tokens(self, ids: str) -> str:
        return self.g.node("Gather", [self.param(EMBEDDING), ids])

    def product(self, x: str, weight: Float, name: str, bias: Float | None = None) -> str:
        y = self.g.node(
            "MatMul", [x, self.g.constant(f"{name}.weight", weight.T.astype(self.type))]
        )
        return (
            y
            if bias is None
            else self.g.node("Add", [y, self.g.constant(f"{name}.bias", bias.astype(self.type))])
        )

    def add_norm(self, x: str, hidden: str, prefix: str) -> tuple[str, str]:
        total = self.g.node("Add", [hidden, x])
        return self.norm(total, prefix), total

    def attention(self, q: str, k: str, v: str, heads: int) -> str:
        return self._attend(q, self.split_heads(k, heads), self.split_heads(v, heads), heads)

    def begin_decoder(self) -> None:
        self.g.input("write_index", "int64", ["B"])
        self.g.input("mask", self.type, ["B", 1, "S", self.capacity])

    def self_attention(self, qkv: str, layer: int) -> str:
        heads = self.sizes.decoder_heads
        q, *new = self.g.nodes("Split", [qkv], 3, axis=-1, num_outputs=3)
        for kind, value in zip(("key", "value"), new, strict=True):
            inputs = [f"past_{kind}.{layer}", self.split_heads(value, heads), "write_index"]
            self.g.node("TensorScatter", inputs, [f"present_{kind}.{layer}"], axis=2)
        return self._attend(q, f"present_key.{layer}", f"present_value.{layer}", heads, "mask")

    def cross_attention(self, q: str, layer: int) -> str:
        return self._attend(
            q, f"cross_key.{layer}", f"cross_value.{layer}", self.sizes.decoder_heads
        )

    def _attend(self, q: str, k: str, v: str, heads: int, *mask: str) -> str:
        """`q` `[B, S, width]`, `k` and `v` `[B, heads, …, head_dim]`; `[B, S, width]`."""
        g, q = self.g, self.split_heads(q, heads)
        if self.bits == 16:
            y = g.node("Attention", [q, k, v, *mask])
        else:
            scale = g.constant(
                f"scale_{g.fresh()}", np.array((self.sizes.width // heads) ** -0.5, np.float32)
            )
            scores = g.node(
                "MatMul", [g.node("Mul", [q, scale]), g.node("Transpose", [k], perm=[0, 1, 3, 2])]
            )
            scores = g.node("Add", [scores, *mask]) if mask else scores
            y = g.node("MatMul", [g.node("Softmax", [scores], axis=-1), v])
        return g.node(
            "Reshape", [g.node("Transpose", [y], perm=[0, 2, 1, 3]), self.ints([0, 0, -1])]
        )
