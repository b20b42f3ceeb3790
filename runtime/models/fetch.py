"""Brings files from package indexes and model hubs: resolve to an address and a hash, then one resumable download.

Which index and which hub is the user's own configuration (pip's, and `HF_ENDPOINT`): no host is named here.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from voxturn.runtime.errors import DiskFull, DownloadFailed, ExecutorUnavailable
from voxturn.runtime.models.manifest import sha256_of

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done and how much it is in all (0: unknown)."""
_PIECE = 1 << 20
_TRIES, _PAUSE_S = 4, 0.2
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = (
    206,
    416,
)  # the library renames its constants from release to release


@dataclass(frozen=True)
class Remote:
    """A file somewhere: its address, sha256 (or the git blob id that a hub gives for small files) and size in bytes."""

    name: str
    url: str
    sha256: str = ""
    blob_id: str = ""
    bytes: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


def resolve_package(name: str, version: str) -> Remote:
    """The wheel of a package as pip finds it, without downloading or installing it."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--ignore-installed",
            "--no-deps",
            "--quiet",
        ]
        command += [
            "--only-binary=:all:",
            "--no-input",
            "--report",
            str(report),
            f"{name}=={version}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not report.exists():
            reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
            raise DownloadFailed(
                f"package {name}=={version}: pip cannot find it ({reason}); check the network and the index"
            )
        found = json.loads(report.read_text())["install"][0]["download_info"]
    url = found["url"]
    sha256 = found["archive_info"].get("hashes", {}).get("sha256", "")
    return Remote(Path(unquote(urlsplit(url).path)).name, url, sha256)


def resolve_hub(repo: str, revision: str, patterns: tuple[str, ...]) -> tuple[str, list[Remote]]:
    """The commit behind a revision and the files that match, with the hashes that the hub states."""
    try:
        from huggingface_hub import HfApi, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils._headers import build_hf_headers
    except ImportError as exc:
        raise ExecutorUnavailable(
            "huggingface_hub is not installed; pip install 'voxturn[embedded]'"
        ) from exc
    import httpx2

    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    except (
        HfHubHTTPError,
        httpx2.HTTPError,
        httpx2.InvalidURL,
        OSError,
        ValueError,
    ) as exc:  # ValueError: not JSON
        raise DownloadFailed(
            f"hub repository {repo}@{revision}: {_first_line(exc)}; check the network and HF_ENDPOINT"
        ) from exc
    commit, headers = str(info.sha), build_hf_headers()
    found = []
    for item in info.siblings or []:
        if any(fnmatch.fnmatch(item.rfilename, pattern) for pattern in patterns):
            if ".." in item.rfilename.split("/") or item.rfilename.startswith("/"):
                raise DownloadFailed(
                    f"hub repository {repo}@{revision}: {item.rfilename!r} is not a name of a file in it"
                )
            sha256 = item.lfs.sha256 if item.lfs else ""
            url = hf_hub_url(repo, item.rfilename, revision=commit)
            found.append(
                Remote(item.rfilename, url, sha256, item.blob_id or "", item.size or 0, headers)
            )
    missing = [p for p in patterns if not any(fnmatch.fnmatch(r.name, p) for r in found)]
    if missing:
        raise DownloadFailed(f"hub repository {repo}@{revision}: has no file {', '.join(missing)}")
    return commit, found


def download(remote: Remote, target: Path, progress: Progress) -> None:
    """Bring `remote` to `target`, going on from `target.part` where an earlier try stopped, and check its hash."""
    import httpx2

    if not (remote.sha256 or remote.blob_id):
        raise DownloadFailed(f"{remote.name}: its source states no hash; it cannot be trusted")
    part = target.with_name(target.name + ".part")
    for attempt in range(_TRIES):
        try:
            _copy(remote, part) if urlsplit(remote.url).scheme == "file" else _fetch(
                remote, part, progress
            )
            break
        except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
            if attempt + 1 == _TRIES or not isinstance(exc, httpx2.TransportError):
                raise DownloadFailed(
                    f"{remote.name}: {_first_line(exc)}; run the same command to go on"
                ) from exc
            time.sleep(_PAUSE_S * 2**attempt)
        except OSError as exc:
            if exc.errno == errno.ENOSPC:
                raise DiskFull(
                    f"{target.parent}: the disk is full; free some space and run the command again"
                ) from exc
            raise
    check_hash(remote, part)
    part.replace(target)


def _copy(remote: Remote, part: Path) -> None:
    source = Path(unquote(urlsplit(remote.url).path))
    if not source.is_file():
        raise DownloadFailed(f"{remote.name}: {source} is gone; check the package index")
    shutil.copyfile(source, part)


def _fetch(remote: Remote, part: Path, progress: Progress) -> None:
    import httpx2

    have = part.stat().st_size if part.exists() else 0
    # what counts are the file's own bytes: hashes and ranges are of those, not of a compressed form
    headers = {**remote.headers, "Accept-Encoding": "identity"} | (
        {"Range": f"bytes={have}-"} if have else {}
    )
    with (
        httpx2.Client(follow_redirects=True, timeout=30.0) as client,
        client.stream("GET", remote.url, headers=headers) as response,
    ):
        if response.status_code == _RANGE_NOT_SATISFIABLE:
            return  # all of it is here already; the hash decides
        response.raise_for_status()
        resumed = response.status_code == _PARTIAL_CONTENT
        have = have if resumed else 0
        total = have + int(response.headers.get("Content-Length", 0))
        with part.open("ab" if resumed else "wb") as file:
            for piece in (
                response.iter_raw()
            ):  # as it comes: pieces of a fixed size would be lost, half full, at a cut
                file.write(piece)
                have += len(piece)
                progress(remote.name, have, total)


def check_hash(remote: Remote, path: Path) -> None:
    """Raise `DownloadFailed`, and remove `path`, unless it has the hash that `remote` promises."""
    found, wanted = (
        (sha256_of(path), remote.sha256) if remote.sha256 else (git_blob_id(path), remote.blob_id)
    )
    if found != wanted:
        path.unlink()
        raise DownloadFailed(
            f"{remote.name}: its hash is not the one that was promised; it was thrown away, try again"
        )


def git_blob_id(path: Path) -> str:
    """The id that git gives a file's content: sha1 over a header and the bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _first_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an advisory lock on `path`, waiting for whoever holds it. The system frees it if its holder dies."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
