"""What a Whisper is: its sizes, the token ids that decoding needs, and every parameter with its
shape.

Source of names and shapes: transformers' `modeling_whisper.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from voxturn.export.checkpoint import Float, Shapes
from voxturn.runtime.errors import ExportFailed

PRECISIONS = {
    "ctranslate2": ("int8", "fp16", "fp32"),
    "onnx": ("int8", "fp32"),
    "tensorrt": ("fp16", "fp32"),
}
"""What each target can be exported to, the default first."""
_MOST = 1 << 20
"""Of any size: the vocabulary, which is the largest, has 51,866 tokens."""
EMBEDDING = "model.decoder.embed_tokens.weight"
CONFIG_KEYS = {
    "mels": "num_mel_bins",
    "width": "d_model",
    "encoder_layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "encoder_heads": "encoder_attention_heads",
    "decoder_heads": "decoder_attention_heads",
    "encoder_ffn": "encoder_ffn_dim",
    "decoder_ffn": "decoder_ffn_dim",
    "vocabulary": "vocab_size",
    "audio_positions": "max_source_positions",
    "text_positions": "max_target_positions",
}
"""The fields of `Sizes` under the names of transformers' `WhisperConfig`."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of a Whisper.

    `audio_positions` are the encoder's (two frames each), `text_positions` the decoder's.
    """

    mels: int
    width: int
    encoder_layers: int
    decoder_layers: int
    encoder_heads: int
    decoder_heads: int
    encoder_ffn: int
    decoder_ffn: int
    vocabulary: int
    audio_positions: int
    text_positions: int


def check_sizes(where: object, sizes: Sizes) -> None:
    """Raise `ExportFailed` for sizes that no Whisper has; whether the tensors have them is asked
    later."""
    for name, value in asdict(sizes).items():
        if not 0 < value <= _MOST:
            raise ExportFailed(f"{where}: has {name} {value:,}, which no Whisper has; get it again")
    if sizes.width % sizes.encoder_heads or sizes.width % sizes.decoder_heads:
        raise ExportFailed(
            f"{where}: a width of {sizes.width} is not shared by {sizes.encoder_heads} and {sizes.decoder_heads} heads"
        )


@dataclass(frozen=True)
class Marks:
    """Token ids that decoding needs, and the (layer, head) pairs that follow the audio; empty where
    not given.

    A Whisper that is not `multilingual` knows English alone: it has no languages, and its prompts
    name none and no task.
    """

    start: int
    end: int
    no_speech: int
    no_timestamps: int
    languages: Mapping[str, int]
    suppress: tuple[int, ...]
    suppress_begin: tuple[int, ...]
    alignment_heads: tuple[tuple[int, int], ...]
    multilingual: bool


class Tensors(Protocol):
    """A state dict under transformers' names."""

    def shapes(self) -> Shapes: ...

    def array(self, name: str) -> Float: ...


def shapes(sizes: Sizes) -> Shapes:
    """Every parameter of a Whisper and its shape."""
    width = sizes.width
    out: Shapes = {
        "model.encoder.conv1.weight": (width, sizes.mels, 3),
        "model.encoder.conv2.weight": (width, width, 3),
        "model.encoder.embed_positions.weight": (sizes.audio_positions, width),
        "model.decoder.embed_positions.weight": (sizes.text_positions, width),
        EMBEDDING: (sizes.vocabulary, width),
    }
    out |= {f"model.encoder.conv{i}.bias": (width,) for i in (1, 2)}
    for side, layers, inner, attentions in (
        ("encoder", sizes.encoder_layers, sizes.encoder_ffn, ("self_attn",)),
        ("decoder", sizes.decoder_layers, sizes.decoder_ffn, ("self_attn", "encoder_attn")),
    ):
        norms = [f"model.{side}.layer_norm"]
        for layer in (f"model.{side}.layers.{i}" for i in range(layers)):
            norms += [f"{layer}.{norm}_layer_norm" for norm in ("final", *attentions)]
            for attention in attentions:
                linears = [f"{layer}.{attention}.{part}_proj" for part in ("q", "k", "v", "out")]
                out |= {f"{linear}.weight": (width, width) for linear in linears}
                out |= {
                    f"{linear}.bias": (width,)
                    for linear in linears
                    if not linear.endswith("k_proj")
                }
            out |= {f"{layer}.fc1.weight": (inner, width), f"{layer}.fc1.bias": (inner,)}
            out |= {f"{layer}.fc2.weight": (width, inner), f"{layer}.fc2.bias": (width,)}
        out |= {f"{norm}.{part}": (width,) for norm in norms for part in ("weight", "bias")}
    return out
