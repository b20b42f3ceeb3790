"""Whether an artifact's files are those that its manifest records: sizes at every load, hashes when
asked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from voxturn.runtime.cli import main
from voxturn.runtime.errors import CorruptModel, VoxturnError
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.models import contents
from voxturn.runtime.models.contents import misfits, recorded
from voxturn.runtime.models.manifest import MANIFEST, Manifest
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.prepare import damaged, problems
from voxturn.runtime.profile import Profile

from tests.artifacts import FakeBackends, all_kinds, on_cpu
from tests.artifacts import damaged as changed


def artifact(folder: Path, sizes: bool = True) -> Path:
    """Two files and a manifest; without `sizes` as earlier versions wrote it."""
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"weights" * 100)
    (folder / "empty").touch()
    files = recorded(folder, folder.iterdir())
    manifest = Manifest("tiny", "whisper", "int8", {}, **files)
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    if not sizes:
        changed(folder, lambda table: {k: v for k, v in table.items() if k != "sizes"})
    return folder


@pytest.mark.parametrize("sizes", [True, False])
def test_what_is_recorded_fits(sizes: bool, tmp_path: Path) -> None:
    folder = artifact(tmp_path / "artifact", sizes)
    manifest = Manifest.read(folder)
    assert manifest.sizes == ({"empty": 0, "model.bin": 700} if sizes else {})
    assert misfits(folder, manifest) == misfits(folder, manifest, read=True) == ""


def test_sizes_are_no_part_of_an_artifact_s_hash(tmp_path: Path) -> None:
    manifest = Manifest.read(artifact(tmp_path / "artifact"))
    assert replace(manifest, sizes={}).digest == manifest.digest


@pytest.mark.parametrize(
    ("damage", "sized", "unsized"),
    [
        (lambda p: os.truncate(p, 99), "model.bin has 99 bytes, not 700", ""),
        (lambda p: os.truncate(p, 0), "model.bin has 0 bytes, not 700", "model.bin is empty"),
        (lambda p: os.truncate(p, 2_000), "model.bin has 2,000 bytes, not 700", ""),
        (lambda p: p.unlink(), "lacks model.bin", "lacks model.bin"),
        (
            lambda p: (p.unlink(), os.mkfifo(p)),
            "lacks model.bin, model.bin is no file",
            "lacks model.bin, model.bin is no file",
        ),
        (lambda p: (p.unlink(), p.mkdir()), "lacks model.bin", "lacks model.bin"),
        (lambda p: p.write_bytes(b"x" * 700), "", ""),
    ],
)
def test_damage_is_named_and_hashes_see_all_of_it(
    damage: Callable[[Path], object], sized: str, unsized: str, tmp_path: Path
) -> None:
    for sizes, says in ((True, sized), (False, unsized)):
        folder = artifact(tmp_path / f"artifact-{sizes}", sizes)
        damage(folder / "model.bin")
        manifest = Manifest.read(folder)
        assert misfits(folder, manifest) == says
        assert misfits(folder, manifest, read=True) == (
            says or "model.bin differ from the manifest"
        )


def test_a_pipe_beside_the_files_is_named(tmp_path: Path) -> None:
    """A graph may say that its weights are in it."""
    folder = artifact(tmp_path / "artifact")
    os.mkfifo(folder / "weights.data")
    (folder / "nothing").symlink_to(tmp_path / "nothing")
    (folder / "more").mkdir()
    assert misfits(folder, Manifest.read(folder)) == "weights.data is no file"


def test_what_is_no_file_is_found_in_folders_too(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "artifact")
    (folder / "more" / "weights").mkdir(parents=True)
    (folder / "more" / "fine.data").touch()
    os.mkfifo(folder / "more" / "weights" / "a.data")
    (folder / "more" / "zeros").symlink_to("/dev/zero")
    (folder / "elsewhere").symlink_to("/dev")  # a library reads nothing through it
    manifest = Manifest.read(folder)
    assert misfits(folder, manifest) == ("more/zeros is no file, more/weights/a.data is no file")


def test_a_folder_without_end_is_not_searched_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "_MOST_ENTRIES", 6)
    folder = artifact(tmp_path / "artifact")  # three files
    (folder / "a" / "b").mkdir(parents=True)
    assert misfits(folder, Manifest.read(folder)) == ""
    (folder / "a" / "b" / "c").mkdir()
    assert misfits(folder, Manifest.read(folder)) == "has more than 6 files and folders"


def test_loading_names_the_file_and_what_brings_it_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    for folder, advice in (
        (artifact(tmp_path / "mine"), "export it again"),
        (artifact(store.root / "artifacts" / "theirs"), "voxturn models pull tiny --precision int8 --again"),
    ):  # fmt: skip
        os.truncate(folder / "model.bin", 99)
        with pytest.raises(CorruptModel, match=advice) as caught:
            store.at(folder)
        assert f"{folder}: model.bin has 99 bytes, not 700; " in str(caught.value)


def test_a_link_to_a_file_is_the_file(tmp_path: Path) -> None:
    """As model hubs keep them."""
    folder = artifact(tmp_path / "artifact")
    (folder / "model.bin").rename(tmp_path / "blob")
    (folder / "model.bin").symlink_to(tmp_path / "blob")
    assert misfits(folder, Manifest.read(folder), read=True) == ""


@pytest.mark.parametrize("name", ["/etc/passwd", "../other/model.bin", "a/../../b", "..", ""])
def test_a_name_that_leaves_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    folder = artifact(tmp_path / "artifact")
    for change in (
        lambda table: table | {"files": {name: "0" * 64}, "sizes": {}},
        lambda table: (
            table
            | {"graphs": {"a": {"file": name, "inputs": [], "outputs": [], "dialect": "onnx"}}}
        ),
    ):
        original = (folder / MANIFEST).read_bytes()
        changed(folder, change)
        with pytest.raises(CorruptModel, match="is no name of a file in its folder"):
            Manifest.read(folder)
        (folder / MANIFEST).write_bytes(original)


@pytest.mark.parametrize("sizes", [{"other": 1}, {"model.bin": -1}, {"model.bin": True}, {"model.bin": "7"}, [7]])  # fmt: skip
def test_sizes_that_are_none_are_refused(sizes: Any, tmp_path: Path) -> None:
    folder = artifact(tmp_path / "artifact")
    changed(folder, lambda table: table | {"sizes": sizes})
    with pytest.raises(CorruptModel, match=r"manifest\.json: a field is missing or unknown"):
        Manifest.read(folder)


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    FakeBackends().install(monkeypatch)
    return on_cpu(all_kinds(tmp_path / "kinds"))


STAGES = {
    "listen": "silero_vad.onnx",
    "transcribe": "model.bin",
    "reply": "token_decoder.onnx.data",
    "speak": "token_decoder.onnx",
}


@pytest.mark.parametrize("stage", STAGES)
def test_doctor_calls_no_artifact_runnable_that_is_cut_short(
    stage: str, profile: Profile, tmp_path: Path
) -> None:
    """Loading says the same."""
    store, registry = Store(tmp_path / "home"), Registry.read()
    assert problems(profile, store, registry, Cores(4)) == []
    folder = Path(profile.engine(stage).model)
    changed(folder, lambda table: table | {"sizes": {STAGES[stage]: 77_000_000}})
    (problem, *_) = problems(profile, store, registry, Cores(4))
    assert (problem.stage, "\n" in problem.what) == (stage, False)
    assert f"{STAGES[stage]} has 0 bytes, not 77,000,000; export it again" in problem.what
    parts = LoadedParts(profile, store, registry)
    try:
        with pytest.raises(VoxturnError, match="has 0 bytes, not 77,000,000"):
            parts.stage(stage)
    finally:
        parts.close()


def test_doctor_verifies_hashes_when_asked(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    store, registry = Store(tmp_path / "home"), Registry.read()
    assert damaged(profile, store, registry) == []
    for stage in ("transcribe", "speak"):
        folder = Path(profile.engine(stage).model)
        file = folder / STAGES[stage]
        file.write_bytes(b"x")
        changed(folder, lambda table, file=file: table | {"sizes": {file.name: 1}})  # type: ignore[misc]
    assert problems(profile, store, registry, Cores(4)) == []
    found = damaged(profile, store, registry)
    assert [problem.stage for problem in found] == ["transcribe", "speak"]
    assert "model.bin differ from the manifest; export it again" in found[0].what
    for module in ("prepare", "commands.models"):
        monkeypatch.setattr(f"voxturn.runtime.{module}.damaged", damaged)
    monkeypatch.setattr("voxturn.runtime.commands.models.load_profile", lambda name: profile)
    assert main(["doctor", "--json"]) == 0
    capsys.readouterr()
    assert main(["doctor", "--json", "--verify"]) == 1
    told = json.loads(capsys.readouterr().out)["profiles"]["demo"]
    assert [problem["stage"] for problem in told] == ["transcribe", "speak"]
    assert main(["doctor", "--gpu", "--verify"]) == 2
