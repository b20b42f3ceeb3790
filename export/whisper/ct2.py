"""CTranslate2's `model.bin` of a Whisper read back under transformers' names, float32 on demand.

The file: version, specification's name and revision, then variables (name, shape, type, bytes) and
aliases, little endian. int8 and int16 weights lie beside their scales, by which they are divided;
queries, keys and values lie in one matrix, one after the other (keys and values in the
cross-attention). Sources: CTranslate2 4.8, `specs/model_spec.py` (`_serialize`, `_quantize`) and
`specs/whisper_spec.py`.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from voxturn.export.checkpoint import Float, Shapes, check_content, check_layers, settings_of
from voxturn.export.whisper.spec import Sizes, check_sizes, shapes
from voxturn.runtime.errors import CorruptModel, ExportFailed

_VERSIONS = range(4, 7)
_MOST_VARIABLES = 1 << 14
"""Ten times those of a large Whisper."""
_TYPES = tuple(
    np.dtype(t) for t in (np.float32, np.int8, np.int16, np.int32, np.float16, ml_dtypes.bfloat16)
)
_OUTSIDE = {
    "embed_positions.weight": "position_encodings/encodings",
    "embed_tokens.weight": "embeddings/weight",
    "layer_norm.weight": "layer_norm/gamma",
    "layer_norm.bias": "layer_norm/beta",
}
"""Names outside the layers, where they differ by more than the dot."""
_INSIDE = {
    "self_attn_layer_norm": ("self_attention/layer_norm", 0, 1),
    "self_attn.q_proj": ("self_attention/linear_0", 0, 3),
    "self_attn.k_proj": ("self_attention/linear_0", 1, 3),
    "self_attn.v_proj": ("self_attention/linear_0", 2, 3),
    "self_attn.out_proj": ("self_attention/linear_1", 0, 1),
    "encoder_attn_layer_norm": ("attention/layer_norm", 0, 1),
    "encoder_attn.q_proj": ("attention/linear_0", 0, 1),
    "encoder_attn.k_proj": ("attention/linear_1", 0, 2),
    "encoder_attn.v_proj": ("attention/linear_1", 1, 2),
    "encoder_attn.out_proj": ("attention/linear_2", 0, 1),
    "final_layer_norm": ("ffn/layer_norm", 0, 1),
    "fc1": ("ffn/linear_0", 0, 1),
    "fc2": ("ffn/linear_1", 0, 1),
}
"""Parts of a layer: the variable, and which of how many equal shares of its rows."""
_HEAD = "decoder/projection/"
"""The token embedding again."""
_NAME = re.compile(r"model\.(?P<side>encoder|decoder)\.(layers\.(?P<layer>\d+)\.)?(?P<rest>.+)")


@dataclass(frozen=True)
class Place:
    """Where a parameter lies: share `share` of `shares` of a variable's rows."""

    variable: str
    share: int = 0
    shares: int = 1


def place_of(name: str) -> Place:
    """Where the parameter that transformers calls `name` lies."""
    match = _NAME.fullmatch(name)
    assert match is not None  # names are `export.whisper.spec.shapes`'
    side, layer, rest = match["side"], match["layer"], match["rest"]
    if layer is None:
        return Place(f"{side}/{_OUTSIDE.get(rest, rest.replace('.', '/'))}")
    part, kind = rest.rsplit(".", 1)
    variable, share, shares = _INSIDE[part]
    if "norm" in part:
        kind = {"weight": "gamma", "bias": "beta"}[kind]
    return Place(f"{side}/layer_{layer}/{variable}/{kind}", share, shares)


@dataclass(frozen=True)
class _Variable:
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        return math.prod(self.shape)


