"""What an artifact is and what its graphs take and give: the `manifest.json` beside the files.

One declaration per tensor; configurations and run-time checks derive from it. A graph's role means
one contract:

    token_decoder               ids and key/value buffers to `logits` and `hidden`: `protocols.DecoderExecutor`
    whisper_encoder             log-mel features to the keys and values that `whisper_decoder` looks at
    whisper_decoder             ids and key/value buffers to `logits`, looking at an encoder's output
    voice_activity_detector     windows of samples to probabilities of speech
    acoustic_encoder            phoneme ids to latents, a frame each
    text_encoder                phoneme ids to a memory, and every state of a `mel_step` before the first
    mel_step                    memory and states to some frames, the chance of the end, the next states
    mel_refiner                 a step's frames to latents, a frame each
    waveform_decoder            latents, a frame each, to their samples
    windowed_waveform_decoder   latents and a window of frames to the window's samples
    sequence_waveform_decoder   whole sequences of latents to their samples, in batches
    conditioning_encoder        a recording's mel to what a voice is conditioned on
    speaker_encoder             a recording's mel to a speaker's embedding

A dialect says who can read a graph, or a folder without graphs; executors name those that they
read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.errors import (
    CorruptModel,
    ExecutorUnavailable,
    InferenceFailed,
    ModelNotInstalled,
)
from voxturn.runtime.files import is_inside, read_json

MANIFEST = "manifest.json"
FORMAT = 2
READABLE = (1, FORMAT)

ONNX = "onnx"
"""Standard operators, no state."""

ONNX_CONTRIB = "onnx-contrib"
"""A decoder over ONNX Runtime's contrib operators; its key/value buffers are as long as the caller
makes them."""

ONNX_TENSOR_SCATTER = "onnx-tensor-scatter"
"""A decoder in standard operators of opset 24 with buffers of a fixed size: for TensorRT and other
GPU executors."""

ONNX_SCATTER_ELEMENTS = "onnx-scatter-elements"
"""The same without `TensorScatter`: for OpenVINO and TensorRT 10."""

CTRANSLATE2 = "ctranslate2"
"""A folder in CTranslate2's format."""

SOURCE = "source"
"""A checkpoint as its source has it, which an exporter reads and no executor."""

FAKE = "fake"
"""No files at all: stages without models (`families/fake.py`)."""

WHOLE_POSITIONS = "whole_positions"
"""Property of artifacts whose graph counts positions in whole numbers: in bf16 others lose them in
a second of speech."""

OPENS_THOUGHT = "opens_thought"
"""Property of text models whose answers begin within a thought: what comes before its end, as
`</think>`, is not spoken."""

DECODER_DIALECTS = {
    "onnx": ONNX_CONTRIB,
    "openvino": ONNX_SCATTER_ELEMENTS,
    "tensorrt": ONNX_TENSOR_SCATTER,
}
"""The dialect of a decoder's graph by the engine that it was exported for."""


def decoder_dialect(engine: str) -> str:
    """The dialect of a decoder that was exported for an engine, as exporters name it.

    Raises `KeyError`.
    """
    return DECODER_DIALECTS[engine.removesuffix("-onnx")]


