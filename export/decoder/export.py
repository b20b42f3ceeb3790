"""The exporters `decoder` and `qwen3`: a GGUF file or a Hugging Face folder to a decoder-only
model, tokenizer and manifest.

What will run it is a choice (`--for`); a family is a row in `export.decoder.families`.

    onnx         `export.decoder.fused`: ONNX Runtime's contrib operators, quantised weights; the fast one on a CPU
    tensorrt     `export.decoder.portable`: standard operators alone, fp32, fp16, bf16, or weights in 8 or 4 bits;
                 TensorRT 11 and RTX
    openvino     the same without `TensorScatter`, which OpenVINO and TensorRT 10 do not know
    ctranslate2  model.bin, config.json, vocabulary.json by CTranslate2's own converter, of Hugging Face folders alone
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from voxturn.export.artifact import write_manifest
from voxturn.export.checkpoint import check_content, copy_tokenizer, settings_of, shortened
from voxturn.export.ctranslate2 import convert_folder
from voxturn.export.decoder import parity
from voxturn.export.decoder.checkpoint import (
    Checkpoint,
    FileCheckpoint,
    fitted,
    open_checkpoint,
)
from voxturn.export.decoder.dialogue import chat_form as chat_form
from voxturn.export.decoder.dialogue import dialogue_properties
from voxturn.export.decoder.families import (
    ENGINES,
    PRECISIONS,
    DecoderConfig,
    engine_for,
    positive,
)
from voxturn.export.decoder.fused import FusedDecoder
from voxturn.export.decoder.gguf import GgufCheckpoint
from voxturn.export.decoder.graph import DecoderGraph
from voxturn.export.decoder.portable import PortableDecoder, ScatterElementsDecoder
from voxturn.export.decoder.tokenizer import read_tokenizer as gguf_tokenizer
from voxturn.runtime.errors import CorruptModel, ExportFailed, UsageError
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.text.tokenizer import read_tokenizer

GRAPHS = {"token_decoder": "decoder.onnx"}
_BUILDERS: dict[str, type[DecoderGraph]] = dict(
    zip(ENGINES, (FusedDecoder, ScatterElementsDecoder, PortableDecoder), strict=True)
)


def build_decoder(
    checkpoint: Checkpoint, precision: str, path: Path, engine: str = "onnx"
) -> DecoderConfig:
    """Write the graph for `checkpoint` to `path` (and `path.data`).

    Raises `ExportFailed` with all missing names, `UsageError` for a precision that the engine's
    graphs have not.
    """
    family, config = fitted(checkpoint)
    builder, chosen = _BUILDERS[engine], PRECISIONS[precision]
    can = [
        name
        for name, some in PRECISIONS.items()
        if some.bits in builder.bits and some.half in builder.halves
    ]
    if precision not in can:
        raise UsageError(f"a graph for {engine} cannot be {precision}; it can be {', '.join(can)}")
    builder(checkpoint, family, config, chosen, path).build()
    return config


@dataclass(frozen=True)
class Opened:
    """A checkpoint on the disk, compared with its own configuration, and its tokenizer."""

    path: Path
    checkpoint: FileCheckpoint
    config: DecoderConfig
    tokenizer: Tokenizer
    dialogue: Mapping[str, Any]
    """The properties that say how a dialogue is written: `export.decoder.dialogue`."""

    @classmethod
    def open(cls, path: Path) -> Opened:
        """Raises `CorruptModel` or `ExportFailed`, with all tensors that are missing, left over or
        of another shape."""
        checkpoint = open_checkpoint(path)
        family, config = fitted(checkpoint)
        if family.positions:
            raise ExportFailed(f"{path}: a {checkpoint.family} is exported with its XTTS v2 alone")
        wanted, present = (
            family.shapes(config, positive(checkpoint.config, "intermediate_size")),
            checkpoint.shapes(),
        )
        wrong = [
            f"{n} is {list(present[n])}, not {list(shape)}"
            for n, shape in wanted.items()
            if present[n] != shape
        ]
        if wrong:
            raise ExportFailed(
                f"{path}: tensors do not fit the configuration: {'; '.join(shortened(wrong))}; pull the model again"
            )
        tokenizer = _tokenizer(path, checkpoint, config)
        with settings_of(path):
            dialogue = dialogue_properties(path, checkpoint, tokenizer, config.vocabulary)
        return cls(path, checkpoint, config, tokenizer, dialogue)


def _tokenizer(path: Path, checkpoint: FileCheckpoint, config: DecoderConfig) -> Tokenizer:
    if isinstance(checkpoint, GgufCheckpoint):
        tokenizer = gguf_tokenizer(checkpoint)
    elif not (path / "tokenizer.json").exists():
        raise CorruptModel(f"{path}: tokenizer.json is missing; pull the model again")
    else:
        check_content(path / "tokenizer.json")
        try:
            tokenizer = read_tokenizer(path / "tokenizer.json")
        except Exception as exc:  # the library raises a bare Exception
            raise CorruptModel(
                f"{path}: tokenizer.json is not a tokenizer ({exc}); pull the model again"
            ) from exc
    if (size := tokenizer.get_vocab_size()) > config.vocabulary:
        raise CorruptModel(
            f"{path}: the tokenizer has {size} tokens, the model {config.vocabulary}; pull it again"
        )
    return tokenizer


def export(
    checkpoint: Path,
    source: Manifest,
    target: Path,
    precision: str,
    progress: Progress,
    engine: str = "",
) -> None:
    """Write the model, the tokenizer and the manifest into the empty folder `target`.

    Without an `engine` the precision says it. Raises `CorruptModel` or `ExportFailed`, `UsageError`
    for a precision that the engine has not.
    """
    engine = engine or engine_for(precision)
    what = f"export {source.model} {engine} {precision}"
    progress(what, 0, 2)
    if engine == "ctranslate2":
        opened = _convert(checkpoint, target, precision)
    else:
        opened = Opened.open(checkpoint)
        build_decoder(opened.checkpoint, precision, target / GRAPHS["token_decoder"], engine)
    progress(what, 1, 2)
    write_properties(target, source, opened, precision, engine)
    progress(what, 2, 2)


def _convert(checkpoint: Path, target: Path, precision: str) -> Opened:
    """Write CTranslate2's files. Raises `ExportFailed` for GGUF files, and for Llama 3.1's rotary
    scaling.

    CTranslate2 4.8 converts that scaling, and computes as if there were none.
    """
    if not checkpoint.is_dir() or next(checkpoint.glob("*.gguf"), None):
        raise ExportFailed(
            f"{checkpoint}: CTranslate2 converts Hugging Face folders only; use --for onnx for GGUF"
        )
    opened = Opened.open(checkpoint)
    if opened.config.rope_scaling is not None:
        raise ExportFailed(
            f"{checkpoint}: CTranslate2 leaves out the model's rotary scaling; use --for onnx or --for tensorrt"
        )
    convert_folder(checkpoint, target, precision, checkpoint)
    return opened


def write_properties(
    target: Path, source: Manifest, opened: Opened, precision: str, engine: str
) -> None:
    """Write the tokenizer and the manifest beside a model that is written already."""
    checkpoint = opened.checkpoint
    if isinstance(checkpoint, GgufCheckpoint):
        opened.tokenizer.save(str(target / "tokenizer.json"))
    else:
        copy_tokenizer(opened.path / "tokenizer.json", target / "tokenizer.json")
    properties = {
        **asdict(opened.config),
        **opened.dialogue,
        "family": checkpoint.family,
        "engine": engine,
    }
    graphs = GRAPHS if engine in ENGINES else {}
    reached = parity.decoder_reached(target, checkpoint, opened.config, precision)
    synthetic = bool(checkpoint.config.get("voxturn_synthetic", False))
    write_manifest(
        target,
        source,
        kind="decoder",
        task="text-generation",
        precision=precision,
        graphs=graphs,
        properties=properties,
        reached=reached,
        engine=engine,
        synthetic=synthetic,
    )
