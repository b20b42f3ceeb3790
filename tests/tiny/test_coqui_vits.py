"""VITS voices of Coqui's with tiny random weights: exported from their folder, compared with coqui-tts
itself, spoken."""

from __future__ import annotations

import json
import shutil
import sys
import wave
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from voxturn.export.artifact import contract_of
from voxturn.export.coqui import parity
from voxturn.export.coqui.folder import CoquiFolder
from voxturn.export.coqui.vits import family, synthetic
from voxturn.export.windows import LatentDecoder, windowed_snr
from voxturn.runtime import cli
from voxturn.runtime.coqui import TTS
from voxturn.runtime.errors import (
    CorruptModel,
    ExportFailed,
    UnknownVoice,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.executors.onnx import OnnxGraph
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.models.manifest import Manifest

pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and what it imports
KINDS = synthetic.KINDS


@dataclass(frozen=True)
class Made:
    """A checkpoint and its artifact."""

    checkpoint: Path
    artifact: Path

    @property
    def properties(self) -> dict[str, Any]:
        return dict(Manifest.read(self.artifact).properties)

    def graph(self, name: str) -> OnnxGraph:
        path = self.artifact / name
        return OnnxGraph(path, contract_of(path), Cores().budget("speak", 0))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Made]]:
    """Of a kind, made when it is first asked for."""
    root = tmp_path_factory.mktemp("coqui")
    known: dict[str, Made] = {}

    def make(kind: str) -> Made:
        if kind not in known:
            new = Made(root / f"{kind}-checkpoint", root / kind)
            made = ["export", "make-checkpoint", f"coqui:{kind}", "-o", str(new.checkpoint)]
            assert cli.main(made) == 0
            assert cli.main([*exporting(new.checkpoint), "-o", str(new.artifact)]) == 0
            known[kind] = new
        return known[kind]

    yield make
    shutil.rmtree(root)


def exporting(checkpoint: Path) -> list[str]:
    return ["export", "coqui", "--checkpoint", str(checkpoint)]


# --- the graphs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [2, 40])
def test_the_graphs_are_the_originals(made: Callable[[str], Made], kind: str, length: int) -> None:
    """Of every kind, at lengths that the export has not compared; with the last speaker and
    language."""
    voice = made(kind)
    model = parity.upstream(CoquiFolder.open(voice.checkpoint))
    graphs = [voice.graph("acoustic.onnx"), voice.graph("decoder.onnx")]
    p = voice.properties
    speaker, language = max(0, len(p["speakers"]) - 1), len(p["languages"]) - 1
    found = parity.compared(model, *graphs, p, length, speaker, language)
    assert found["durations.differ"] == 0
    assert found["latents.error"] <= 1e-4
    assert found["audio.error"] <= 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_says_what_was_reached(made: Callable[[str], Made], kind: str) -> None:
    manifest = Manifest.read(made(kind).artifact)
    assert manifest.synthetic
    assert manifest.reached["parity"] == 1
    assert manifest.reached["durations.differ"] == 0
    assert manifest.reached["latents.error"] <= 1e-4
    assert manifest.reached["stream.snr_db"] >= 60
    assert manifest.properties["margin"] > 0


def test_flows_are_no_identity(made: Callable[[str], Made]) -> None:
    """Upstream begins with zeros there, which would hide mistakes."""
    state = torch.load(made("vits").checkpoint / "model.pth", weights_only=True)["model"]
    for name in ("flow.flows.0.post.weight", "duration_predictor.flows.2.proj.weight"):
        assert state[name].std() > 0.01


def test_the_margin_is_needed(made: Callable[[str], Made]) -> None:
    voice = made("vits")
    hop, margin = voice.properties["hop"], voice.properties["margin"]
    decode = LatentDecoder(voice.artifact / "decoder.onnx")
    assert windowed_snr(decode, decode.channels, hop, margin) >= 100
    assert windowed_snr(decode, decode.channels, hop, 1) < 60


