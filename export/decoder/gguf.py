"""Reads GGUF files of decoder-only models under Hugging Face names: float32 on demand, 4-bit blocks
where they exist."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.export.checkpoint import Float, Shapes, check_content, settings_of
from voxturn.export.decoder.gguf_header import check_header
from voxturn.export.quantize import BlockWeight
from voxturn.runtime.errors import CorruptModel, ExportFailed

_EMBEDDING, _FREQUENCIES = "model.embed_tokens.weight", "rope_freqs.weight"
_GGUF_ARCHITECTURES = ("llama", "qwen2", "qwen3")
GGUF_NAMES = {
    "token_embd.weight": _EMBEDDING,
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
GGUF_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_GGUF_CONFIG = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
    "context_length": "max_position_embeddings",
    "vocab_size": "vocab_size",
}


_GGUF_DEFAULTS: dict[str, float | None] = {
    "head_dim": None,
    "num_key_value_heads": None,
    "rope_theta": 10000.0,
}
"""What llama.cpp takes where the metadata have no value; None: what follows from the number of
heads."""


class GgufCheckpoint:
    """A GGUF file of the architectures llama, qwen2 and qwen3, under Hugging Face names and in
    their row order.

    llama.cpp stores the rows of a llama's Q and K pairwise interleaved for its rotary embedding;
    they are put back here, which only moves rows and so loses nothing.
    """

    def __init__(self, path: Path) -> None:
        import gguf

        check_content(path)
        self._path = path
        try:
            check_header(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # damaged sizes overflow before they are refused
                self._reader = gguf.GGUFReader(str(path))
            architecture = self.field("general.architecture")
            _check_places(self._reader.tensors, path.stat().st_size)
        except (OSError, ValueError, KeyError, IndexError, OverflowError) as exc:
            raise CorruptModel(
                f"{path}: not a whole GGUF file ({exc}); pull the model again"
            ) from exc
        if architecture not in _GGUF_ARCHITECTURES:
            raise ExportFailed(
                f"{path}: GGUF architecture {str(architecture)[:80]!r} is not supported; supported: "
                f"{', '.join(_GGUF_ARCHITECTURES)}"
            )
        self.family = architecture
        self._tensors = {self._name(tensor.name): tensor for tensor in self._reader.tensors}
        self._check_types(path)
        with settings_of(path):
            self._read_config(path)

    def _read_config(self, path: Path) -> None:
        """The settings under Hugging Face's names; those that follow from the tensors, too."""
        names = {f"{self.family}.{theirs}": ours for theirs, ours in _GGUF_CONFIG.items()}
        self.config = {
            ours: self.field(key) for key, ours in names.items() if key in self._reader.fields
        }
        for missing in _GGUF_DEFAULTS.keys() - self.config.keys():
            self.config[missing] = _GGUF_DEFAULTS[missing]
        self._read_scaling()
        self.config["tie_word_embeddings"] = "lm_head.weight" not in self._tensors
        if _EMBEDDING not in self._tensors:
            raise CorruptModel(f"{path}: has no token_embd.weight; pull the model again")
        self.config.setdefault("vocab_size", self.shapes()[_EMBEDDING][0])

    def _check_types(self, path: Path) -> None:
        unread = {
            kind
            for kind in {tensor.tensor_type for tensor in self._tensors.values()}
            if not _readable(kind)
        }
        wrong = [tensor for tensor in self._tensors.values() if tensor.tensor_type in unread]
        if wrong:
            raise ExportFailed(
                f"{path}: {wrong[0].name} is stored as {wrong[0].tensor_type.name}, one of {len(wrong)} weights that "
                "cannot be read; use another file of the model"
            )

    def _read_scaling(self) -> None:
        """Rotary scaling: what the metadata calls it, or a tensor of divisors, which is no weight."""
        key = f"{self.family}.rope.scaling.type"
        kind = self.field(key) if key in self._reader.fields else "none"
        if kind != "none":
            self.config["rope_scaling"] = {"rope_type": kind}
        elif _FREQUENCIES in self._tensors:
            divisors = tuple(self.array(_FREQUENCIES).reshape(-1).tolist())
            self.config["rope_scaling"] = {"rope_type": "divisors", "divisors": divisors}
            del self._tensors[_FREQUENCIES]

    def field(self, key: str) -> Any:
        """The value of a metadata key; KeyError if the file does not have it.

        Raises `CorruptModel`.
        """
        field = self._reader.fields[key]
        try:
            return field.contents()
        except (ValueError, IndexError) as exc:
            raise CorruptModel(
                f"{self._path}: {key[:80]} is damaged; pull the model again"
            ) from exc

    @staticmethod
    def _name(name: str) -> str:
        if name in GGUF_NAMES:
            return GGUF_NAMES[name]
        prefix, layer, part, kind = (*name.split("."), "", "", "")[:4]
        if prefix != "blk" or part not in GGUF_LAYER_NAMES:
            return name
        return f"model.layers.{layer}.{GGUF_LAYER_NAMES[part]}.{kind}"

    def names(self) -> set[str]:
        return set(self._tensors)

    def shapes(self) -> Shapes:
        return {
            name: tuple(int(n) for n in reversed(tensor.shape))
            for name, tensor in self._tensors.items()
        }

    def array(self, name: str) -> Float:
        import gguf

        tensor = self._tensors[name]
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        return np.ascontiguousarray(
            values[self._row_order(name, len(values))] if values.ndim == 2 else values
        )

    def blocks(self, name: str) -> BlockWeight | None:
        """Q4_1 blocks: 32 weights as `d * q + m` (half-precision `d`, `m`), so scale `d` and zero
        point `-m / d`.

        Where all weights of a block are equal, `d` is 0: codes 0, scale `m` and zero point -1.
        """
        tensor = self._tensors[name]
        if tensor.tensor_type.name != "Q4_1":
            return None
        raw = np.asarray(tensor.data)
        rows = raw.shape[0]
        raw = raw.reshape(rows, -1, 20)
        d = raw[..., 0:2].copy().view(np.float16).astype(np.float32)[..., 0]
        m = raw[..., 2:4].copy().view(np.float16).astype(np.float32)[..., 0]
        packed = raw[..., 4:]
        codes = np.concatenate([packed & 15, packed >> 4], axis=-1)
        flat = d == 0
        zeros = np.where(flat, -1.0, -m / np.where(flat, 1.0, d)).astype(np.float32)
        codes[flat], d[flat] = 0, m[flat]
        order = self._row_order(name, rows)
        return BlockWeight(codes[order], d[order], zeros[order], 4, codes.shape[1] * 32)

    def _row_order(self, name: str, rows: int) -> npt.NDArray[np.intp]:
        order = np.arange(rows)
        if self.family != "llama":
            return order
        if ".q_proj." in name:
            heads = int(self.config["num_attention_heads"])
        elif ".k_proj." in name:
            heads = int(self.config["num_key_value_heads"])
        else:
            return order
        return order.reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(-1)


def _check_places(tensors: Sequence[Any], size: int) -> None:
    """Raise `ValueError` where two tensors share bytes, or one goes beyond the file's end."""
    end = 0
    for tensor in sorted(tensors, key=lambda tensor: int(tensor.data_offset)):
        if tensor.data_offset < end:
            raise ValueError(f"{tensor.name[:80]} begins within another tensor")
        end = int(tensor.data_offset) + int(tensor.n_bytes)
    if end > size:
        raise ValueError("its tensors go beyond its end")


def _readable(kind: Any) -> bool:
    """Whether a GGML type can be dequantised; asked of the library with one block of zeros."""
    import gguf

    try:
        gguf.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
    except NotImplementedError:
        return False
    return True
