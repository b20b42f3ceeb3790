"""Graphs in standard operators, tiny and with random weights, made in the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from voxturn.export.decoder import export as decoder
from voxturn.export.decoder import synthetic
from voxturn.runtime.executors.cuda.kernels import CudaKernels
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import quiet

from tests.shim import compiled
from tests.tiny.conftest import Tiny as Tiny
from tests.tiny.conftest import narrow as narrow
from tests.tiny.conftest import tiny as tiny


@dataclass(frozen=True)
class Portable:
    """Artifacts of a tiny Qwen3 for TensorRT."""

    fp32: Path
    fp16: Path
    bf16: Path
    int8: Path
    int4: Path


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> CudaKernels:
    return compiled(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="session")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Portable:
    root = tmp_path_factory.mktemp("portable")
    synthetic.make_checkpoint(root / "checkpoint", "qwen3-0.6b", "tiny", 3)
    made = Portable(*(root / name for name in ("fp32", "fp16", "bf16", "int8", "int4")))
    for folder in (made.fp32, made.fp16, made.bf16, made.int8, made.int4):
        folder.mkdir()
        source = Manifest("qwen3-0.6b", "checkpoint", "source", {}, {})
        decoder.export(root / "checkpoint", source, folder, folder.name, quiet, "tensorrt")
    return made
