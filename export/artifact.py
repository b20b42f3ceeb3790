"""Writes the manifest of a finished artifact.

Atomicity is the store's: it hands exporters an empty folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import onnx
from voxturn.runtime.models.contents import recorded
from voxturn.runtime.models.manifest import (
    CTRANSLATE2,
    MANIFEST,
    ONNX,
    Manifest,
    ModelContract,
    TensorSpec,
    decoder_dialect,
)

_TOOLS = ("voxturn", "onnx", "numpy", "gguf", "safetensors")
_TYPES = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.INT32: "int32",
}


_DECODERS = ("token_decoder", "whisper_decoder")
"""Roles whose graphs are written for one engine; all others are plain ONNX."""


def contract_of(path: Path, dialect: str = ONNX) -> ModelContract:
    """The contract of an ONNX file, read from the file."""
    graph = onnx.load(str(path), load_external_data=False).graph

    def specs(values: Any) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                v.name,
                _TYPES[v.type.tensor_type.elem_type],
                tuple(
                    d.dim_value if d.HasField("dim_value") else d.dim_param
                    for d in v.type.tensor_type.shape.dim
                ),
            )
            for v in values
        )

    return ModelContract(path.name, specs(graph.input), specs(graph.output), dialect)


def write_manifest(
    folder: Path,
    source: Manifest,
    *,
    kind: str,
    task: str,
    precision: str,
    graphs: Mapping[str, str],
    properties: Mapping[str, Any],
    reached: Mapping[str, float],
    engine: str = "onnx",
    synthetic: bool = False,
) -> Manifest:
    """Write `folder/manifest.json` over all files in it, and return it: the one place where
    exporters describe artifacts.

    `source` is the checkpoint's manifest; `kind` the family's, `task` what it does; `graphs` maps
    roles to ONNX file names; `properties` are the kind's own; `reached` are the figures of parity;
    `engine` is what it was exported for. `synthetic` says that the weights are random, if `source`
    does not.
    """
    manifest = Manifest(
        model=source.model,
        kind=kind,
        precision=precision,
        source={"checkpoint": source.digest} | dict(source.source),
        **recorded(folder, (p for p in folder.iterdir() if p.is_file())),
        graphs={
            role: contract_of(folder / name, decoder_dialect(engine) if role in _DECODERS else ONNX)
            for role, name in graphs.items()
        },
        properties=dict(properties),
        reached=dict(reached),
        versions={tool: metadata.version(tool) for tool in _TOOLS},
        synthetic=source.synthetic or synthetic,
        task=task,
        dialect=ONNX if graphs else CTRANSLATE2,
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest
