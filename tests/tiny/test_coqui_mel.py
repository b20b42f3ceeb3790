"""Coqui's voices that give mels, with a vocoder of their own and tiny random weights: exported,
compared with coqui-tts itself, spoken."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from voxturn.export.coqui import mel_parity, mel_synthetic
from voxturn.export.coqui.folder import CoquiFolder
from voxturn.export.coqui.glow_tts import spread_matrix
from voxturn.export.coqui.mel import MelSettings, handed_over
from voxturn.export.coqui.modules import tts_module
from voxturn.export.coqui.parity import graph_of, upstream
from voxturn.export.net import Net
from voxturn.export.weights import Weights
from voxturn.runtime import cli
from voxturn.runtime.errors import CorruptModel, ExportFailed, UnknownVoice, UsageError
from voxturn.runtime.models.manifest import Manifest

from tests.tiny.test_coqui_vits import Made, check_words, copied, edit, fails, say

pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and what it imports
VOICES = tuple(kind for kind in mel_synthetic.KINDS if kind.startswith(("glow", "fast", "speedy")))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("mels")
    command = ["export", "make-checkpoint", "coqui:hifigan", "-o", str(folder / "hifigan")]
    assert cli.main(command) == 0
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def made(root: Path) -> Callable[[str], Made]:
    """Of a kind, made when it is first asked for."""
    known: dict[str, Made] = {}

    def make(kind: str) -> Made:
        if kind not in known:
            new = Made(root / f"{kind}-checkpoint", root / kind)
            command = ["export", "make-checkpoint", f"coqui:{kind}", "-o", str(new.checkpoint)]
            assert cli.main(command) == 0
            command = exporting(new.checkpoint, root / "hifigan")
            assert cli.main([*command, "-o", str(new.artifact)]) == 0
            known[kind] = new
        return known[kind]

    return make


def exporting(checkpoint: Path, vocoder: Path) -> list[str]:
    return ["export", "coqui", "--checkpoint", str(checkpoint), "--vocoder", str(vocoder)]


@pytest.mark.parametrize("kind", VOICES)
@pytest.mark.parametrize("length", [9, 40])
def test_mels_and_audio_are_the_originals(
    made: Callable[[str], Made], root: Path, kind: str, length: int
) -> None:
    """At lengths that the export has not compared, with the last speaker."""
    voice = made(kind)
    originals = (
        upstream(CoquiFolder.open(voice.checkpoint)),
        mel_parity.upstream_vocoder(root / "hifigan"),
    )
    graphs = [graph_of(voice.artifact / name) for name in ("acoustic.onnx", "decoder.onnx")]
    speaker = max(0, len(voice.properties["speakers"]) - 1)
    rows = mel_parity.rows_of(voice.artifact)
    found = mel_parity.compared(*originals, *graphs, voice.properties, rows, length, speaker)
    assert found["frames.differ"] == 0
    assert found["mels.error"] <= 1e-4
    assert found["audio.error"] <= 1e-4


@pytest.mark.parametrize("kind", VOICES)
def test_the_manifest_says_what_was_reached(made: Callable[[str], Made], kind: str) -> None:
    manifest = Manifest.read(made(kind).artifact)
    assert manifest.kind == "coqui-mel"
    assert manifest.synthetic
    assert manifest.reached["parity"] == 1
    assert manifest.reached["stream.snr_db"] >= 60


@pytest.mark.parametrize("kind", VOICES)
def test_it_speaks(made: Callable[[str], Made], kind: str, tmp_path: Path) -> None:
    usual = say(made(kind), tmp_path / "said.wav")
    assert usual.size > 5000
    assert say(made(kind), tmp_path / "said.wav", "--seed", "4").size > 5000


@pytest.mark.parametrize("kind", ["glow_tts", "fast_pitch"])
def test_words_have_times(made: Callable[[str], Made], kind: str) -> None:
    check_words(made(kind).artifact)


def test_texts_that_upstream_is_too_wide_for_are_spoken(
    made: Callable[[str], Made], tmp_path: Path
) -> None:
    """SpeedySpeech convolves before it pads; a single letter has no whole window."""
    out = str(tmp_path / "a.wav")
    command = ["say", "A.", "--model", str(made("speedy_speech").artifact), "-o", out]
    assert cli.main(command) == 0


def test_options_and_speakers_are_heeded_or_refused(
    made: Callable[[str], Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voice, out = made("glow_tts-multi"), tmp_path / "said.wav"
    ana, ben = say(voice, out, "--voice", "ana"), say(voice, out, "--voice", "ben")
    assert ana.size != ben.size or not np.array_equal(ana, ben)
    command = ["say", "Hello.", "--model", str(voice.artifact), "-o", str(out)]
    fails(capsys, [*command, "--voice", "nobody"], UnknownVoice, "this model has ana, ben, eva")
    fails(capsys, [*command, "--noise-w", "1"], UsageError, "noise_w")
    still = ["say", "Hello.", "--model", str(made("fast_pitch").artifact), "-o", str(out)]
    fails(capsys, [*still, "--noise", "1"], UsageError, "noise: voice")


PAIRS = [
    ({"signal_norm": False}, {"signal_norm": False}),
    ({}, {"signal_norm": False}),
    ({"signal_norm": False}, {}),
    ({"symmetric_norm": False, "max_norm": 1.0}, {"min_level_db": -80, "ref_level_db": 10}),
    ({"clip_norm": False}, {"symmetric_norm": False, "clip_norm": False}),
]


@pytest.mark.parametrize(("voice", "vocoder"), PAIRS)
def test_mels_are_handed_over_as_upstream_does(
    voice: dict[str, Any], vocoder: dict[str, Any], tmp_path: Path
) -> None:
    settings = [MelSettings.of(each, tmp_path) for each in (voice, vocoder)]
    n = Net(tmp_path / "mel.onnx", Weights({}))
    n.g.node(
        "Identity", [handed_over(n, n.g.input("x", "float32", [1, 80, "n"]), *settings)], ["y"]
    )
    n.g.output("y", "float32", [1, 80, "n"])
    n.g.save()
    mel = np.random.default_rng(0).standard_normal((80, 9)).astype(np.float32) * 3
    shared = tts_module("TTS.config.shared_configs").BaseAudioConfig
    one, other = (
        tts_module("TTS.utils.audio").AudioProcessor(shared(**each)) for each in (voice, vocoder)
    )
    wanted = other.normalize(one.denormalize(mel))
    got = graph_of(tmp_path / "mel.onnx").run({"x": mel[None]})["y"][0]
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_a_matrix_is_spread_over_all_channels_as_upstream_groups_them() -> None:
    layer = tts_module("TTS.tts.layers.glow_tts.glow").InvConvNear(16, num_splits=4)
    x = torch.randn(1, 16, 5)
    with torch.no_grad():
        wanted, _ = layer(x, torch.ones(1, 1, 5))
    whole = spread_matrix(layer.weight.detach().numpy().astype(np.float64), 16)
    np.testing.assert_allclose(whole @ x[0].numpy(), wanted[0].numpy(), rtol=1e-5, atol=1e-6)


def write_statistics(path: Path, seed: int, **changes: Any) -> None:
    """Statistics as upstream's `compute_statistics` writes them."""
    random = np.random.default_rng(seed)
    table = {
        "mel_mean": random.standard_normal(80) * 20 - 40,
        "mel_std": random.random(80) * 10 + 5,
        "linear_mean": random.standard_normal(513),
        "linear_std": np.ones(513),
        "audio_config": {"sample_rate": 22050, "trim_db": np.float64(60.0)},
    }
    np.save(path, np.array(table | changes), allow_pickle=True)