def check_words(artifact: Path) -> None:
    """A sentence's words lie in its audio, one after the other, as long as its letters."""
    text = "Hello there, my dear friend."
    with TTS(model_path=artifact, progress_bar=False) as voice:
        language = voice.languages[0] if voice.languages else None
        chunks = list(voice.stream(text, language=language))
    assert len(chunks) > 1
    assert not any(chunk.words for chunk in chunks[1:])
    words = chunks[0].words
    assert [word.text for word in words] == text.split()
    times = [time for word in words for time in (word.begin_s, word.end_s)]
    assert times == sorted(times)
    assert times[0] < 0.2
    whole_s = sum(chunk.samples.size for chunk in chunks) / chunks[0].rate
    assert 0.8 * whole_s < times[-1] <= whole_s + 1e-6


@pytest.mark.parametrize("kind", ["vits", "vits-22to44", "yourtts"])
def test_words_have_times(made: Callable[[str], Made], kind: str) -> None:
    check_words(made(kind).artifact)


def test_noise_repeats_after_its_end(made: Callable[[str], Made]) -> None:
    voice = made("vits")
    graph, random = voice.graph("acoustic.onnx"), np.random.default_rng(0)
    ids = random.integers(1, 60, (1, 30))
    noise = random.standard_normal((1, voice.properties["channels"], 16), np.float32)
    inputs = {
        "input": ids,
        "input_lengths": np.array([30]),
        "scales": np.array([0.6, 1.0, 0.8], np.float32),
        "duration_noise": random.standard_normal((1, 2, 30), np.float32),
    }
    short = graph.run(inputs | {"prior_noise": noise})["latents"]
    whole = graph.run(inputs | {"prior_noise": np.tile(noise, (1, 1, 40))})["latents"]
    assert short.shape[2] > 16
    np.testing.assert_array_equal(short, whole)


# --- speaking


def say(voice: Made, out: Path, *options: str) -> np.ndarray:
    command = ["say", "It is four o'clock, isn't it?", "--model", str(voice.artifact)]
    assert cli.main([*command, "-o", str(out), *options]) == 0
    with wave.open(str(out)) as file:
        assert file.getframerate() == voice.properties["sample_rate"]
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


@pytest.mark.parametrize("kind", KINDS)
def test_it_speaks(made: Callable[[str], Made], kind: str, tmp_path: Path) -> None:
    samples = say(made(kind), tmp_path / "said.wav")
    assert samples.size > 5000
    assert np.abs(samples).max() > 0


def test_options_change_what_is_said(made: Callable[[str], Made], tmp_path: Path) -> None:
    voice, out = made("vits"), tmp_path / "said.wav"
    usual = say(voice, out)
    np.testing.assert_array_equal(say(voice, out), usual)
    assert say(voice, out, "--speed", "0.5").size > 1.6 * usual.size
    still = say(voice, out, "--noise", "0", "--noise-w", "0")
    np.testing.assert_array_equal(
        say(voice, out, "--noise", "0", "--noise-w", "0", "--seed", "3"), still
    )
    assert not np.array_equal(say(voice, out, "--seed", "3"), usual)


