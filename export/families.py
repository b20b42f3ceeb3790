"""What the decoder-only families have in common and where they differ: sizes, names of weights, precisions.

A further family is a row in `FAMILIES`; `export.decoder` builds its graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from voxturn.runtime.errors import ExportFailed


@dataclass(frozen=True)
class DecoderConfig:
    """The sizes of a decoder-only transformer. `context` is the number of positions of its rotary table."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    epsilon: float
    rope_theta: float
    context: int
    tied: bool

    @classmethod
    def from_checkpoint(cls, config: Mapping[str, Any]) -> DecoderConfig:
        """Read Hugging Face's field names; a missing one is an `ExportFailed` that names it."""
        if config.get("hidden_act", "silu") != "silu":
            raise ExportFailed(f"activation {config['hidden_act']!r} is not supported; supported: silu")
        try:
            heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
            return cls(
                layers=int(config["num_hidden_layers"]),
                width=width,
                heads=heads,
                kv_heads=int(config.get("num_key_value_heads") or heads),
                head_dim=int(config.get("head_dim") or width // heads),
                vocabulary=int(config["vocab_size"]),
                epsilon=float(config["rms_norm_eps"]),
                rope_theta=_rope_theta(config),
                context=int(config["max_position_embeddings"]),
                tied=bool(config.get("tie_word_embeddings", False)),
            )
        except KeyError as exc:
            raise ExportFailed(f"the checkpoint's configuration lacks {exc}; pull the model again") from exc


def _rope_theta(config: Mapping[str, Any]) -> float:
    """`rope_theta`, which transformers 5 moved into `rope_parameters`."""
    parameters = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    if kind != "default":
        raise ExportFailed(f"rotary scaling {kind!r} is not supported; supported: default")
    return float(parameters.get("rope_theta") or config["rope_theta"])


@dataclass(frozen=True)
class Family:
    """Where a family keeps its weights, and what differs in its arithmetic; `{}` stands for the layer's number.

    Weights are `[out, in]`; several names are stacked row-wise. `mlp` is (gate, up) for a gated SiLU, or (up,) for GELU
    (tanh). `norm` is "rms" or "layer". With `bias` every linear and every layer norm has one, named `.bias` for
    `.weight`. With `positions` the position is learned and lies in the input ids: see `composite`.
    """

    embedding: str
    attention_norm: str
    qkv: tuple[str, ...]
    attention_out: str
    mlp_norm: str
    mlp: tuple[str, ...]
    down: str
    final_norms: tuple[str, ...]
    head: str
    norm: str = "rms"
    bias: bool = False
    positions: str = ""
    blocks: Mapping[int, int] = field(default_factory=dict)
    """Block sizes by bits, where they differ from `PRECISIONS`."""

    def names(self, config: DecoderConfig) -> set[str]:
        """Every tensor that a checkpoint of this family must have."""
        norms = (self.attention_norm, self.mlp_norm)
        linears = (*self.qkv, self.attention_out, *self.mlp, self.down)
        wanted = {name.format(i) for name in (*norms, *linears) for i in range(config.layers)}
        wanted |= set(self.final_norms) | (set() if config.tied else {self.head})
        if self.bias:
            wanted |= {bias_of(name) for name in wanted}
        return wanted | {self.embedding} | ({self.positions} if self.positions else set())


def bias_of(weight: str) -> str:
    """The name of the bias that belongs to a weight."""
    return weight.removesuffix(".weight") + ".bias"


STRIDE = 1 << 16
_LAYER = "model.layers.{}."
_GPT2 = "gpt.gpt.h.{}."
FAMILIES = {
    "llama": Family(
        embedding="model.embed_tokens.weight",
        attention_norm=_LAYER + "input_layernorm.weight",
        qkv=(
            _LAYER + "self_attn.q_proj.weight",
            _LAYER + "self_attn.k_proj.weight",
            _LAYER + "self_attn.v_proj.weight",
        ),
        attention_out=_LAYER + "self_attn.o_proj.weight",
        mlp_norm=_LAYER + "post_attention_layernorm.weight",
        mlp=(_LAYER + "mlp.gate_proj.weight", _LAYER + "mlp.up_proj.weight"),
        down=_LAYER + "mlp.down_proj.weight",
        final_norms=("model.norm.weight",),
        head="lm_head.weight",
    ),
    "xtts-gpt": Family(
        embedding="embedding.weight",
        attention_norm=_GPT2 + "ln_1.weight",
        qkv=(_GPT2 + "attn.c_attn.weight",),
        attention_out=_GPT2 + "attn.c_proj.weight",
        mlp_norm=_GPT2 + "ln_2.weight",
        mlp=(_GPT2 + "mlp.c_fc.weight",),
        down=_GPT2 + "mlp.c_proj.weight",
        final_norms=("gpt.gpt.ln_f.weight", "gpt.final_norm.weight"),
        head="gpt.mel_head.weight",
        norm="layer",
        bias=True,
        positions="positions.weight",
        blocks={8: 256, 4: 128},
    ),
}


@dataclass(frozen=True)
class Precision:
    """How linear weights are stored. `bits` 32, 8 or 4; `native` takes a checkpoint's own 4-bit blocks as they are."""

    bits: int
    block: int = 0
    symmetric: bool = True
    native: bool = False
    head_bits: int = 0


PRECISIONS = {
    "fp32": Precision(32),
    "int8": Precision(8, block=64),
    "int4": Precision(4, block=32, symmetric=False, head_bits=8),
    "q4_1": Precision(4, block=32, native=True, head_bits=8),
}
