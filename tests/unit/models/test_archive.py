"""Models whose files lie in a zip: pulled, unpacked, locked; and zips that nobody should unpack."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from voxturn.runtime.errors import DownloadFailed
from voxturn.runtime.models import archive
from voxturn.runtime.models import store as stores
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.registry import Model, Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.prepare import bring_model

NAME = "tts_models/de/thorsten/vits"


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A model of coqui-tts's list, whose archive is a file here."""
    listed, alias = Registry.read().resolve(NAME)
    assert alias is None
    path = zipped(tmp_path / "a.zip", {"vits/config.json": b"{}", "vits/model.pth": b"weights"})
    return replace(listed, archive=path.as_uri())


def test_its_files_come_without_the_folder_they_lie_in(model: Model, tmp_path: Path) -> None:
    folder = Store(tmp_path / "store").pull(model)
    assert (folder / "config.json").read_bytes() == b"{}"
    assert (folder / "model.pth").read_bytes() == b"weights"
    assert not list((tmp_path / "store" / "partial").rglob("*.zip"))


def test_the_hash_of_the_first_pull_is_the_one_that_holds(model: Model, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.pull(model)
    zipped(tmp_path / "a.zip", {"vits/config.json": b"{}", "vits/model.pth": b"other"})
    for file in store.checkpoint_path(model).iterdir():
        file.unlink()
    with pytest.raises(DownloadFailed, match="hash"):
        store.pull(model)


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out", "a\\..\\out"])
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {name: b"x", "b": b"y"})
    with pytest.raises(DownloadFailed, match="not a name"):
        archive.unpack(path, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_what_is_no_zip_or_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(DownloadFailed, match="not a whole zip"):
        archive.unpack(path, tmp_path)
    zipped(path, {"a": bytes(2000)})
    monkeypatch.setattr(archive, "_MOST_BYTES", 1000)
    with pytest.raises(DownloadFailed, match="unpacked"):
        archive.size_of(path)


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"m/a": b"1", "__MACOSX/m/._a": b"2", "m/.DS_Store": b"3"})
    archive.unpack(path, tmp_path / "to")
    assert [file.name for file in (tmp_path / "to").iterdir()] == ["a"]


def test_a_model_comes_with_the_vocoder_that_its_list_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, store = Registry.read(), Store(tmp_path / "store")
    name = "tts_models/en/ljspeech/glow-tts"
    address = zipped(tmp_path / "a.zip", {"config.json": b"{}"}).as_uri()
    for each in (name, registry.models[name].vocoder):
        registry.models[each] = replace(registry.models[each], archive=address)
    exported: list[tuple[Path, Path | None]] = []

    def exporter(
        checkpoint: Path,
        source: Manifest,
        target: Path,
        precision: str,
        progress: Progress,
        vocoder: Path | None = None,
    ) -> None:
        exported.append((checkpoint, vocoder))
        (target / "manifest.json").write_text("{}", encoding="utf-8")

    monkeypatch.setattr(stores, "find_exporter", lambda _: exporter)
    bring_model(name, "", store, registry)
    vocoder = registry.models[registry.models[name].vocoder]
    assert exported == [
        (store.checkpoint_path(registry.models[name]), store.checkpoint_path(vocoder))
    ]
