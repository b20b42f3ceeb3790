"""An OpenVoice with tiny random weights: exported from its folder, compared with coqui-tts itself, and
used for conversion."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from voxturn.export.coqui.export import family_of
from voxturn.export.coqui.folder import CoquiFolder
from voxturn.export.coqui.openvoice import family, parity, synthetic
from voxturn.export.coqui.parity import graph_of
from voxturn.runtime import cli
from voxturn.runtime.conversion import VoiceConverter
from voxturn.runtime.coqui import TTS
from voxturn.runtime.errors import (
    AudioError,
    AudioTooLong,
    CorruptModel,
    ExportFailed,
    InvalidProfile,
    UnknownModel,
    UnreadableAudio,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.families.base import ConversionOptions
from voxturn.runtime.messages import Samples
from voxturn.runtime.models.manifest import Manifest

pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and what it imports
KINDS = synthetic.KINDS
RATE = 22050


@dataclass(frozen=True)
class Made:
    """A checkpoint and its artifact."""

    checkpoint: Path
    artifact: Path

    @property
    def properties(self) -> dict[str, Any]:
        return dict(Manifest.read(self.artifact).properties)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Made]]:
    """Of a kind, made when it is first asked for."""
    root = tmp_path_factory.mktemp("openvoice")
    known: dict[str, Made] = {}

    def make(kind: str) -> Made:
        if kind not in known:
            new = Made(root / f"{kind}-checkpoint", root / kind)
            making = ["export", "make-checkpoint", f"coqui:{kind}", "-o", str(new.checkpoint)]
            assert cli.main(making) == 0
            assert cli.main([*exporting(new.checkpoint), "-o", str(new.artifact)]) == 0
            known[kind] = new
        return known[kind]

    yield make
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def converter(made: Callable[[str], Made]) -> Iterator[VoiceConverter]:
    with VoiceConverter.load(made("openvoice_v2").artifact) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny VITS."""
    root = tmp_path_factory.mktemp("vits")
    making = ["export", "make-checkpoint", "coqui:vits-plain", "-o", str(root / "checkpoint")]
    assert cli.main(making) == 0
    assert cli.main([*exporting(root / "checkpoint"), "-o", str(root / "vits")]) == 0
    return root / "vits"


def exporting(checkpoint: Path) -> list[str]:
    return ["export", "coqui", "--checkpoint", str(checkpoint)]


def speech(seconds: float, seed: int, rate: int = RATE) -> Samples:
    """Something like speech, with pauses."""
    count = int(seconds * rate)
    swell = np.clip(np.sin(np.arange(count) / rate * 7), 0, 1)
    return np.asarray(parity.recording(count, seed) * swell, np.float32)


def recorded(path: Path, seconds: float, seed: int, rate: int = RATE) -> Path:
    soundfile.write(path, speech(seconds, seed, rate), rate)
    return path


# --- the graphs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.3, 2.3])
def test_the_graphs_are_the_originals(
    made: Callable[[str], Made], kind: str, seconds: float
) -> None:
    """Of both kinds, at lengths that the export has not compared."""
    one = made(kind)
    model = parity.upstream(CoquiFolder.open(one.checkpoint))
    graphs = [graph_of(one.artifact / file) for file in family.GRAPHS.values()]
    found = parity.compared(model, graphs, one.properties, seconds)
    assert max(found.values()) <= 1e-4, found


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_says_what_was_reached(made: Callable[[str], Made], kind: str) -> None:
    manifest = Manifest.read(made(kind).artifact)
    assert (manifest.kind, manifest.task, manifest.synthetic) == (
        "openvoice",
        "voice-conversion",
        True,
    )
    assert manifest.reached["parity"] == 1
    assert manifest.reached["audio.error"] <= 1e-4
    assert manifest.reached["stream.snr_db"] >= 60
    assert manifest.reached["stream.latents_snr_db"] >= 60
    assert manifest.properties["reach"] == 32 + 2 * 4 * 4 * 2
    assert manifest.properties["tells_speaker"] is (kind == "openvoice_v1")


def test_flows_are_no_identity_and_tones_differ(made: Callable[[str], Made]) -> None:
    one = made("openvoice_v2")
    state = torch.load(one.checkpoint / "checkpoint.pth", weights_only=True)["model"]
    assert state["flow.flows.0.post.weight"].std() > 0.01
    graph = graph_of(one.artifact / "voice.onnx")
    random = np.random.default_rng(0)
    spectra = [random.random((1, 513, 90), np.float32) * size for size in (0.1, 3.0)]
    tones = [graph.run({"spectrum": each})["tone"] for each in spectra]
    assert np.abs(tones[0] - tones[1]).max() > 1e-3


def test_a_folder_within_is_found_as_a_hub_has_it(
    made: Callable[[str], Made], tmp_path: Path
) -> None:
    source = made("openvoice_v2").checkpoint
    shutil.copytree(source, tmp_path / "pulled" / "checkpoints" / "converter")
    folder = CoquiFolder.open(tmp_path / "pulled")
    assert family_of(folder.config) == "openvoice"
    (tmp_path / "out").mkdir()
    family.write(folder, tmp_path / "out")
    for file in family.GRAPHS.values():
        pair = [root / file for root in (tmp_path / "out", made("openvoice_v2").artifact)]
        assert pair[0].read_bytes() == pair[1].read_bytes()


# --- converting


def test_windows_give_the_samples_of_the_whole(
    made: Callable[[str], Made], converter: VoiceConverter, tmp_path: Path
) -> None:
    """Streamed in pieces, live or not, as one run of all three graphs."""
    source, to = speech(4.1, 1), recorded(tmp_path / "to.wav", 2.0, 2)
    known = {"speaker": to, "seed": 3}
    got = converter.convert(source, to, **known)
    live = converter.convert(source, to, live=True, **known)
    p = made("openvoice_v2").properties
    voice, latents, decoder = (
        graph_of(made("openvoice_v2").artifact / file) for file in family.GRAPHS.values()
    )
    spectrum = parity.spectrum(source, p["fft"], p["hop"], p["win"])[None]
    heard, _ = soundfile.read(to, dtype="float32")
    tone = voice.run({"spectrum": parity.spectrum(heard, p["fft"], p["hop"], p["win"])[None]})
    noise = np.random.default_rng(3).standard_normal((spectrum.shape[2], p["channels"]), np.float32)
    inputs = {"spectrum": spectrum, "noise": np.float32(p["tau"]) * noise.T[None]}
    inputs |= {"source": tone["tone"], "target": tone["tone"]}
    whole = decoder.run({"latents": latents.run(inputs)["latents"]})["audio"].reshape(-1)
    assert got.size == live.size == whole.size
    for streamed in (got, live):
        error = streamed.astype(np.float64) - whole
        assert 10 * np.log10((whole**2).sum() / max((error**2).sum(), 1e-30)) >= 60


def test_it_depends_on_the_target_the_speaker_and_the_seed(
    converter: VoiceConverter, tmp_path: Path
) -> None:
    source = speech(1.0, 1)
    ana, ben = (recorded(tmp_path / f"{seed}.wav", 2.0, seed) for seed in (2, 3))
    usual = converter.convert(source, ana)
    np.testing.assert_array_equal(converter.convert(source, ana), usual)
    assert not np.array_equal(converter.convert(source, ben), usual)
    assert not np.array_equal(converter.convert(source, [ana, ben]), usual)
    assert not np.array_equal(converter.convert(source, ana, speaker=ben), usual)
    assert not np.array_equal(converter.convert(source, ana, seed=1), usual)
    still = converter.convert(source, ana, noise=0.0)
    np.testing.assert_array_equal(converter.convert(source, ana, noise=0.0, seed=1), still)


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_converts_a_file_of_any_rate(
    made: Callable[[str], Made], kind: str, tmp_path: Path
) -> None:
    source = recorded(tmp_path / "source.flac", 1.5, 1, 44100)
    to, out = recorded(tmp_path / "to.wav", 1.2, 2, 16000), tmp_path / "out.wav"
    command = ["convert", str(source), "--to", str(to), "-o", str(out)]
    assert cli.main([*command, "--model", str(made(kind).artifact)]) == 0
    with wave.open(str(out)) as file:
        assert file.getframerate() == RATE
        assert 0 <= 1.5 * RATE - file.getnframes() <= 256
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    assert np.abs(samples).max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversion_is_that_of_coqui_tts(
    made: Callable[[str], Made], kind: str, tmp_path: Path
) -> None:
    """From samples to samples, by its own method, in the mean of two voices; without noise, which both
    draw by themselves."""
    model = parity.upstream(CoquiFolder.open(made(kind).checkpoint))
    model.tau = 0.0
    source, targets = speech(2.1, 1), [recorded(tmp_path / f"{i}.wav", 2.0, i) for i in (2, 3)]
    heard = [torch.from_numpy(soundfile.read(path, dtype="float32")[0]) for path in targets]
    wanted = model.voice_conversion(torch.from_numpy(source), heard)
    with VoiceConverter.load(made(kind).artifact) as loaded:
        got = loaded.convert(source, targets, noise=0.0)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_a_pipe_is_converted_while_it_comes(
    made: Callable[[str], Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, out = recorded(tmp_path / "to.wav", 2.0, 2), tmp_path / "out.wav"
    samples = (speech(1.0, 1, 16000) * 32767).astype("<i2").tobytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(samples)))
    command = ["convert", "-", "--raw", "16000", "--live", "--to", str(to), "-o", str(out)]
    assert cli.main([*command, "--model", str(made("openvoice_v2").artifact)]) == 0
    assert 0 <= RATE - soundfile.info(out).frames <= 256