@pytest.mark.parametrize(("of_voice", "of_vocoder"), [(True, True), (True, False), (False, True)])
def test_mels_with_statistics_are_handed_over_as_upstream_does(
    made: Callable[[str], Made], root: Path, tmp_path: Path, of_voice: bool, of_vocoder: bool
) -> None:
    """The export compares them with upstream's own hand-over."""
    voice = copied(made("glow_tts").checkpoint, tmp_path / "voice")
    vocoder = copied(root / "hifigan", tmp_path / "vocoder")
    for folder, seed, has in ((voice, 1, of_voice), (vocoder, 2, of_vocoder)):
        if has:
            write_statistics(folder / "scale_stats.npy", seed)
            told = {"signal_norm": True, "stats_path": "/of/another/machine/scale_stats.npy"}
            edit(folder, lambda c, told=told: c["audio"].update(told))
    assert cli.main([*exporting(voice, vocoder), "-o", str(tmp_path / "out")]) == 0
    reached = Manifest.read(tmp_path / "out").reached
    assert reached["parity"] == 1
    assert reached["mels.error"] <= 1e-4


class Runs:
    """What would run a command if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


BAD_STATISTICS: dict[str, tuple[Callable[[Path], object], str]] = {
    "none": (lambda p: p.unlink(), "is missing, and its configuration names it"),
    "code": (lambda p: write_statistics(p, 0, mel_mean=Runs()), "system is in no statistics"),
    "other bands": (lambda p: write_statistics(p, 0, mel_mean=np.zeros(40)), "not 80 finite numbers"),
    "no numbers": (lambda p: write_statistics(p, 0, mel_std=np.full(80, np.nan)), "not 80 finite numbers"),
    "nothing": (lambda p: write_statistics(p, 0, mel_std=np.zeros(80)), "a spread is not above 0"),
    "integers": (lambda p: write_statistics(p, 0, mel_std=np.ones(80, int)), "not of float32 or float64"),
    "text": (lambda p: write_statistics(p, 0, mel_std="many"), "a row is no array"),
    "numbers alone": (lambda p: np.save(p, np.zeros(3)), "an array of float64"),
    "several": (lambda p: np.save(p, np.array([{}, {}], object), allow_pickle=True), "no table"),
    "cut": (lambda p: os.truncate(p, 300), "holds no statistics"),
    "another file": (lambda p: p.write_bytes(b"noise"), "holds no statistics"),
    "a large one": (lambda p: os.truncate(p, 5_000_000), "more than 4194304 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_STATISTICS)
def test_bad_statistics_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    damage, says = BAD_STATISTICS[name]
    path = tmp_path / "scale_stats.npy"
    write_statistics(path, 0)
    damage(path)
    with pytest.raises(CorruptModel, match=says) as failed:
        MelSettings.of({"stats_path": str(path)}, tmp_path)
    assert "\n" not in str(failed.value)


def test_statistics_of_upstreams_own_configuration_are_read(tmp_path: Path) -> None:
    config = tts_module("TTS.config.shared_configs").BaseAudioConfig()
    write_statistics(tmp_path / "scale_stats.npy", 3, audio_config=config)
    settings = MelSettings.of({"stats_path": "scale_stats.npy"}, tmp_path)
    assert settings.statistics is not None
    assert len(settings.statistics.mean) == len(settings.statistics.spread) == 80
    assert (
        MelSettings.of({"stats_path": "x.npy", "signal_norm": False}, tmp_path).statistics is None
    )


BAD: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "other heads": (lambda v, h: edit(v, lambda c: c.update(encoder_params={"num_heads": 5})), "5 heads of 32 channels"),
    "another encoder": (lambda v, h: edit(v, lambda c: c.update(encoder_type="gated_conv")), "its encoder is 'gated_conv', not exported yet"),
    "another mel": (lambda v, h: edit(h, lambda c: c["audio"].update(mel_fmax=None)), "the vocoder's mels are not the voice's: mel_fmax 8000.0 and None"),
    "another vocoder": (lambda v, h: edit(h, lambda c: c.update(generator_model="univnet_generator")), "is a vocoder 'univnet', which is not exported yet; exported: hifigan, melgan, multiband_melgan"),
    "a vocoder of another hop": (lambda v, h: (edit(v, lambda c: c["audio"].update(hop_length=200)), edit(h, lambda c: c["audio"].update(hop_length=200))), "its vocoder makes 256 samples"),
    "another vocabulary": (lambda v, h: edit(v, lambda c: c["characters"].update(characters="abc")), "its vocabulary has 16 symbols"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_pair_is_refused_in_one_line(
    made: Callable[[str], Made],
    root: Path,
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage, says = BAD[name]
    voice = copied(made("glow_tts").checkpoint, tmp_path / "voice")
    vocoder = copied(root / "hifigan", tmp_path / "vocoder")
    damage(voice, vocoder)
    fails(capsys, [*exporting(voice, vocoder), "-o", str(tmp_path / "out")], ExportFailed, says)
    assert not (tmp_path / "out").exists()


def test_weights_of_a_vocoder_that_are_no_numbers(
    made: Callable[[str], Made], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vocoder = copied(root / "hifigan", tmp_path / "vocoder")
    whole = torch.load(vocoder / "model.pth", weights_only=True)
    whole["model"]["model_g.conv_post.bias"][0] = float("inf")
    torch.save(whole, vocoder / "model.pth")
    command = exporting(made("glow_tts").checkpoint, vocoder)
    says = "holds NaN or infinite values in ['model_g.conv_post.bias']"
    fails(capsys, [*command, "-o", str(tmp_path / "out")], CorruptModel, says)


def test_a_vocoder_is_named_where_mels_are_given_and_nowhere_else(
    made: Callable[[str], Made], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "out")]
    alone = ["export", "coqui", "--checkpoint", str(made("glow_tts").checkpoint), *out]
    fails(capsys, alone, ExportFailed, "name its vocoder's folder: --vocoder DIR")
    vits = tmp_path / "vits"
    vits.mkdir()
    (vits / "config.json").write_text(json.dumps({"model": "vits"}))
    fails(capsys, [*exporting(vits, root / "hifigan"), *out], ExportFailed, "leave out --vocoder")
    nowhere = exporting(made("glow_tts").checkpoint, tmp_path / "nowhere")
    fails(capsys, [*nowhere, *out], ExportFailed, "nowhere: no such checkpoint")


def test_a_vocoder_from_before_it_was_trained_with_its_judge_beside_it(
    made: Callable[[str], Made], root: Path, tmp_path: Path
) -> None:
    """Its names have no prefix."""
    vocoder = copied(root / "hifigan", tmp_path / "vocoder")
    state = torch.load(vocoder / "model.pth", weights_only=True)["model"]
    alone = {n.removeprefix("model_g."): v for n, v in state.items() if n.startswith("model_g.")}
    torch.save({"model": alone, "model_disc": {}}, vocoder / "model.pth")
    command = exporting(made("glow_tts").checkpoint, vocoder)
    assert cli.main([*command, "-o", str(tmp_path / "out")]) == 0
    one, other = (
        tmp_path / "out" / "decoder.onnx.data",
        made("glow_tts").artifact / "decoder.onnx.data",
    )
    assert one.read_bytes() == other.read_bytes()
