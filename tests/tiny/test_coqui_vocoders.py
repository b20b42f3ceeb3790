"""MelGANs as vocoders of a voice that gives mels, with tiny random weights: exported, compared with
coqui-tts itself, spoken."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from voxturn.export.coqui import mel_parity, melgan
from voxturn.export.coqui.folder import CoquiFolder
from voxturn.export.coqui.modules import tts_module
from voxturn.export.coqui.parity import error, graph_of, upstream
from voxturn.export.net import Net
from voxturn.export.weights import Weights
from voxturn.runtime import cli
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.models.manifest import Manifest

from tests.tiny.test_coqui_mel import exporting
from tests.tiny.test_coqui_vits import Made, copied, edit, fails, say

pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and what it imports
VOCODERS = ("melgan", "multiband_melgan", "fullband_melgan")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("vocoders")
    for kind in ("glow_tts", *VOCODERS):
        command = ["export", "make-checkpoint", f"coqui:{kind}", "-o", str(folder / kind)]
        assert cli.main(command) == 0
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def made(root: Path) -> Callable[[str], Made]:
    """The voice with a vocoder, made when it is first asked for."""
    known: dict[str, Made] = {}

    def make(vocoder: str) -> Made:
        if vocoder not in known:
            new = Made(root / "glow_tts", root / f"voice-{vocoder}")
            command = exporting(new.checkpoint, root / vocoder)
            assert cli.main([*command, "-o", str(new.artifact)]) == 0
            known[vocoder] = new
        return known[vocoder]

    return make


@pytest.mark.parametrize("vocoder", VOCODERS)
def test_audio_is_the_originals_whole_and_streamed(
    made: Callable[[str], Made], root: Path, vocoder: str
) -> None:
    """At lengths that the export has not compared."""
    voice = made(vocoder)
    manifest = Manifest.read(voice.artifact)
    assert manifest.reached["parity"] == 1
    assert manifest.reached["stream.snr_db"] >= 60
    assert manifest.properties["repeated"] == 2
    assert manifest.properties["hop"] == 256
    originals = (
        upstream(CoquiFolder.open(voice.checkpoint)),
        mel_parity.upstream_vocoder(root / vocoder),
    )
    graphs = [graph_of(voice.artifact / name) for name in ("acoustic.onnx", "decoder.onnx")]
    for length in (9, 40):
        found = mel_parity.compared(
            *originals, *graphs, manifest.properties, mel_parity.rows_of(voice.artifact), length
        )
        assert found["frames.differ"] == 0
        assert found["mels.error"] <= 1e-4
        assert found["audio.error"] <= 1e-4


@pytest.mark.parametrize("vocoder", VOCODERS)
def test_it_speaks(made: Callable[[str], Made], vocoder: str, tmp_path: Path) -> None:
    assert say(made(vocoder), tmp_path / "said.wav").size > 5000
    out = str(tmp_path / "a.wav")
    assert cli.main(["say", "A.", "--model", str(made(vocoder).artifact), "-o", out]) == 0


@pytest.mark.parametrize("normed", [True, False])
@pytest.mark.parametrize(
    ("name", "bands", "sizes"),
    [
        ("melgan", 1, {"upsample_factors": (3, 5, 2), "res_kernel": 5, "num_res_blocks": 2}),
        ("multiband_melgan", 4, {"upsample_factors": (8, 2), "num_res_blocks": 4}),
    ],
)
def test_sizes_are_those_of_the_tensors(
    name: str, bands: int, sizes: dict[str, Any], normed: bool, tmp_path: Path
) -> None:
    """Also rates that are odd, of which upstream cuts off unevenly; with weight norms and without."""
    module = tts_module(f"TTS.vocoder.models.{name}_generator")
    kind = "MelganGenerator" if name == "melgan" else "MultibandMelganGenerator"
    torch.manual_seed(0)
    original = getattr(module, kind)(in_channels=12, base_channels=32, **sizes)
    if not normed:
        original.remove_weight_norm()
    weights = Weights({f"g.{n}": value for n, value in original.state_dict().items()})
    found = melgan.MelganSizes.of(weights, "g")
    assert found.rates == sizes["upsample_factors"]
    assert found.bands == bands
    n = Net(tmp_path / "melgan.onnx", weights)
    melgan.generator(n, found, n.g.input("latents", "float32", [1, 12, "frames"]))
    n.g.save()
    weights.check_taken(found.shapes(weights))
    graph = graph_of(tmp_path / "melgan.onnx")
    for frames in (10, 33):
        mel = torch.randn(1, 12, frames)
        with torch.no_grad():
            wanted = original.inference(mel).numpy()
        framed = np.pad(mel.numpy(), ((0, 0), (0, 0), (2, 2)), mode="edge")
        audio = graph.run({"latents": framed})["audio"]
        assert audio.shape == (1, 1, (frames + 4) * found.hop)
        assert error(audio, wanted) <= 1e-4
    graph.close()


def damaged(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the tensors of a checkpoint."""
    whole = torch.load(folder / "model.pth", weights_only=True)
    change(whole["model"])
    torch.save(whole, folder / "model.pth")