async def test_somebody_who_speaks_is_answered_while_he_does(
    converter: VoiceConverter, tmp_path: Path
) -> None:
    """After three seconds and the delay, there is audio, as much as it says."""
    to = recorded(tmp_path / "to.wav", 2.0, 2)
    live = converter.converter.using(ConversionOptions(to=(to,), live=True))
    given, asked = 0, 0

    async def speaking() -> AsyncIterator[Samples]:
        nonlocal asked
        for piece in np.split(speech(8.0, 1), 80):
            asked += piece.size
            yield piece

    async with aclosing(live(speaking(), RATE)) as chunks:
        async for chunk in chunks:
            assert chunk.start == given
            given += chunk.samples.size
            if asked < 8 * RATE - 1:
                assert asked - given <= live.delay_s * RATE + 12 * RATE // 10 + 3 * RATE
    assert 8 * RATE - given < 256
    assert 1.5 < live.delay_s < 2.5


def test_the_shortest_recording_has_a_sound(converter: VoiceConverter, tmp_path: Path) -> None:
    to = recorded(tmp_path / "to.wav", 2.0, 2)
    assert converter.convert(np.full(10, 0.1, np.float32), to).size == 256


# --- what is refused


def fails(
    capsys: pytest.CaptureFixture[str], command: list[str], error: type[VoxturnError], text: str
) -> None:
    assert cli.main(command) == error.exit_code
    assert text in capsys.readouterr().err


def test_references_without_speech_are_refused(converter: VoiceConverter, tmp_path: Path) -> None:
    source = speech(1.0, 1)
    short = recorded(tmp_path / "short.wav", 0.2, 2)
    silent, noise = tmp_path / "silent.wav", tmp_path / "text.wav"
    soundfile.write(silent, np.zeros(3 * RATE), RATE)
    noise.write_text("this is no audio at all")
    for path in (short, silent):
        with pytest.raises(AudioError, match=r"0\.5 s are the least"):
            converter.convert(source, path)
    with pytest.raises(UnreadableAudio):
        converter.convert(source, noise)
    with pytest.raises(UsageError, match="name a recording"):
        converter.convert(source, ())
    with pytest.raises(UsageError, match="noise"):
        converter.convert(source, short, noise=9.0)


