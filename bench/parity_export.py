"""`voxturn bench parity --model …`: a checkpoint exported to every precision, each against the
reference.

XTTS's is coqui-tts, a Qwen3's its own graph in float32. The figures are those that an export
measures for its manifest (`export.xtts.parity` and `export.decoder.parity` say what they are); here
they are kept in one result file, beside the size of the decoder's weights. The artifacts are made
in a temporary folder.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from voxturn.bench.harness import Result
from voxturn.export.decoder import export as decoder
from voxturn.export.xtts import export as xtts
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import quiet
from voxturn.runtime.turn.trace import StageInfo

KINDS = {
    "xtts-v2": (
        ("onnx", "fp32"),
        ("onnx", "int8"),
        ("onnx", "int4"),
        ("openvino", "fp32"),
        ("tensorrt", "fp32"),
        ("tensorrt", "fp16"),
        ("tensorrt", "int8"),
        ("tensorrt", "int4"),
    ),
    "qwen3": (
        ("onnx", "int8"),
        ("onnx", "int4"),
        ("tensorrt", "fp16"),
        ("tensorrt", "bf16"),
        ("tensorrt", "int8"),
        ("tensorrt", "int4"),
    ),
}
_EXPORTERS = {
    "xtts-v2": (xtts.export, "xtts", "gpt"),
    "qwen3": (decoder.export, "qwen3", "decoder"),
}
"""By model: what exports it, what its figures are called, and its decoder's file."""
_RATIOS = ("error", "logits_error", "top1", "top1_agreement")
_UNITS = {"snr_db": "dB", "kl": "nats", "mean": "nats", "p99": "nats"} | dict.fromkeys(
    _RATIOS, "ratio"
)


def main(model: str, checkpoint: Path, path: Path | None) -> Result:
    """Export and compare. Raises `ExportFailed` where an export misses a tolerance."""
    result = Result("parity")
    export, short, graph = _EXPORTERS[model]
    for engine, precision in KINDS[model]:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            export(
                checkpoint,
                Manifest(model, "checkpoint", "source", {}, {}),
                folder,
                precision,
                quiet,
                engine,
            )
            manifest = Manifest.read(folder)
            megabytes = (folder / f"{graph}.onnx.data").stat().st_size / 1e6
        name = f"{short}.{engine}.{precision}"
        result.value(f"{name}.{graph}_mb", "MB", megabytes)
        for key, value in sorted(manifest.reached.items()):
            result.exact(f"{name}.{key}", _UNITS.get(key.split(".")[-1], "count"), value)
        result.artifact(
            name, StageInfo(model, precision, "onnx", manifest.digest, 0, manifest.synthetic)
        )
    result.notes["checkpoint"] = json.loads((checkpoint / "config.json").read_text()).get(
        "voxturn_synthetic", "real"
    )
    if path:
        result.write(path)
    return result