@dataclass(frozen=True)
class TensorSpec:
    """Name, numpy dtype name and shape of a tensor; a string dimension is free, equal names are
    equal sizes."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def check(self, value: np.ndarray[Any, Any], where: str) -> None:
        """Raise `InferenceFailed` that says what was expected unless `value` fits."""
        fits = len(value.shape) == len(self.shape) and all(
            isinstance(want, str) or want == got
            for want, got in zip(self.shape, value.shape, strict=True)
        )
        if not fits or value.dtype != np.dtype(self.dtype):
            raise InferenceFailed(
                f"{where}: tensor {self.name!r} must be {self.dtype}{list(self.shape)}, "
                f"not {value.dtype}{list(value.shape)}"
            )


@dataclass(frozen=True)
class ModelContract:
    """A graph's file, its tensors and the dialect that it is written in."""

    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    dialect: str = ONNX

    def check(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Raise `InferenceFailed` where an input is missing or is not as the contract says."""
        for spec in self.inputs:
            if spec.name not in inputs:
                raise InferenceFailed(f"{self.file}: input {spec.name!r} is missing")
            spec.check(inputs[spec.name], self.file)


@dataclass(frozen=True)
class Manifest:
    """What an artifact says of itself.

    `model` and `source` tie it to the registry; `kind` names its family, `task` what it does,
    `dialect` the format of its files; `files` are sha256 by relative name, `sizes` their bytes,
    which earlier versions did not write; `graphs` contracts by role; `properties` sizes, token ids
    and rates that the runtime needs; `reached` the tolerances that the export measured.
    """

    model: str
    kind: str
    precision: str
    source: Mapping[str, str]
    files: Mapping[str, str]
    graphs: Mapping[str, ModelContract] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    reached: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = False
    task: str = ""
    dialect: str = ONNX
    sizes: Mapping[str, int] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """sha256 over the files' hashes: what a trace calls the artifact's hash."""
        lines = "".join(f"{name} {value}\n" for name, value in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return (
            json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, ensure_ascii=False)
            + "\n"
        )

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read `folder/manifest.json`. Raises `ModelNotInstalled` or `CorruptModel`."""
        path = folder / MANIFEST
        try:
            raw = read_json(path)
        except FileNotFoundError as exc:
            raise ModelNotInstalled(
                f"{folder}: no artifact here, which is a folder with a {MANIFEST}; "
                "run `voxturn models pull`"
            ) from exc
        except (OSError, ValueError) as exc:
            raise CorruptModel(
                f"{path}: not a manifest ({exc}); export it again, or pull it with --again"
            ) from exc
        if not isinstance(raw, dict) or raw.get("format") not in READABLE:
            raise CorruptModel(
                f"{path}: written by another version of voxturn; export it again, or pull it with --again"
            )
        try:
            raw.setdefault("sizes", {})
            if not all(isinstance(raw[key], dict) for key in _TABLES):
                raise TypeError("a table is something else")
            described = _described(raw)
            graphs = {role: _contract(graph) for role, graph in described["graphs"].items()}
            manifest = cls(**described | {"graphs": graphs})
            _check_types(manifest)
        except (TypeError, KeyError, AttributeError) as exc:
            raise CorruptModel(
                f"{path}: a field is missing or unknown ({_line(exc)}); export it again, or pull it with --again"
            ) from exc
        return manifest


_TABLES = ("source", "files", "sizes", "graphs", "properties", "reached", "versions")

_TASKS = {
    "decoder": "text-generation",
    "silero": "voice-activity",
    "smart-turn": "end-of-turn",
    "vits": "text-to-speech",
    "whisper": "speech-to-text",
    "xtts": "text-to-speech",
}
"""The tasks of the kinds that format 1 had, and of pulled folders."""

_ROLES = {
    "decoder": {"decoder": "token_decoder"},
    "vits": {"acoustic": "acoustic_encoder", "decoder": "waveform_decoder"},
    "whisper": {"encoder": "whisper_encoder", "decoder": "whisper_decoder"},
    "xtts": {
        "gpt": "token_decoder",
        "conditioning": "conditioning_encoder",
        "speaker": "speaker_encoder",
        "vocoder": "windowed_waveform_decoder",
        "vocoder_whole": "sequence_waveform_decoder",
    },
}
"""Of format 1: its roles by kind, which meant different contracts under one name."""

_READY_FILES = {
    "model.bin": ("whisper", CTRANSLATE2),
    "silero_vad.onnx": ("silero", ONNX),
    "smart_turn.onnx": ("smart-turn", ONNX),
}
"""Files of pulled models that run as they are, and the kind and dialect of their folder."""


def _described(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's table in today's words: pulled folders say what they are, old roles have their
    new names."""
    table = dict(raw)
    if table["kind"] == "checkpoint":
        kinds = [_READY_FILES[name] for name in table["files"] if name in _READY_FILES]
        table["kind"], table["dialect"] = kinds[0] if kinds else ("checkpoint", SOURCE)
        table["task"] = _TASKS.get(table["kind"], "")
    if table["format"] == FORMAT:
        return table
    kind, engine = table["kind"], table["properties"].get("engine", "onnx")
    table["task"] = _TASKS.get(kind, "")
    if engine == CTRANSLATE2:
        table["dialect"] = CTRANSLATE2
    graphs = {}
    for old, graph in table["graphs"].items():
        role = _ROLES.get(kind, {}).get(old, old)
        decodes = role in ("token_decoder", "whisper_decoder")
        graphs[role] = graph | {"dialect": decoder_dialect(engine) if decodes else ONNX}
    return table | {"graphs": graphs, "format": FORMAT}


def _check_types(manifest: Manifest) -> None:
    """Raise `TypeError` for a field of another type, `properties` apart: families read them, by
    `reading`."""
    texts = [manifest.model, manifest.kind, manifest.precision, manifest.task, manifest.dialect]
    for table in (manifest.source, manifest.files, manifest.versions):
        texts += [*table, *table.values()]
    for role, graph in manifest.graphs.items():
        texts += [role, graph.file, graph.dialect]
    for text in texts:
        if not isinstance(text, str) or not text.isprintable() or len(text.encode()) > _LONGEST:
            raise TypeError(f"{str(text)[:80]!r} is no name")
    for name in (*manifest.files, *(graph.file for graph in manifest.graphs.values())):
        if not is_inside(name):
            raise TypeError(f"{name!r} is no name of a file in its folder")
    for name, size in manifest.sizes.items():
        if name not in manifest.files or type(size) is not int or size < 0:
            raise TypeError(f"{size!r} is no size of {name[:80]!r}")
    for figure in manifest.reached.values():
        if isinstance(figure, bool) or not isinstance(figure, int | float):
            raise TypeError(f"{figure!r} is no figure")
    if not isinstance(manifest.synthetic, bool):
        raise TypeError(f"{manifest.synthetic!r} is not true or false")


_LONGEST = 255
"""Bytes of a name: what a file's may have."""

_DTYPES = frozenset(
    {"bfloat16", "bool", "float16", "float32", "float64", "int8", "int32", "int64", "uint8"}
)


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """For reading an artifact's properties and contracts: raises `CorruptModel` where what is read
    is not there, or not what it must be."""
    try:
        yield
    except _UNREADABLE as exc:
        raise CorruptModel(
            f"{folder}: its manifest lacks something or is damaged ({_line(exc)}); export it again, "
            "or pull it with --again"
        ) from exc


_UNREADABLE = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    StopIteration,
    EOFError,
)


_MOST = 2**31 - 1
"""Of any size of a model."""


def whole(properties: Mapping[str, Any], key: str, least: int = 1, most: int = _MOST) -> int:
    """A whole number among properties, from `least` to `most`.

    Raises `KeyError`, `TypeError` or `ValueError`: see `reading`.
    """
    value = properties[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or int(value) != value:
        raise TypeError(f"{key} is not a whole number")
    if not least <= value <= most:
        raise ValueError(f"{key} is not between {least} and {most}")
    return int(value)


def _line(exc: BaseException) -> str:
    """An error in one line."""
    return " ".join(f"{type(exc).__name__}: {exc}".split())[:200]


def _contract(raw: Mapping[str, Any]) -> ModelContract:
    def specs(key: str) -> tuple[TensorSpec, ...]:
        if any(t["dtype"] == "bfloat16" for t in raw[key]):
            try:
                import ml_dtypes  # noqa: F401  gives numpy the type
            except ImportError as exc:
                raise ExecutorUnavailable(
                    f"{raw['file']}: bfloat16 needs ml_dtypes; pip install 'voxturn[gpu]'"
                ) from exc
        return tuple(_tensor(t) for t in raw[key])

    return ModelContract(raw["file"], specs("inputs"), specs("outputs"), raw["dialect"])


def _tensor(raw: Mapping[str, Any]) -> TensorSpec:
    tensor = TensorSpec(raw["name"], raw["dtype"], tuple(raw["shape"]))
    sizes = all(isinstance(n, str) or (type(n) is int and 0 <= n <= _MOST) for n in tensor.shape)
    if not isinstance(tensor.name, str) or tensor.dtype not in _DTYPES or not sizes:
        raise TypeError(f"tensor {tensor.name!r} is none")
    return tensor


def sha256_of(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