def test_sources_that_are_no_audio_or_too_long_are_refused(
    made: Callable[[str], Made],
    converter: VoiceConverter,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    to, out = recorded(tmp_path / "to.wav", 2.0, 2), tmp_path / "out.wav"
    with pytest.raises(AudioTooLong):
        converter.convert(recorded(tmp_path / "long.wav", 2.0, 1), to, longest_s=1.0)
    text = tmp_path / "text.wav"
    text.write_text("this is no audio at all")
    rest = ["--to", str(to), "-o", str(out), "--model", str(made("openvoice_v2").artifact)]
    fails(capsys, ["convert", str(text), *rest], UnreadableAudio, "text.wav")
    fails(capsys, ["convert", str(tmp_path / "none.wav"), *rest], AudioError, "none.wav")
    fails(capsys, ["convert", str(to), *rest, "--noise", "9"], UsageError, "noise")
    assert not out.exists()


def test_a_model_of_another_task_is_refused(
    made: Callable[[str], Made], voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A converter is no voice, nor a voice a converter."""
    artifact, out = str(made("openvoice_v2").artifact), str(tmp_path / "a.wav")
    to = str(recorded(tmp_path / "to.wav", 2.0, 2))
    fails(capsys, ["say", "Hello.", "--model", artifact, "-o", out], UsageError, "not a voice")
    convert = ["convert", to, "--to", to, "-o", out, "--model"]
    fails(capsys, [*convert, str(voice)], InvalidProfile, "for text-to-speech")
    fails(capsys, [*convert, "nobody"], UnknownModel, "nobody")


def test_a_profile_whose_recording_is_missing_is_refused(
    made: Callable[[str], Made], voice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = resources.files("voxturn.runtime").joinpath("profiles/cpu.toml").read_text("utf-8")
    table = f'\n[convert]\nmodel = "{made("openvoice_v2").artifact}"\nto = ["nowhere.wav"]\n'
    (tmp_path / "mine.toml").write_text(demo + table, encoding="utf-8")
    command = ["say", "Hi.", "--profile", str(tmp_path / "mine.toml"), "--model", str(voice)]
    fails(capsys, [*command, "-o", str(tmp_path / "a.wav")], UsageError, "to: nowhere.wav")


def changed(source: Path, target: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of a checkpoint with another state dict."""
    shutil.copytree(source, target)
    whole = torch.load(target / "checkpoint.pth", weights_only=True)
    change(whole["model"])
    torch.save(whole, target / "checkpoint.pth")
    return target


def test_weights_that_are_no_openvoice_are_refused(
    made: Callable[[str], Made], tmp_path: Path
) -> None:
    source = made("openvoice_v2").checkpoint
    cases: list[tuple[Callable[[dict[str, Any]], Any], type[VoxturnError], str]] = [
        (lambda s: s["enc_q.pre.weight"].fill_(float("nan")), CorruptModel, "enc_q.pre.weight"),
        (lambda s: s.pop("ref_enc.proj.weight"), ExportFailed, "not an OpenVoice"),
        (lambda s: s.update({"extra.weight": torch.ones(1)}), ExportFailed, "left over ..extra"),
        (
            lambda s: s.update({"ref_enc.convs.3.bias": torch.ones(7)}),
            ExportFailed,
            "ref_enc.convs.3.bias",
        ),
        (lambda s: s.update({"enc_q.pre.weight": torch.ones(24, 99, 1)}), ExportFailed, "bins"),
    ]
    for number, (change, error, text) in enumerate(cases):
        folder = changed(source, tmp_path / str(number), change)
        (tmp_path / f"out{number}").mkdir()
        with pytest.raises(error, match=text):
            family.write(CoquiFolder.open(folder), tmp_path / f"out{number}")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("filter_length", 512, "do not belong together"),
        ("hop_length", 128, "do not belong together"),
        ("win_length", 4096, "window"),
        ("sampling_rate", "fast", "config.json"),
    ],
)
def test_configurations_of_other_models_are_refused(
    made: Callable[[str], Made], tmp_path: Path, key: str, value: object, text: str
) -> None:
    folder = shutil.copytree(made("openvoice_v2").checkpoint, tmp_path / "folder")
    config = json.loads((folder / "config.json").read_text())
    config["data"][key] = value
    (folder / "config.json").write_text(json.dumps(config))
    (tmp_path / "out").mkdir()
    with pytest.raises((ExportFailed, CorruptModel), match=text):
        family.write(CoquiFolder.open(folder), tmp_path / "out")