def _infinite(state: dict[str, Any]) -> None:
    state["model_g.layers.13.bias"][0] = float("nan")


BAD: dict[str, tuple[Callable[[Path], Any], type[Exception], str]] = {
    "another mel": (lambda f: edit(f, lambda c: c["audio"].update(mel_fmax=None)), ExportFailed, "the vocoder's mels are not the voice's: mel_fmax 8000.0 and None"),
    "another number of bands": (lambda f: edit(f, lambda c: c["audio"].update(num_mels=40)), ExportFailed, "its vocoder makes 256 samples of a frame of 80 values, its configuration says 256 of 40"),
    "another kind": (lambda f: edit(f, lambda c: c.update(generator_model="parallel_wavegan_generator")), ExportFailed, "is a vocoder 'parallel_wavegan', which is not exported yet; exported: hifigan, melgan, multiband_melgan, fullband_melgan"),
    "a HiFiGAN by its name": (lambda f: edit(f, lambda c: c.update(generator_model="hifigan_generator", generator_model_params={"upsample_factors": [8], "resblock_dilation_sizes": [[1]]})), ExportFailed, "the checkpoint is not a HiFiGAN"),
    "no number": (lambda f: damaged(f, _infinite), CorruptModel, "holds NaN or infinite values in ['model_g.layers.13.bias']"),
    "no end": (lambda f: damaged(f, lambda s: [s.pop(n) for n in list(s) if n.startswith("model_g.layers.13.")]), ExportFailed, "the checkpoint is not a MultiBand-MelGAN (KeyError"),
    "no filters": (lambda f: damaged(f, lambda s: s.pop("model_g.pqmf_layer.G")), ExportFailed, "missing ['model_g.pqmf_layer.G']"),
    "no blocks": (lambda f: damaged(f, lambda s: [s.pop(n) for n in list(s) if ".blocks." in n]), ExportFailed, "the checkpoint is not a MultiBand-MelGAN (KeyError"),
    "a block too few": (lambda f: damaged(f, lambda s: [s.pop(n) for n in list(s) if ".7.blocks.1." in n]), ExportFailed, "missing ['model_g.layers.7.blocks.1.2.bias'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_vocoder_is_refused_in_one_line(
    root: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, kind, says = BAD[name]
    vocoder = copied(root / "multiband_melgan", tmp_path / "vocoder")
    damage(vocoder)
    command = exporting(root / "glow_tts", vocoder)
    fails(capsys, [*command, "-o", str(tmp_path / "out")], kind, says)
    assert not (tmp_path / "out").exists()


def test_a_hifigan_that_wants_a_speaker_is_no_vocoder_of_mels(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vocoder = tmp_path / "hifigan"
    command = ["export", "make-checkpoint", "coqui:hifigan", "-o", str(vocoder)]
    assert cli.main(command) == 0
    damaged(vocoder, lambda s: s.update({"model_g.cond_layer.weight": torch.zeros(32, 8, 1)}))
    out = ["-o", str(tmp_path / "out")]
    says = "the vocoder wants to know the speaker"
    fails(capsys, [*exporting(root / "glow_tts", vocoder), *out], ExportFailed, says)
