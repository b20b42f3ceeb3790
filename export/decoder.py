"""The exporter `decoder`: a GGUF file or a Hugging Face folder to a decoder-only ONNX graph, tokenizer and manifest.

What the graph is made of is a choice (`--for`); a family is a row in `export.families`.

onnx        `export.decoder_fused`: ONNX Runtime's contrib operators, quantised weights; the fast one on a CPU
tensorrt    `export.decoder_portable`: standard operators alone, fp32 or fp16; TensorRT 11 and RTX
openvino    the same without `TensorScatter`, which OpenVINO and TensorRT 10 do not know
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from voxturn.export import parity
from voxturn.export.artifact import write_manifest
from voxturn.export.checkpoint import Checkpoint, GgufCheckpoint, SafetensorsCheckpoint, open_checkpoint
from voxturn.export.decoder_fused import FusedDecoder
from voxturn.export.decoder_graph import DecoderGraph
from voxturn.export.decoder_portable import PortableDecoder, ScatterElementsDecoder
from voxturn.export.families import ENGINES, FAMILIES, PRECISIONS, DecoderConfig
from voxturn.export.tokenizer import write_tokenizer
from voxturn.runtime.contract import Manifest
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.fetch import Progress

_GRAPHS: dict[str, type[DecoderGraph]] = dict(
    zip(ENGINES, (FusedDecoder, ScatterElementsDecoder, PortableDecoder), strict=True)
)


def build_decoder(checkpoint: Checkpoint, precision: str, path: Path, engine: str = "onnx") -> DecoderConfig:
    """Write the graph for `checkpoint` to `path` (and `path.data`). Raises `ExportFailed` with all missing names."""
    family = FAMILIES.get(checkpoint.family)
    if family is None:
        raise ExportFailed(f"model family {checkpoint.family!r} is not supported; supported: {', '.join(FAMILIES)}")
    builder, chosen = _GRAPHS[engine], PRECISIONS[precision]
    if chosen.bits not in builder.bits:
        others = [name for name, other in PRECISIONS.items() if other.bits in builder.bits]
        raise ExportFailed(f"a graph for {engine} cannot be {precision}; it can be {', '.join(others)}")
    config = DecoderConfig.from_checkpoint(checkpoint.config)
    wanted, present = family.names(config), checkpoint.names()
    unused = {family.head} if config.tied else set()
    if wanted - present or present - wanted - unused:
        raise ExportFailed(
            f"the checkpoint does not fit family {checkpoint.family!r}: "
            f"missing {sorted(wanted - present) or 'nothing'}, left over {sorted(present - wanted - unused) or 'nothing'}"
        )
    builder(checkpoint, family, config, chosen, path).build()
    return config


def export(
    checkpoint: Path, source: Manifest, target: Path, precision: str, progress: Progress, engine: str = "onnx"
) -> None:
    """Write `decoder.onnx`, the tokenizer and the manifest into the empty folder `target`."""
    opened = open_checkpoint(checkpoint)
    what = f"export {source.model} {precision}"
    progress(what, 0, 2)
    config = build_decoder(opened, precision, target / "decoder.onnx", engine)
    progress(what, 1, 2)
    write_properties(target, checkpoint, source, opened, config, precision, engine)
    progress(what, 2, 2)


def write_properties(
    target: Path,
    checkpoint: Path,
    source: Manifest,
    opened: SafetensorsCheckpoint | GgufCheckpoint,
    config: DecoderConfig,
    precision: str,
    engine: str,
) -> None:
    """Write the tokenizer and the manifest beside a model that is written already."""
    if isinstance(opened, GgufCheckpoint):
        write_tokenizer(opened, target / "tokenizer.json")
    elif not (checkpoint / "tokenizer.json").is_file():
        raise CorruptModel(f"{checkpoint}: tokenizer.json is missing; pull the model again")
    else:
        shutil.copyfile(checkpoint / "tokenizer.json", target / "tokenizer.json")
    chat = chat_form(target / "tokenizer.json")
    properties = asdict(config) | {"chat": chat, "family": opened.family, "engine": engine}
    graphs = {"decoder": "decoder.onnx"} if engine in ENGINES else {}
    reached = parity.decoder_reached(target, opened, config) if graphs else {}
    synthetic = bool(opened.config.get("voxturn_synthetic", False))
    write_manifest(target, source, "decoder", precision, graphs, properties, reached, synthetic)


def chat_form(tokenizer: Path) -> str:
    """Which of `runtime.text.chat.CHAT_FORMATS` a model was taught, by the marks of its tokenizer."""
    marks = {token["content"] for token in json.loads(tokenizer.read_text(encoding="utf-8"))["added_tokens"]}
    if "<|start_header_id|>" in marks:
        return "llama3"
    return "qwen3" if "</think>" in marks else "chatml"