class _Runs:
    """A pickle that would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("it ran",))


def test_a_pickle_that_wants_to_run_code_is_refused(
    made: Callable[[str], Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(made("openvoice_v2").checkpoint, tmp_path / "folder")
    (folder / "checkpoint.pth").write_bytes(pickle.dumps({"model": _Runs()}))
    command = [*exporting(folder), "-o", str(tmp_path / "out")]
    assert cli.main(command) == CorruptModel.exit_code
    assert "it ran" not in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_an_artifact_that_lies_about_its_sizes_is_refused(
    made: Callable[[str], Made], tmp_path: Path
) -> None:
    for key, value in (("fft", 1 << 30), ("hop", 0), ("reach", "wide"), ("win", 3)):
        folder = shutil.copytree(made("openvoice_v2").artifact, tmp_path / key)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["properties"][key] = value
        (folder / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(CorruptModel), VoiceConverter.load(folder):
            pass


# --- by coqui-tts's names


def test_a_converter_has_the_names_of_coqui_tts(
    made: Callable[[str], Made], converter: VoiceConverter, tmp_path: Path
) -> None:
    source, to = recorded(tmp_path / "me.wav", 1.0, 1), recorded(tmp_path / "to.wav", 2.0, 2)
    wanted = converter.convert(source, to)
    with TTS(model_path=made("openvoice_v2").artifact, progress_bar=False) as tts:
        assert tts.output_sample_rate == RATE
        np.testing.assert_array_equal(tts.voice_conversion(source, to), wanted)
        out = tts.voice_conversion_to_file(source, [to], file_path=tmp_path / "out.wav")
        assert soundfile.info(out).frames == wanted.size
        assert (tts.speakers, tts.languages) == (None, None)
        assert not tts.is_multi_speaker
        assert not tts.is_multi_lingual
        with pytest.raises(UsageError, match="does not speak"):
            tts.tts("Hello.")


def test_a_voice_speaks_in_the_timbre_of_a_recording(
    made: Callable[[str], Made], voice: Path, tmp_path: Path
) -> None:
    ana, ben = (recorded(tmp_path / f"{seed}.wav", 2.0, seed) for seed in (2, 3))
    with TTS(model_path=voice, progress_bar=False) as tts:
        with pytest.raises(UsageError, match="voice_conversion_models"):
            tts.voice_conversion(ana, ben)
        tts.load_vc_model_by_name(str(made("openvoice_v2").artifact))
        text = "It is four o'clock. Is it? It is."
        plain = tts.tts(text)
        said = [tts.tts_with_vc(text, speaker_wav=to) for to in (ana, ben)]
        assert abs(said[0].size - plain.size) < 3 * 256 * 2
        assert not np.array_equal(*said)
        out = tts.tts_with_vc_to_file(text, speaker_wav=ana, file_path=tmp_path / "said.wav")
        assert soundfile.info(out).frames == said[0].size


def test_a_profile_gives_its_voice_another_timbre(
    made: Callable[[str], Made], voice: Path, tmp_path: Path
) -> None:
    """By `[convert]`: what is said is converted; without recordings it is not."""
    to = recorded(tmp_path / "to.wav", 2.0, 2)
    demo = resources.files("voxturn.runtime").joinpath("profiles/cpu.toml").read_text("utf-8")
    profiles = []
    for name, line in (("plain", ""), ("converted", f'to = ["{to}"]\n')):
        profiles.append(tmp_path / f"{name}.toml")
        table = f'\n[convert]\nmodel = "{made("openvoice_v2").artifact}"\n{line}'
        profiles[-1].write_text(demo + table, encoding="utf-8")
    said = []
    for number, profile in enumerate(profiles):
        out = tmp_path / f"{number}.wav"
        command = ["say", "It is four.", "--profile", str(profile), "--model", str(voice)]
        assert cli.main([*command, "-o", str(out)]) == 0
        said.append(soundfile.read(out)[0])
    assert said[0].size > 0
    assert said[1].size > 0
    assert not np.array_equal(*said)


def test_the_command_tts_converts(made: Callable[[str], Made], tmp_path: Path) -> None:
    source, to = recorded(tmp_path / "me.wav", 1.0, 1), recorded(tmp_path / "to.wav", 2.0, 2)
    command = ["tts", "--model_path", str(made("openvoice_v2").artifact), "--progress_bar", "no"]
    out = tmp_path / "out.wav"
    files = ["--source_wav", str(source), "--target_wav", str(to)]
    assert cli.main([*command, *files, "--out_path", str(out)]) == 0
    assert soundfile.info(out).frames > 0
    assert cli.main([*command, *files[:2]]) == UsageError.exit_code