class Ct2Tensors:
    """A `model.bin` as a state dict under transformers' names."""

    def __init__(self, path: Path) -> None:
        self._file = ModelBin(path)
        with settings_of(path):
            self.sizes = _sizes(self._file)
        check_layers(
            path, self.sizes.encoder_layers + self.sizes.decoder_layers, len(self._file.names())
        )
        check_sizes(path, self.sizes)
        self._places = {name: place_of(name) for name in shapes(self.sizes)}

    def shapes(self) -> Shapes:
        """The parameters that are there, and what no parameter is made of, under its own name."""
        names = self._file.names()
        used = {place.variable for place in self._places.values()}
        known = used | {f"{variable}_scale" for variable in used}
        out = {name: self._file.shape(name) for name in names - known if not name.startswith(_HEAD)}
        for name, place in self._places.items():
            if place.variable in names:
                rows, *rest = self._file.shape(place.variable)
                out[name] = (rows // place.shares, *rest)
        return out

    def array(self, name: str) -> Float:
        return self._file.array(self._places[name])


def _sizes(file: ModelBin) -> Sizes:
    width, mels = file.shape("encoder/conv1/weight")[:2]
    return Sizes(
        mels=mels,
        width=width,
        encoder_layers=file.layers("encoder"),
        decoder_layers=file.layers("decoder"),
        encoder_heads=file.number("encoder/num_heads"),
        decoder_heads=file.number("decoder/num_heads"),
        encoder_ffn=file.shape("encoder/layer_0/ffn/linear_0/weight")[0],
        decoder_ffn=file.shape("decoder/layer_0/ffn/linear_0/weight")[0],
        vocabulary=file.shape("decoder/embeddings/weight")[0],
        audio_positions=file.shape("encoder/position_encodings/encodings")[0],
        text_positions=file.shape("decoder/position_encodings/encodings")[0],
    )


class ModelBin:
    """The variables of a `model.bin`, mapped into memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        check_content(path)
        with path.open("rb") as file:
            empty = path.stat().st_size == 0
            self._data = memoryview(
                b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            )
        self._at = 0
        self._variables: dict[str, _Variable] = {}
        try:
            self._read()
        except (struct.error, IndexError, UnicodeDecodeError) as exc:
            raise CorruptModel(
                f"{path}: is cut short or damaged at byte {self._at}; get the checkpoint again"
            ) from exc

    def names(self) -> set[str]:
        """Every variable that is not a setting; aliases too."""
        return {name for name, variable in self._variables.items() if variable.shape}

    def shape(self, name: str) -> tuple[int, ...]:
        """A variable's shape. Raises `CorruptModel` if there is none of that name."""
        return self._find(name).shape

    def layers(self, side: str) -> int:
        """How many layers the encoder or the decoder has."""
        return len(
            {
                match[1]
                for name in self._variables
                if (match := re.match(rf"{side}/layer_(\d+)/", name))
            }
        )

    def number(self, name: str) -> int:
        """A setting."""
        return int(self._raw(self._find(name)))

    def array(self, place: Place) -> Float:
        """A parameter, float32."""
        variable = self._find(place.variable)
        rows = variable.shape[0] // place.shares
        mine = slice(place.share * rows, (place.share + 1) * rows)
        values = self._raw(variable)[mine].astype(np.float32)
        if np.issubdtype(variable.dtype, np.integer):
            scale = self._scale(place.variable, variable.shape[0])
            values /= scale[mine].reshape(-1, *[1] * (values.ndim - 1)) if scale.ndim else scale
        return values

    def _scale(self, name: str, rows: int) -> npt.NDArray[Any]:
        """What the rows of an integer variable are divided by."""
        scale = self._raw(self._find(f"{name}_scale"))
        if scale.shape not in ((), (rows,)) or not np.all(np.isfinite(scale) & (scale != 0)):
            raise CorruptModel(
                f"{self.path}: the scales of {name} are damaged; get the checkpoint again"
            )
        return scale

    def _find(self, name: str) -> _Variable:
        if name not in self._variables:
            raise CorruptModel(f"{self.path}: lacks {name}; get the checkpoint again")
        return self._variables[name]

    def _raw(self, variable: _Variable) -> npt.NDArray[Any]:
        return np.frombuffer(self._data, variable.dtype, variable.count, variable.offset).reshape(
            variable.shape
        )

    def _read(self) -> None:
        version = self._number("I")
        if version not in _VERSIONS:
            raise ExportFailed(
                f"{self.path}: CTranslate2 binary version {version} is not supported; convert it again"
            )
        name, _revision = self._text(), self._number("I")
        if name != "WhisperSpec":
            raise ExportFailed(f"{self.path}: holds a {name}, not a Whisper")
        for _ in range(self._count()):
            name, rank = self._text(), self._number("B")
            shape, kind, size = (
                tuple(self._number("I") for _ in range(rank)),
                self._number("B"),
                self._number("I"),
            )
            self._variables[name] = variable = _Variable(self._at, _TYPES[kind], shape)
            self._at += size
            if self._at > self._data.nbytes or size != variable.count * variable.dtype.itemsize:
                raise CorruptModel(
                    f"{self.path}: is cut short or damaged in {name}; get the checkpoint again"
                )
        for _ in range(self._count()):
            alias, name = self._text(), self._text()
            for suffix in ("", "_scale"):
                if name + suffix in self._variables:
                    self._variables[alias + suffix] = self._variables[name + suffix]

    def _count(self) -> int:
        count = self._number("I")
        if count > _MOST_VARIABLES:
            raise CorruptModel(
                f"{self.path}: would have {count:,} variables, more than any; get the checkpoint again"
            )
        return count

    def _number(self, kind: str) -> int:
        (value,) = struct.unpack_from("<" + kind, self._data, self._at)
        self._at += struct.calcsize("<" + kind)
        return int(value)

    def _text(self) -> str:
        size = self._number("H")
        (raw,) = struct.unpack_from(f"<{size}s", self._data, self._at)
        self._at += size
        return str(raw[:-1], "utf-8")
