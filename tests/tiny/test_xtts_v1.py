"""XTTS v1.1: voices whose latents are one a frame, against coqui-tts's own modules."""

from __future__ import annotations

import json
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from voxturn.export.artifact import contract_of
from voxturn.export.coqui import modules, synthetic
from voxturn.export.xtts import export as xtts
from voxturn.runtime import cli
from voxturn.runtime.errors import ExportFailed, UsageError
from voxturn.runtime.executors.onnx import OnnxGraph
from voxturn.runtime.families.xtts.mixing import mixed
from voxturn.runtime.families.xtts.prompt import XttsIds
from voxturn.runtime.families.xtts.voices import Cloner, VoiceStore
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import quiet

pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and what it imports
SOURCE = Manifest("xtts-v1.1", "checkpoint", "source", {}, {})


@dataclass(frozen=True)
class Made:
    checkpoint: Path
    artifact: Path
    original: Any

    @property
    def manifest(self) -> Manifest:
        return Manifest.read(self.artifact)


@pytest.fixture(scope="module")
def made(narrow: None, tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("xtts-v1")
    checkpoint, artifact = root / "checkpoint", root / "artifact"
    synthetic.make_checkpoint(checkpoint, "tiny", 3, "xtts-v1.1")
    artifact.mkdir()
    xtts.export(checkpoint, SOURCE, artifact, "fp32", quiet)
    module = modules.xtts_module()
    config = module.XttsConfig()
    config.load_json(str(checkpoint / "config.json"))
    model = module.Xtts.init_from_config(config)
    model.load_checkpoint(config, checkpoint_dir=str(checkpoint), eval=True)
    model.eval()
    return Made(checkpoint, artifact, model)


@pytest.fixture
def cloner(made: Made) -> Iterator[Cloner]:
    graphs = [
        OnnxGraph(path, contract_of(path), Cores().budget("vocode", 0))
        for path in (made.artifact / f"{name}.onnx" for name in ("conditioning", "speaker"))
    ]
    yield Cloner(made.artifact, made.manifest.properties, *graphs)
    for graph in graphs:
        graph.close()


def test_every_graph_is_the_originals(made: Made) -> None:
    """The export compares them itself; codes are told apart to the last."""
    reached = made.manifest.reached
    assert reached["parity"] == 1
    assert reached["conditioning.error"] <= 1e-4
    assert reached["gpt.logits_error"] <= 1e-4
    assert reached["gpt.greedy_same"] == reached["gpt.greedy_steps"]
    assert reached["wave.snr_db"] >= 60


@pytest.mark.parametrize("seconds", [1.5, 14.0])
def test_a_voice_has_a_latent_for_each_frame_that_is_heeded(
    made: Made, cloner: Cloner, seconds: float
) -> None:
    samples = np.random.default_rng(1).standard_normal(int(22050 * seconds)).astype(np.float32)
    with torch.inference_mode():
        wanted = made.original.get_gpt_cond_latents(
            torch.from_numpy(samples[None] * 0.1), 22050, length=12
        )[0].numpy()
    latents = cloner.latents(samples * np.float32(0.1))
    assert latents.shape == wanted.shape
    assert len(latents) == 1 + min(len(samples), 12 * 22050) // 1024
    assert np.abs(latents - wanted).max() / np.abs(wanted).max() <= 1e-4


def test_the_longest_voice_has_positions_of_its_own(made: Made) -> None:
    ids = XttsIds.from_properties(made.manifest.properties)
    assert ids.max_latents == 1 + 30 * 22050 // 1024
    assert ids.positions == ids.max_latents + ids.max_text + 2 + ids.max_codes + 1
    assert all(ids.knows(each) for each in ids.voice(ids.max_latents))
    assert not ids.knows(ids.voice(ids.max_latents + 1)[-1])


def test_its_studio_voice_speaks(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "said.wav"
    command = ["say", "It is four.", "--model", str(made.artifact), "-o", str(out)]
    assert cli.main(command) == 0
    with wave.open(str(out)) as file:
        assert (file.getframerate(), file.getnframes() > 0) == (24000, True)


def test_voices_of_different_lengths_do_not_mix(made: Made, tmp_path: Path) -> None:
    store = VoiceStore(tmp_path, made.artifact, made.manifest)
    long = store.load("noise")
    short = store.checked("short", long.latents[:20], long.speaker)
    store.add(short)
    assert store.load("short").latents.shape == (20, 64)
    with pytest.raises(UsageError, match="latents of different lengths, which do not mix"):
        mixed("noise+short", [long, short], [0.5, 0.5])


@pytest.mark.parametrize("count", [0, 647])
def test_a_voice_has_at_least_one_latent_and_no_more_than_fit(
    made: Made, tmp_path: Path, count: int
) -> None:
    store = VoiceStore(tmp_path, made.artifact, made.manifest)
    with pytest.raises(ValueError, match=r"values where its voices have \[1 to 646, 64\]"):
        store.checked("x", np.zeros((count, 64), np.float32), np.zeros(512, np.float32))


def test_there_are_no_engines_for_its_voices(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match=r"is an XTTS v1\.1, .* export it for onnx"):
        xtts.export(made.checkpoint, SOURCE, tmp_path, "fp16", quiet)


def test_the_configuration_may_heed_more_than_half_a_minute(tmp_path: Path, made: Made) -> None:
    config = json.loads((made.checkpoint / "config.json").read_text())
    copy = tmp_path / "checkpoint"
    copy.mkdir()
    for path in made.checkpoint.iterdir():
        if path.name != "config.json":
            (copy / path.name).hardlink_to(path)
    (copy / "config.json").write_text(json.dumps(config | {"gpt_cond_len": -1}))
    opened = xtts.XttsCheckpoint.open(copy)
    assert xtts._reference(opened)["gpt_cond_len"] == 30
