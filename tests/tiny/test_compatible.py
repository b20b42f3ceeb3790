"""The same as `tests/unit/models/test_compatible.py` on real, tiny artifacts: the fakes there tell
the truth."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib import resources
from itertools import product
from pathlib import Path

import onnx
import pytest
from voxturn.export.coqui import export as coqui
from voxturn.export.coqui.openvoice import synthetic as openvoice
from voxturn.export.decoder import export as decoder
from voxturn.export.decoder import synthetic
from voxturn.export.whisper import export as whisper
from voxturn.runtime.executors.catalogue import catalogue
from voxturn.runtime.families.smart_turn import FRAMES, MELS
from voxturn.runtime.models.manifest import MANIFEST, Manifest
from voxturn.runtime.models.store import Store, quiet

from tests.tiny.conftest import Tiny
from tests.tiny.test_whisper_export import make as make_whisper
from tests.unit.models.test_compatible import (
    LOADED,
    RUNS,
    is_ours_and_one_line,
    loading,
    profile_of,
    told,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers and what it imports
SERVER = "triton"
"""No server is here to ask: `tests/triton` does."""

TARGETS = {
    "decoder-onnx": ("onnx", "fp32"),
    "decoder-openvino": ("openvino", "fp32"),
    "decoder-tensorrt": ("tensorrt", "fp32"),
    "decoder-ctranslate2": ("ctranslate2", "fp32"),
    "whisper-onnx": ("onnx", "fp32"),
    "whisper-tensorrt": ("tensorrt", "fp32"),
    "whisper-ctranslate2": ("ctranslate2", "fp32"),
}
PULLED = ("checkpoint", "silero", "smart-turn")


def _sound_of_end() -> onnx.ModelProto:
    """A graph with the inputs and outputs of Smart Turn's."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    features = helper.make_tensor_value_info("input_features", float32, ["n", MELS, FRAMES])
    logits = helper.make_tensor_value_info("logits", float32, ["n", 1])
    axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [2])
    middle = helper.make_tensor("middle", onnx.TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("ReduceMean", ["input_features", "axes"], ["mels"], keepdims=0),
        helper.make_node("ReduceMean", ["mels", "middle"], ["mean"], keepdims=1),
        helper.make_node("Sigmoid", ["mean"], ["logits"]),
    ]
    graph = helper.make_graph(nodes, "ends", [features], [logits], [axes, middle])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture(scope="module")
def folders(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Every kind that can be made here without a download."""
    root = tmp_path_factory.mktemp("compatible")
    synthetic.make_checkpoint(root / "qwen3", "qwen3-0.6b", "tiny", 3)
    make_whisper(root / "whisper", "classic")
    made = {"xtts-onnx": tiny.fp32} | {name: root / name for name in PULLED}
    for name, (engine, precision) in TARGETS.items():
        made[name] = root / name
        made[name].mkdir()
        source = Manifest(name, "checkpoint", "source", {}, {})
        family = name.split("-")[0]
        checkpoint = root / {"decoder": "qwen3", "whisper": "whisper"}[family]
        exporter = {"decoder": decoder.export, "whisper": whisper.export}[family]
        exporter(checkpoint, source, made[name], precision, quiet, engine)
    made["checkpoint"].mkdir()
    shutil.copyfile(root / "qwen3" / "config.json", made["checkpoint"] / "config.json")
    made["silero"].mkdir()
    made["smart-turn"].mkdir()
    onnx.save(_sound_of_end(), made["smart-turn"] / "smart_turn.onnx")
    assets = resources.files("faster_whisper") / "assets"
    (model,) = [each for each in assets.iterdir() if each.name.startswith("silero_vad")]
    (made["silero"] / "silero_vad.onnx").write_bytes(model.read_bytes())
    openvoice.make_checkpoint(root / "openvoice-checkpoint", "openvoice_v2", "tiny", 3)
    made["openvoice"] = root / "openvoice"
    made["openvoice"].mkdir()
    source = Manifest("openvoice", "checkpoint", "source", {}, {})
    coqui.export(root / "openvoice-checkpoint", source, made["openvoice"], "fp32", quiet)
    for name in PULLED:
        files = {path.name: "0" * 64 for path in made[name].iterdir()}
        pulled = Manifest(name, "checkpoint", "source", {}, files)
        (made[name] / MANIFEST).write_text(pulled.to_json(), encoding="utf-8")
    yield made
    shutil.rmtree(root)


@pytest.mark.parametrize(("stage", "kind"), list(product(LOADED, [*TARGETS, "xtts-onnx", "openvoice", *PULLED])))  # fmt: skip
def test_the_fakes_tell_the_truth(
    stage: str, kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Where an executor is here, what it is said to run it runs; a GPU's is told of and refused
    where there is none."""
    store = Store(tmp_path)
    for executor in set(catalogue()) - {SERVER}:
        profile = profile_of(folders, stage, kind, executor)
        wrong = told(profile, store)
        error = loading(profile, stage, store)
        assert bool(wrong) == (error is not None), (executor, wrong, error)
        if error is not None:
            assert is_ours_and_one_line(error), error
        row = catalogue()[executor]
        if row.installed() and not row.on_gpu:
            runs = executor in RUNS.get((stage, kind), set())
            assert runs == (error is None), (executor, wrong, error)
