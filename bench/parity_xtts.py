"""`voxturn bench parity --model xtts-v2`: an XTTS checkpoint exported to every precision, each against coqui-tts.

The figures are those that an export measures for its manifest (`export.xtts_parity` says what they are); here they are
kept in one result file, beside the size of the GPT's weights. The artifacts are made in a temporary folder.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from voxturn.bench.harness import Result
from voxturn.export import xtts
from voxturn.runtime.contract import Manifest
from voxturn.runtime.store import quiet
from voxturn.runtime.trace import StageInfo

KINDS = (
    ("onnx", "fp32"),
    ("onnx", "int8"),
    ("onnx", "int4"),
    ("openvino", "fp32"),
    ("tensorrt", "fp32"),
    ("tensorrt", "fp16"),
)
_UNITS = {"snr_db": "dB", "kl": "nats", "error": "ratio", "logits_error": "ratio", "top1": "ratio"}


def main(checkpoint: Path, path: Path | None) -> Result:
    """Export and compare. Raises `ExportFailed` where an export misses a tolerance."""
    result = Result("parity")
    for engine, precision in KINDS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            xtts.export(
                checkpoint, Manifest("xtts-v2", "checkpoint", "source", {}, {}), folder, precision, quiet, engine
            )
            manifest = Manifest.read(folder)
            megabytes = (folder / "gpt.onnx.data").stat().st_size / 1e6
        name = f"xtts.{engine}.{precision}"
        result.value(f"{name}.gpt_mb", "MB", megabytes)
        for key, value in sorted(manifest.reached.items()):
            result.exact(f"{name}.{key}", _UNITS.get(key.split(".")[-1], "count"), value)
        result.artifact(name, StageInfo("xtts-v2", precision, "onnx", manifest.digest, 0, manifest.synthetic))
    result.notes["checkpoint"] = json.loads((checkpoint / "config.json").read_text()).get("voxturn_synthetic", "real")
    if path:
        result.write(path)
    return result
