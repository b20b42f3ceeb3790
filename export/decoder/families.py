"""What the decoder-only families have in common and where they differ: sizes, names of weights,
precisions.

A further family is a row in `FAMILIES`; `export.decoder.export` builds its graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.export.checkpoint import Shapes
from voxturn.runtime.errors import ExportFailed


@dataclass(frozen=True)
class Llama3Scaling:
    """Llama 3.1's stretch of the slow rotary frequencies.

    Source: transformers' `modeling_rope_utils.py`.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: float

    def scaled(self, inverse: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Frequencies below the low bound are divided by `factor`, those above the high bound stay,
        with a ramp between."""
        turns = self.original_context * inverse / (2 * np.pi)
        share = np.clip(
            (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor),
            0.0,
            1.0,
        )
        out: npt.NDArray[np.float64] = (1 - share) * inverse / self.factor + share * inverse
        return out


@dataclass(frozen=True)
class FrequencyDivisors:
    """Llama 3.1's stretch as GGUF files have it: their tensor `rope_freqs` holds a divisor for each
    frequency."""

    divisors: tuple[float, ...]

    def scaled(self, inverse: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Every frequency divided by its own."""
        return np.asarray(inverse / np.array(self.divisors))


_DEFAULTS = {"rms_norm_eps": 1e-6, "rope_theta": 10000.0}
"""What transformers takes where a configuration has no such field.

Source: the models' `configuration_*.py`.
"""
_LEAST_WINDOW = 512
"""Positions of a sliding window within which a spoken dialogue still has room."""
_MOST = 1 << 24
"""Of any size of a model: widths, vocabularies and contexts are far less."""
_MOST_ROTARY = 1 << 26
"""Numbers of a rotary table: a million positions of heads of 128."""


@dataclass(frozen=True)
class DecoderConfig:
    """The sizes of a decoder-only transformer.

    `context` is the number of positions of its rotary table.
    """

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
    rope_scaling: Llama3Scaling | FrequencyDivisors | None = None

    @classmethod
    def from_checkpoint(
        cls, given: Mapping[str, Any], defaults: Mapping[str, Any] = _DEFAULTS
    ) -> DecoderConfig:
        """Read Hugging Face's field names; `defaults` are the family's for those that are missing.

        One that is missing all the same, or makes no sense, is an `ExportFailed` that names it. A
        model whose every layer looks at a window of positions has a context of one window, within
        which the window makes no difference.
        """
        config = {key: value for key, value in {**defaults, **given}.items() if value is not None}
        if config.get("hidden_act", "silu") != "silu":
            raise ExportFailed(
                f"activation {config['hidden_act']!r} is not supported; supported: silu"
            )
        context = positive(config, "max_position_embeddings")
        # the window of a family whose every layer has one, unless the configuration says that there
        # is none
        windowed = "sliding_window" in defaults
        window = positive(config, "sliding_window", context) if windowed else context
        if (
            config.get("use_sliding_window")
            or "sliding_attention" in config.get("layer_types", ())
            or window < min(context, _LEAST_WINDOW)
        ):
            raise ExportFailed(
                "the checkpoint has sliding-window attention, which is not supported; supported: full"
            )
        rope = _rope_parameters(config)
        heads, width = positive(config, "num_attention_heads"), positive(config, "hidden_size")
        kv_heads = positive(config, "num_key_value_heads", heads)
        head_dim = positive(config, "head_dim", width // heads)
        if heads % kv_heads or head_dim % 2:
            raise ExportFailed(
                f"the checkpoint's configuration has {heads} heads of {head_dim} and {kv_heads} of keys; heads must be "
                "of an even size and shared by equal groups"
            )
        if min(context, window) * head_dim // 2 > _MOST_ROTARY:
            raise ExportFailed(
                f"the checkpoint's configuration has {min(context, window):,} positions for heads of {head_dim:,}; no "
                "model has as many; pull the model again"
            )
        return cls(
            layers=positive(config, "num_hidden_layers"),
            width=width,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            vocabulary=positive(config, "vocab_size"),
            epsilon=_number(config, "rms_norm_eps"),
            rope_theta=_number(rope if rope.get("rope_theta") else config, "rope_theta"),
            context=min(context, window),
            tied=bool(config.get("tie_word_embeddings", False)),
            rope_scaling=_rope_scaling(rope, head_dim),
        )


def positive(config: Mapping[str, Any], key: str, otherwise: int | None = None) -> int:
    """A whole number above 0; `otherwise` stands for one that is not given.

    Raises `ExportFailed`.
    """
    value = config.get(key)
    if value is None and otherwise is not None:
        value = otherwise
    if value is None:
        raise ExportFailed(f"the checkpoint's configuration lacks {key!r}; pull the model again")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ExportFailed(
            f"the checkpoint's configuration has {key} {repr(value)[:80]}, not a whole number above 0"
        )
    if value > _MOST:
        raise ExportFailed(
            f"the checkpoint's configuration has {key} {value:,}, which no model has; pull the model again"
        )
    return value


def _number(config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    if value is None:
        raise ExportFailed(f"the checkpoint's configuration lacks {key!r}; pull the model again")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ExportFailed(f"the checkpoint's configuration has {key} {value!r}, not a number")
    return float(value)


def _rope_parameters(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Transformers 5 put `rope_theta` beside what 4 had in `rope_scaling`."""
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(found, Mapping):
        raise ExportFailed(
            f"the checkpoint's configuration has rotary scaling {found!r}, not a table"
        )
    return found


def _rope_scaling(
    parameters: Mapping[str, Any], head_dim: int
) -> Llama3Scaling | FrequencyDivisors | None:
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    if kind == "default":
        return None
    if isinstance(
        divisors := parameters.get("divisors"), tuple
    ):  # by `export.decoder.gguf`; JSON has no tuples
        if len(divisors) != head_dim // 2 or not all(0 < value < math.inf for value in divisors):
            raise ExportFailed(
                f"rope_freqs must be {head_dim // 2} numbers above 0, it is {list(divisors)}"
            )
        return FrequencyDivisors(divisors)
    if kind != "llama3":
        raise ExportFailed(f"rotary scaling {kind!r} is not supported; supported: default, llama3")
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    return Llama3Scaling(*(_number(parameters, name) for name in names))


def inverse_frequencies(config: DecoderConfig) -> npt.NDArray[np.float64]:
    """The rotary embedding's angles a position, `[head_dim / 2]`."""
    exponents = np.arange(0, config.head_dim, 2, dtype=np.float64) / config.head_dim
    inverse: npt.NDArray[np.float64] = 1.0 / config.rope_theta**exponents
    return inverse if config.rope_scaling is None else config.rope_scaling.scaled(inverse)


@dataclass(frozen=True)
class Family:
    """Where a family keeps its weights, and what differs in its arithmetic; `{}` stands for the
    layer's number.

    Weights are `[out, in]`; several names are stacked row-wise. `mlp` is (gate, up) for a gated
    SiLU, or (up,) for GELU (tanh). `norm` is "rms" or "layer". `biased` are the weights that have a
    bias, named `.bias` for `.weight`. With `qk_norm` the query's and the key's heads are normed
    (RMS) before the rotary embedding. With `positions` the position is learned and lies in the
    input ids: see `export.decoder.graph`.
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
    biased: frozenset[str] = frozenset()
    qk_norm: tuple[str, ...] = ()
    positions: str = ""
    blocks: Mapping[int, int] = field(default_factory=dict)
    """Block sizes by bits, where they differ from `PRECISIONS`."""
    defaults: Mapping[str, Any] = field(default_factory=lambda: _DEFAULTS)
    """What stands for fields that a configuration lacks.

    With a `sliding_window` among them, every layer has one.
    """

    def weights(self) -> tuple[str, ...]:
        """Every weight that may have a bias."""
        layer = (
            self.attention_norm,
            *self.qkv,
            self.attention_out,
            self.mlp_norm,
            *self.mlp,
            self.down,
        )
        return (*layer, *self.final_norms, self.head)

    def names(self, config: DecoderConfig) -> set[str]:
        """Every tensor that a checkpoint of this family must have."""
        norms = (self.attention_norm, self.mlp_norm, *self.qk_norm)
        linears = (*self.qkv, self.attention_out, *self.mlp, self.down)
        layered = {
            *norms,
            *linears,
            *(bias_of(name) for name in (*norms, *linears) if name in self.biased),
        }
        wanted = {name.format(i) for name in layered for i in range(config.layers)}
        last = {*self.final_norms} | (set() if config.tied else {self.head})
        wanted |= last | {bias_of(name) for name in last & self.biased}
        return wanted | {self.embedding} | ({self.positions} if self.positions else set())

    def shapes(self, config: DecoderConfig, inner: int) -> Shapes:
        """The tensors of `names` and their shapes, of a family with a query, a key and a value and
        a gated MLP."""
        c, query, keys = config, config.heads * config.head_dim, config.kv_heads * config.head_dim
        layered: Shapes = {
            self.attention_norm: (c.width,),
            **dict(
                zip(self.qkv, ((query, c.width), (keys, c.width), (keys, c.width)), strict=True)
            ),
            self.attention_out: (c.width, query),
            self.mlp_norm: (c.width,),
            **dict.fromkeys(self.mlp, (inner, c.width)),
            self.down: (c.width, inner),
            **dict.fromkeys(self.qk_norm, (c.head_dim,)),
        }
        out = {name.format(i): shape for name, shape in layered.items() for i in range(c.layers)}
        out |= dict.fromkeys(self.final_norms, (c.width,))
        out |= dict.fromkeys((self.embedding, self.head), (c.vocabulary, c.width))
        out |= {bias_of(name): shape[:1] for name, shape in out.items()}
        return {name: out[name] for name in sorted(self.names(c))}


def bias_of(weight: str) -> str:
    """The name of the bias that belongs to a weight."""
    return weight.removesuffix(".weight") + ".bias"


STRIDE = 1 << 16
_LAYER = "model.layers.{}."
_GPT2 = "gpt.gpt.h.{}."
_LLAMA = Family(
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
)
_XTTS_GPT = Family(
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
    positions="positions.weight",
    blocks={8: 256, 4: 128},
)
_QWEN = _DEFAULTS | {"max_position_embeddings": 32768, "num_key_value_heads": 32}
FAMILIES = {
    "llama": replace(_LLAMA, defaults=_DEFAULTS | {"max_position_embeddings": 2048}),
    "qwen2": replace(_LLAMA, biased=frozenset(_LLAMA.qkv), defaults=_QWEN),
    "qwen3": replace(
        _LLAMA,
        qk_norm=(_LAYER + "self_attn.q_norm.weight", _LAYER + "self_attn.k_norm.weight"),
        blocks={8: 256, 4: 128},
        defaults=_QWEN | {"head_dim": 128},
    ),
    "mistral": replace(
        _LLAMA,
        defaults=_DEFAULTS
        | {"max_position_embeddings": 131072, "num_key_value_heads": 8, "sliding_window": 4096},
    ),
    "xtts-gpt": replace(_XTTS_GPT, biased=frozenset(_XTTS_GPT.weights())),
}
"""By the `model_type` of the checkpoint's configuration."""


@dataclass(frozen=True)
class Precision:
    """How linear weights are stored. `bits` 32, 16, 8 or 4; `native` takes a checkpoint's own 4-bit
    blocks as they are.

    `half` is the type of 16 bits where there is one.
    """

    bits: int
    block: int = 0
    symmetric: bool = True
    native: bool = False
    head_bits: int = 0
    half: str = "float16"


PRECISIONS = {
    "fp32": Precision(32),
    "fp16": Precision(16),
    "bf16": Precision(16, half="bfloat16"),
    "int8": Precision(8, block=64),
    "int4": Precision(4, block=32, symmetric=False, head_bits=8),
    "q4_1": Precision(4, block=32, native=True, head_bits=8),
}

ENGINES = ("onnx", "openvino", "tensorrt")
"""What a graph can be made for: see `export.decoder.export`."""


def engine_for(precision: str) -> str:
    """What a graph of a precision is made for where nobody says: 16 bits are for a GPU, all others
    for the CPU."""
    return "tensorrt" if PRECISIONS[precision].bits == 16 else "onnx"


TARGETS = {
    "onnx": ("int4", "int8", "fp32"),
    "tensorrt": ("fp16", "bf16", "int8", "int4", "fp32"),
    "ctranslate2": ("int8", "fp16", "fp32"),
    "openvino": ("fp32", "fp16"),
}
"""What `voxturn export qwen3 --for` offers, and in which precisions, the default first."""
