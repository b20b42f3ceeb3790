"""coqui-tts's Python interface and its command line, on fakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from voxturn.runtime import cli, coqui
from voxturn.runtime.coqui import TTS
from voxturn.runtime.errors import EmptyText, UnknownModel, UsageError
from voxturn.runtime.models.store import Store

from tests.artifacts import KINDS
from tests.cli_fakes import FakeParts

NAME = "vits-en-us-joe"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifact that nobody has to pull, and fakes that speak for it."""
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))

    def parts(profile: Any, store: Store, progress: Any) -> FakeParts:
        return FakeParts(profile)

    monkeypatch.setattr(coqui, "LoadedParts", parts)
    path = tmp_path / "voice"
    KINDS["vits"](path)
    return path


def test_a_text_becomes_samples_and_a_file(folder: Path, tmp_path: Path) -> None:
    with TTS(model_path=folder, progress_bar=False).to("cpu") as tts:
        samples = tts.tts("Hello there. How are you?")
        assert samples.dtype == np.float32
        assert samples.size > 0
        path = tts.tts_to_file("Hello there. How are you?", file_path=tmp_path / "a.wav")
        heard, rate = soundfile.read(path, dtype="float32")
        assert rate == tts.output_sample_rate
        assert np.allclose(heard, samples, atol=1e-4)
        assert tts.tts("Hello there.", split_sentences=False).size > 0
        assert (tts.speakers, tts.languages) == (None, None)
        assert not tts.is_multi_speaker
        assert not tts.is_multi_lingual


def test_names_are_those_of_the_registry() -> None:
    names = TTS.list_models()
    assert {NAME, "tts_models/de/thorsten/vits", "xtts-v2"} <= set(names)
    assert "tts_models/multilingual/multi-dataset/xtts_v2" in names
    assert not [name for name in names if name.startswith("vocoder_models")]


def test_what_cannot_be_is_said(folder: Path, tmp_path: Path) -> None:
    for given in ({}, {"model_name": NAME, "model_path": folder}):
        with pytest.raises(UsageError, match="one of them"):
            TTS(**given)
    with pytest.raises(UnknownModel):
        TTS("tts_models/xx/none/vits")
    with pytest.raises(UsageError, match="export coqui"):
        TTS(model_path=tmp_path)
    with TTS(model_path=folder, progress_bar=False) as tts:
        with pytest.raises(EmptyText):
            tts.tts("...")
        with pytest.raises(UsageError, match="cpu"):
            tts.to("cuda")
        with pytest.raises(UsageError):
            tts.tts("Hello.", speaker_wav=tmp_path / "me.wav")
        with pytest.raises(UsageError):
            tts.tts("Hello.", speed=9.0)


def test_the_command_says_a_text(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.wav"
    words = ["tts", "--model_path", str(folder), "--progress_bar", "False"]
    assert cli.main([*words, "--text", "Hello there.", "--out_path", str(out)]) == 0
    assert soundfile.info(out).frames > 0
    assert cli.main([*words, "--list_speaker_idxs"]) == 0
    assert cli.main(["tts", "--list_models"]) == 0
    assert "vocoder_models/en/ljspeech/hifigan_v2" in capsys.readouterr().out
    assert cli.main(["tts", "--model_info_by_name", "tts_models/uk/mai/vits"]) == 0
    assert "archive" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--text"),
        (["--text", "Hello.", "--vocoder_name", "x"], "--vocoder_name"),
        (["--text", "Hello.", "--config_path", "x"], "--config_path"),
        (["--text", "Hello.", "--use_cuda"], "cuda"),
    ],
)
def test_flags_that_cannot_be_heeded_are_refused(
    words: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["tts", "--model_path", str(folder), *words]) == 2
    assert said in capsys.readouterr().err