def test_a_noise_that_a_voice_does_not_draw_is_refused(
    made: Callable[[str], Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["say", "Hello.", "--model", str(made("vits-plain").artifact), "--noise-w", "0.5"]
    fails(capsys, [*command, "-o", str(tmp_path / "a.wav")], UsageError, "noise_w: voice")


@pytest.mark.parametrize("kind", ["vits-multi", "yourtts"])
def test_every_speaker_has_a_voice_and_others_are_refused(
    made: Callable[[str], Made], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voice, out = made(kind), tmp_path / "said.wav"
    ana, ben = say(voice, out, "--voice", "ana"), say(voice, out, "--voice", "ben")
    assert not np.array_equal(ana, ben)
    np.testing.assert_array_equal(say(voice, out), ana)
    fails(
        capsys,
        ["say", "Hello.", "--model", str(voice.artifact), "-o", str(out), "--voice", "nobody"],
        UnknownVoice,
        "voice 'nobody' is not known; this model has ana, ben, eva",
    )


def test_every_language_is_said_in_its_own_way(made: Callable[[str], Made], tmp_path: Path) -> None:
    voice, out = made("yourtts"), tmp_path / "said.wav"
    english, french = (say(voice, out, "--language", tag) for tag in ("en", "fr"))
    assert not np.array_equal(english, french)


# --- layouts


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("model_file.pth", None),
        ("model_file.pth.tar", None),
        ("best_model.pth", "checkpoint_9000.pth"),
        ("checkpoint_10000.pth", "checkpoint_9000.pth"),
    ],
)
def test_weights_are_found_by_the_names_of_old_and_new_versions(
    made: Callable[[str], Made], name: str, other: str | None, tmp_path: Path
) -> None:
    source = made("vits-multi").checkpoint
    folder = copied(source, tmp_path / "folder")
    (folder / "model.pth").rename(folder / name)
    shutil.copy(folder / "speaker_ids.json", folder / "speakers.json")
    (folder / "speaker_ids.json").unlink()
    if other:
        torch.save({"model": {}}, folder / other)
    assert CoquiFolder.open(folder).weights_file.name == name
    written = family.write(CoquiFolder.open(folder), empty(tmp_path))
    assert written.properties["speakers"] == ["ana", "ben", "eva"]
    assert same_graphs(tmp_path / "out", made("vits-multi").artifact)


def test_speakers_of_a_pickle_are_those_of_the_json(
    made: Callable[[str], Made], tmp_path: Path
) -> None:
    folder = copied(made("yourtts").checkpoint, tmp_path / "folder")
    torch.save(json.loads((folder / "speakers.json").read_text()), folder / "speakers.pth")
    (folder / "speakers.json").unlink()
    family.write(CoquiFolder.open(folder), empty(tmp_path))
    rows = [
        np.load(f / "speakers.npz")["rows"] for f in (tmp_path / "out", made("yourtts").artifact)
    ]
    np.testing.assert_array_equal(*rows)
    np.testing.assert_allclose(np.linalg.norm(rows[0], axis=1), 1.0, rtol=1e-6)


def test_sizes_are_the_weights_whatever_the_configuration_says(
    made: Callable[[str], Made], tmp_path: Path
) -> None:
    folder = copied(made("vits").checkpoint, tmp_path / "folder")
    edit(folder, lambda c: c["model_args"].update(hidden_channels=999, num_layers_flow=7))
    text = (folder / "config.json").read_text()
    commented = "/* of a training */\n" + text.replace("{", "{ // it begins\n", 1)
    (folder / "config.json").write_text(commented)
    family.write(CoquiFolder.open(folder), empty(tmp_path))
    assert same_graphs(tmp_path / "out", made("vits").artifact)


def test_one_language_with_a_table_of_its_own_is_joined(
    made: Callable[[str], Made], tmp_path: Path
) -> None:
    """As css10's voices have it: one row of languages, of which no configuration knows."""
    folder = copied(made("yourtts").checkpoint, tmp_path / "folder")
    whole = torch.load(folder / "model.pth", weights_only=True)
    whole["model"]["emb_l.weight"] = whole["model"]["emb_l.weight"][:1]
    torch.save(whole, folder / "model.pth")
    (folder / "language_ids.json").unlink()
    written = family.write(CoquiFolder.open(folder), empty(tmp_path))
    assert written.properties["languages"] == ["en"]
    assert written.properties["language_ids"] is True


def original_names(state: dict[str, Any]) -> dict[str, Any]:
    """Coqui's names as the original repository has them: flows with a flip behind each."""
    renamed = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        if first == "flow":
            number, _, tail = rest.removeprefix("flows.").partition(".")
            rest = f"flows.{2 * int(number)}.{tail}"
        if first == "duration_predictor" and "flows." in rest:
            head, _, after = rest.partition("flows.")
            number, _, tail = after.partition(".")
            index = 2 * int(number) - 1 if int(number) else 0
            tail = {"translation": "m", "log_scale": "logs"}.get(tail, tail)
            rest = f"{head}flows.{index}.{tail}"
        rest = rest.replace("cond_layer", "cond") if first == "waveform_decoder" else rest
        parts = {
            "text_encoder": "enc_p", "posterior_encoder": "enc_q", "duration_predictor": "dp",
            "waveform_decoder": "dec",
        }  # fmt: skip
        renamed[f"{parts.get(first, first)}.{rest}"] = value
    return renamed


PIPER = {
    "audio": {"sample_rate": 22050, "quality": "tiny"},
    "espeak": {"voice": "en-us"},
    "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
    "phoneme_id_map": {"_": [0], "^": [1], "$": [2], "a": [3]},
    "speaker_id_map": {"ana": 0, "ben": 1, "eva": 2},
}


def test_a_training_of_pipers_has_the_originals_names(
    made: Callable[[str], Made], tmp_path: Path
) -> None:
    voice, folder = made("vits-multi"), tmp_path / "piper"
    folder.mkdir()
    state = torch.load(voice.checkpoint / "model.pth", weights_only=True)["model"]
    args = json.loads((voice.checkpoint / "config.json").read_text())["model_args"]
    named = {f"model_g.{name}": value for name, value in original_names(state).items()}
    trained = {
        "upsample_rates": args["upsample_rates_decoder"],
        "resblock_dilation_sizes": args["resblock_dilation_sizes_decoder"],
        "dataset": [Path("/home/somebody/data")],
    }
    torch.save(
        {"state_dict": named | {"model_d.x": torch.ones(1)}, "hyper_parameters": trained},
        folder / "epoch=9-step=1000.ckpt",
    )
    (folder / "config.json").write_text(json.dumps(PIPER))
    written = family.write(CoquiFolder.open(folder), empty(tmp_path))
    assert same_graphs(tmp_path / "out", voice.artifact)
    assert written.properties["speakers"] == ["ana", "ben", "eva"]
    assert written.properties["espeak_voice"] == "en-us"
    assert written.properties["noise_w"] == 0.8


def test_mms_of_fairseq_has_the_originals_names(
    made: Callable[[str], Made], tmp_path: Path
) -> None:
    voice, folder = made("vits"), tmp_path / "fin"
    folder.mkdir()
    state = torch.load(voice.checkpoint / "model.pth", weights_only=True)["model"]
    args = json.loads((voice.checkpoint / "config.json").read_text())["model_args"]
    torch.save({"model": original_names(state)}, folder / "G_100000.pth")
    model = {
        "upsample_rates": args["upsample_rates_decoder"],
        "resblock_dilation_sizes": args["resblock_dilation_sizes_decoder"],
    }
    data = {"sampling_rate": 16000, "add_blank": True, "training_files": "train.ltr"}
    (folder / "config.json").write_text(json.dumps({"train": {}, "data": data, "model": model}))
    symbols = state["text_encoder.emb.weight"].shape[0]
    letters = [" ", *"abcdefghijklmnopqrstuvwxyz", *(chr(0x400 + i) for i in range(symbols))]
    (folder / "vocab.txt").write_text("\n".join(letters[:symbols]) + "\n", encoding="utf-8")
    written = family.write(CoquiFolder.open(folder), empty(tmp_path))
    assert same_graphs(tmp_path / "out", voice.artifact)
    assert written.properties["languages"] == ["fi"]
    assert written.properties["sample_rate"] == 16000
    assert written.properties["text"]["blank"] == 0


def test_mms_of_transformers_is_the_original(tmp_path: Path) -> None:
    """Its `VitsModel` says the same, of the same noise."""
    from transformers import VitsConfig, VitsModel

    torch.manual_seed(0)
    config = VitsConfig(
        vocab_size=30, hidden_size=32, num_hidden_layers=2, ffn_dim=48, flow_size=32,
        spectrogram_bins=20, upsample_initial_channel=32, upsample_rates=[8, 8, 4],
        upsample_kernel_sizes=[16, 16, 8], resblock_kernel_sizes=[3, 5],
        resblock_dilation_sizes=[[1, 3], [1, 3]], prior_encoder_num_wavenet_layers=2,
        posterior_encoder_num_wavenet_layers=2, prior_encoder_num_flows=2, sampling_rate=16000,
    )  # fmt: skip
    model = VitsModel(config).eval()
    synthetic.randomise(dict(model.named_parameters()))
    folder = tmp_path / "hub"
    model.save_pretrained(folder)
    letters = {char: i for i, char in enumerate(" abcdefghijklmnopqrstuvwxyz'-_")}
    (folder / "vocab.json").write_text(json.dumps(letters))
    tokenizer = {"language": "fin", "is_uroman": False, "add_blank": True, "phonemize": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    out = empty(tmp_path)
    properties = family.write(CoquiFolder.open(folder), out).properties
    ids = np.random.default_rng(0).integers(1, 30, (1, 21))
    torch.manual_seed(1)
    with torch.no_grad():
        wanted = model(input_ids=torch.from_numpy(ids)).waveform[0].numpy()
    frames = wanted.size // properties["hop"]
    torch.manual_seed(1)
    drawn, prior = (
        torch.randn(1, 2, 21),
        torch.randn_like(torch.empty(1, frames, 32).transpose(1, 2)),
    )
    voice = Made(folder, out)
    scales = [properties[key] for key in ("noise_scale", "length_scale", "noise_w")]
    got = voice.graph("acoustic.onnx").run(
        {
            "input": ids,
            "input_lengths": np.array([21]),
            "scales": np.array(scales, np.float32),
            "duration_noise": drawn.numpy(),
            "prior_noise": np.ascontiguousarray(prior.numpy()),
        }
    )
    audio = voice.graph("decoder.onnx").run({"latents": got["latents"]})["audio"]
    assert parity.error(audio.reshape(-1), wanted) <= 1e-4
    assert properties["languages"] == ["fi"]


# --- what is refused


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def empty(root: Path) -> Path:
    (root / "out").mkdir()
    return root / "out"


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def same_graphs(one: Path, other: Path) -> bool:
    names = ("acoustic.onnx.data", "decoder.onnx.data", "acoustic.onnx", "decoder.onnx")
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def fails(
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    kind: type[VoxturnError],
    says: str,
) -> None:
    capsys.readouterr()
    assert cli.main(command) == kind.exit_code
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert says in error


class Evil:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('it ran')",)


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _nan(folder: Path) -> None:
    whole = torch.load(folder / "model.pth", weights_only=True)
    whole["model"]["flow.flows.0.pre.bias"][0] = float("nan")
    torch.save(whole, folder / "model.pth")


def _evil(folder: Path) -> None:
    torch.save({"model": Evil()}, folder / "model.pth")


def _missing(folder: Path) -> None:
    whole = torch.load(folder / "model.pth", weights_only=True)
    del whole["model"]["flow.flows.1.post.bias"]
    whole["model"]["something.else"] = torch.ones(1)
    torch.save(whole, folder / "model.pth")


def _other_weights(folder: Path) -> None:
    torch.save({"model": {"encoder.weight": torch.ones(3)}}, folder / "model.pth")


BAD: dict[str, tuple[Callable[[Path], Any], type[VoxturnError], str]] = {
    "no configuration": (_no_config, CorruptModel, "config.json: is missing"),
    "a broken configuration": (lambda f: (f / "config.json").write_text("{"), CorruptModel, "not JSON"),
    "another family": (lambda f: edit(f, lambda c: c.update(model="overflow")), ExportFailed, "'overflow', which is not exported yet; exported: vits"),
    "an old vocoder": (lambda f: edit(f, lambda c: (c.pop("model"), c.update(generator_model="hifigan_generator"))), ExportFailed, "'hifigan', which is not exported yet"),
    "an XTTS": (lambda f: edit(f, lambda c: c.update(model="xtts")), ExportFailed, "voxturn export xtts-v2 exports it"),
    "no family": (lambda f: edit(f, lambda c: c.pop("model")), CorruptModel, "names no model"),
    "another vocabulary": (lambda f: edit(f, lambda c: c["characters"].update(characters="abc")), ExportFailed, "its vocabulary has 16 symbols, the model embeds"),
    "an unknown cleaner": (lambda f: edit(f, lambda c: c.update(text_cleaner="washing")), ExportFailed, "'washing', which is not supported yet"),
    "an unknown phonemizer": (lambda f: edit(f, lambda c: c.update(use_phonemes=True, phonemizer="be_phonemizer")), ExportFailed, "'be_phonemizer', which is not supported yet; supported: espeak, gruut"),
    "no language": (lambda f: edit(f, lambda c: c.update(phoneme_language="", datasets=[])), ExportFailed, "says no language"),
    "other rates": (lambda f: edit(f, lambda c: c["model_args"].update(upsample_rates_decoder=[8, 8])), ExportFailed, "the rates [8, 8]; they do not belong together"),
    "other dilations": (lambda f: edit(f, lambda c: c["model_args"].update(resblock_dilation_sizes_decoder=[[1]])), ExportFailed, "they do not belong together"),
    "rates that are text": (lambda f: edit(f, lambda c: c["model_args"].update(upsample_rates_decoder="fast")), CorruptModel, ""),
    "no weights": (lambda f: (f / "model.pth").unlink(), CorruptModel, "holds no weights (model.pth, model_file.pth"),
    "a pickle that runs code": (_evil, CorruptModel, "is not unpickled"),
    "weights of no VITS": (_other_weights, ExportFailed, "the checkpoint is not a VITS"),
    "missing and left over": (_missing, ExportFailed, "missing ['flow.flows.1.post.bias'], left over ['something.else']"),
    "weights that are no numbers": (_nan, CorruptModel, "holds NaN or infinite values in ['flow.flows.0.pre.bias']"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_folder_is_refused_in_one_line(
    made: Callable[[str], Made], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, kind, says = BAD[name]
    folder = copied(made("vits").checkpoint, tmp_path / "folder")
    damage(folder)
    fails(capsys, [*exporting(folder), "-o", str(tmp_path / "out")], kind, says)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_archive_is_to_be_unpacked_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    fails(
        capsys,
        [*exporting(path), "-o", str(tmp_path / "out")],
        ExportFailed,
        "is a file; unpack it",
    )


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"ana": 0, "ben": 1}, "names 2 speakers, the model has 3"),
        ({"ana": 0, "ben": 1, "eva": 7}, "names 3 speakers, the model has 3"),
    ],
)
def test_names_of_other_speakers_are_refused(
    made: Callable[[str], Made],
    names: dict[str, int],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = copied(made("vits-multi").checkpoint, tmp_path / "folder")
    (folder / "speaker_ids.json").write_text(json.dumps(names))
    fails(capsys, [*exporting(folder), "-o", str(tmp_path / "out")], ExportFailed, says)


def test_d_vectors_of_another_width_are_refused(
    made: Callable[[str], Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(made("yourtts").checkpoint, tmp_path / "folder")
    clips = {"a": {"name": "ana", "embedding": [1.0, 2.0]}}
    (folder / "speakers.json").write_text(json.dumps(clips))
    says = "its d-vectors are [2], the model takes 16 values"
    fails(capsys, [*exporting(folder), "-o", str(tmp_path / "out")], ExportFailed, says)
    (folder / "speakers.json").unlink()
    fails(
        capsys,
        [*exporting(folder), "-o", str(tmp_path / "out")],
        ExportFailed,
        "holds no d-vectors",
    )


def test_a_phonemizer_that_is_not_installed_is_named_with_its_extra(
    made: Callable[[str], Made],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "gruut", None)
    folder = copied(made("vits").checkpoint, tmp_path / "folder")
    edit(folder, lambda c: c.update(use_phonemes=True, phonemizer="gruut", phoneme_language="de"))
    out = tmp_path / "out"
    assert cli.main([*exporting(folder), "-o", str(out)]) == 0
    capsys.readouterr()
    assert (
        cli.main(
            [
                "say",
                "Hallo.",
                "--language",
                "de",
                "--model",
                str(out),
                "-o",
                str(tmp_path / "a.wav"),
            ]
        )
        == 6
    )
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "the phonemes of gruut are not installed; pip install 'voxturn[gruut]'" in error


def test_without_coqui_tts_the_export_says_that_nothing_was_compared(
    made: Callable[[str], Made],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from voxturn.export.coqui import export

    monkeypatch.setattr(export, "find_spec", lambda name: None)
    assert cli.main([*exporting(made("vits").checkpoint), "-o", str(tmp_path / "out")]) == 0
    error = capsys.readouterr().err
    assert (
        "not compared with coqui-tts, which is not installed; pip install 'voxturn[coqui]'" in error
    )
    assert Manifest.read(tmp_path / "out").reached["parity"] == 0
