"""The exporter `whisper`: a Whisper of any size to CTranslate2, to ONNX Runtime or to ONNX for
TensorRT.

    ctranslate2  model.bin, config.json, vocabulary.json    by CTranslate2's own converter; fp32, fp16, int8
    onnx         encoder.onnx, decoder.onnx                 `export.whisper.fused`; fp32, int8
    tensorrt     encoder.onnx, decoder.onnx                 `export.whisper.portable`; fp32, fp16

Beside them `tokenizer.json`. Mel bands, vocabulary and layers are read from the checkpoint, so
large-v3, its turbo and distilled Whispers are exported like the others.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from voxturn.export.artifact import contract_of, write_manifest
from voxturn.export.checkpoint import copy_tokenizer
from voxturn.export.whisper import ctranslate2, parity
from voxturn.export.whisper.checkpoint import WhisperCheckpoint
from voxturn.export.whisper.fused import FusedWhisper
from voxturn.export.whisper.portable import PortableWhisper
from voxturn.export.whisper.spec import PRECISIONS
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.manifest import Manifest

GRAPHS = {"whisper_encoder": "encoder.onnx", "whisper_decoder": "decoder.onnx"}
_BITS = {"fp32": 32, "fp16": 16, "int8": 8}


def export(
    checkpoint: Path,
    source: Manifest,
    target: Path,
    precision: str,
    progress: Progress,
    engine: str = "onnx",
) -> None:
    """Write the artifact into the empty folder `target`.

    Raises `CorruptModel` or `ExportFailed`.
    """
    if precision not in PRECISIONS.get(engine, ()):
        offers = "; ".join(
            f"{name} has {', '.join(precisions)}" for name, precisions in PRECISIONS.items()
        )
        raise ExportFailed(f"Whisper has no export to {engine!r} in {precision!r}: {offers}")
    what = f"export {source.model} {engine} {precision}"
    progress(what, 0, 3)
    opened = WhisperCheckpoint.open(checkpoint)
    graphs = {} if engine == "ctranslate2" else GRAPHS
    if engine == "ctranslate2":
        ctranslate2.convert(opened, target, precision)
    else:
        builder = (FusedWhisper if engine == "onnx" else PortableWhisper)(opened, _BITS[precision])
        builder.encoder(target / GRAPHS["whisper_encoder"])
        builder.decoder(target / GRAPHS["whisper_decoder"])
    progress(what, 1, 3)
    copy_tokenizer(opened.folder / "tokenizer.json", target / "tokenizer.json")
    properties = asdict(opened.sizes) | asdict(opened.marks) | {"engine": engine}
    reached = {}
    if find_spec("transformers") and find_spec("torch"):  # they are here: compare with them
        contracts = {role: contract_of(target / name) for role, name in graphs.items()}
        draft = Manifest(source.model, "whisper", precision, {}, {}, contracts, properties)
        reached = parity.reached(opened, target, draft)
    progress(what, 2, 3)
    write_manifest(
        target,
        source,
        kind="whisper",
        task="speech-to-text",
        precision=precision,
        graphs=graphs,
        properties=properties,
        reached=reached,
        engine=engine,
    )
    progress(what, 3, 3)
