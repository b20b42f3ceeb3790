"""Whisper's graphs in ONNX Runtime's own operators: see `export.whisper.graphs`."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from voxturn.export.checkpoint import Float
from voxturn.export.graph import MICROSOFT, OPSET
from voxturn.export.quantize import quantize
from voxturn.export.whisper.graphs import EPSILON, WhisperGraphs
from voxturn.export.whisper.spec import EMBEDDING

_BLOCK = 128
_ACCURACY_LEVEL = 4  # activations are rounded to int8 in the product; judged by the recorded KL


class FusedWhisper(WhisperGraphs):
    """float32 arithmetic; `bits` 32, or 8 for the linear weights, in blocks, and a float16 token
    table."""

    opset = OPSET

    def enter(self, mel: str) -> str:
        return mel

    def leave(self, logits: str) -> None:
        self.g.node("Identity", [logits], ["logits"])

    def tokens(self, ids: str) -> str:
        table = self.checkpoint.array(EMBEDDING).astype(
            np.float32 if self.bits == 32 else np.float16
        )
        rows = self.g.node("Gather", [self.g.constant(EMBEDDING, table), ids])
        return self.g.node("Cast", [rows], to=TensorProto.FLOAT)

    def head(self, x: str) -> str:
        return (
            super().head(x)
            if self.bits == 32
            else self.product(x, self.checkpoint.array(EMBEDDING), "head")
        )

    def product(self, x: str, weight: Float, name: str, bias: Float | None = None) -> str:
        g = self.g
        added = [] if bias is None else [g.constant(f"{name}.bias", bias)]
        if self.bits == 32:
            y = g.node("MatMul", [x, g.constant(f"{name}.weight", weight.T)])
            return g.node("Add", [y, *added]) if added else y
        packed = quantize(weight, self.bits, _BLOCK)
        codes, scales = (
            g.constant(f"{name}.{kind}", value)
            for kind, value in (("codes", packed.packed_codes()), ("scales", packed.scales))
        )
        return g.node(
            "MatMulNBits",
            [x, codes, scales, *(["", "", *added] if added else [])],
            domain=MICROSOFT,
            K=packed.columns,
            N=packed.rows,
            bits=packed.bits,
            block_size=packed.block,
            accuracy_level=_ACCURACY_LEVEL,
        )

    def add_norm(self, x: str, hidden: str, prefix: str) -> tuple[str, str]:
        normed, total = (f"{prefix}.{kind}" for kind in ("normed", "sum"))
        inputs = [hidden, x, *(self.param(f"{prefix}.{kind}") for kind in ("weight", "bias"))]
        self.g.node(
            "SkipLayerNormalization",
            inputs,
            [normed, "", "", total],
            domain=MICROSOFT,
            epsilon=EPSILON,
        )
        return normed, total

    def attention(self, q: str, k: str, v: str, heads: int) -> str:
        return self.g.node("MultiHeadAttention", [q, k, v], domain=MICROSOFT, num_heads=heads)

    def begin_decoder(self) -> None:
        self.g.input("seqlens_k", "int32", ["B"])
        self.g.input("total_sequence_length", "int32", [])

    def self_attention(self, qkv: str, layer: int) -> str:
        past, present = (
            [f"{when}_{kind}.{layer}" for kind in ("key", "value")] for when in ("past", "present")
        )
        return self.g.node(
            "GroupQueryAttention",
            [qkv, "", "", *past, "seqlens_k", "total_sequence_length"],
            [f"attention.{layer}", *present],
            domain=MICROSOFT,
            num_heads=self.sizes.decoder_heads,
            kv_num_heads=self.sizes.decoder_heads,
        )

    def cross_attention(self, q: str, layer: int) -> str:
        audio = [f"cross_{kind}.{layer}" for kind in ("key", "value")]
        return self.g.node(
            "MultiHeadAttention", [q, *audio], domain=MICROSOFT, num_heads=self.sizes.decoder_heads
        )
