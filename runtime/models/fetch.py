"""Files from package indexes and model hubs: an address and a hash first, then a resumable
download.

Which index and which hub is the user's own configuration (pip's; `HF_ENDPOINT` and `HF_TOKEN`): no
host is named here. pip and huggingface_hub say where a file is; both would download it again from
its first byte after an interruption (decision 0004), therefore the bytes come through `download`.
They go straight into the store: nothing is put into the user's own hub cache, so that no file lies
on the disk twice.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from voxturn.runtime.errors import DiskFull, DownloadFailed, ExecutorUnavailable
from voxturn.runtime.models.manifest import sha256_of

Progress = Callable[[str, int, int], None]
"""Called with what is being done, the amount done and the whole amount (0: unknown)."""
_PIECE_BYTES = 1 << 20
_TRIES = 4
_PAUSE_S = 0.2
"""Seconds before the second try; doubled before each further one."""
_PARTIAL_CONTENT = 206  # numbers: httpx2 renames its constants from release to release
_RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class Remote:
    """A file to download.

    `name` is relative to its package or repository; `url` is `http(s):` or `file:`. `sha256` is
    empty where the source states only `blob_id`, the id that git gives the content; `bytes` 0 is
    unknown. Without either it is trusted only where it is the `first` pull, which locks its hash.
    """

    name: str
    url: str
    sha256: str = ""
    blob_id: str = ""
    bytes: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    first: bool = False


def resolve_package(name: str, version: str) -> Remote:
    """The wheel of a package as pip finds it, neither downloaded nor installed.

    Raises `DownloadFailed` where pip finds none.
    """
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
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode or not report.exists():
            reason = (process.stderr.strip().splitlines() or ["no answer"])[-1]
            raise DownloadFailed(
                f"package {name}=={version}: pip cannot find it ({reason}); check the network and the index"
            )
        source = json.loads(report.read_text())["install"][0]["download_info"]
    url = source["url"]
    sha256 = source["archive_info"].get("hashes", {}).get("sha256", "")
    return Remote(Path(unquote(urlsplit(url).path)).name, url, sha256)


def resolve_hub(
    repo: str, revision: str, patterns: tuple[str, ...], without: tuple[str, ...] = ()
) -> tuple[str, list[Remote]]:
    """The commit of a revision, and the repository's files that match, with the hub's hashes.

    `patterns` are as in `fnmatch`; each must match a file. Those `without` are left out. Raises `DownloadFailed` where the hub
    cannot be asked or has no such file, and `ExecutorUnavailable` without huggingface_hub.
    """
    try:
        from huggingface_hub import HfApi, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # lazy __all__
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
    commit = str(info.sha)
    headers = build_hf_headers()
    remotes = []
    for item in info.siblings or []:
        if _matches(item.rfilename, patterns) and not _matches(item.rfilename, without):
            if ".." in item.rfilename.split("/") or item.rfilename.startswith("/"):
                raise DownloadFailed(
                    f"hub repository {repo}@{revision}: {item.rfilename!r} is not a name of a file in it"
                )
            sha256 = item.lfs.sha256 if item.lfs else ""
            url = hf_hub_url(repo, item.rfilename, revision=commit)
            remotes.append(
                Remote(item.rfilename, url, sha256, item.blob_id or "", item.size or 0, headers)
            )
    missing = [p for p in patterns if not any(fnmatch.fnmatch(r.name, p) for r in remotes)]
    if missing:
        raise DownloadFailed(f"hub repository {repo}@{revision}: has no file {', '.join(missing)}")
    return commit, remotes


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def download(remote: Remote, target: Path, progress: Progress) -> None:
    """Bring `remote` to `target` by way of `target.part`, and check its hash.

    An earlier `target.part` is continued. A transfer that breaks is tried again, `_TRIES` times in
    all. Raises `DownloadFailed` (source, network, hash) and `DiskFull`.
    """
    import httpx2

    if not (remote.sha256 or remote.blob_id or remote.first):
        raise DownloadFailed(f"{remote.name}: its source states no hash; it cannot be trusted")
    part = target.with_name(target.name + ".part")
    for attempt in range(_TRIES):
        try:
            if urlsplit(remote.url).scheme == "file":
                _copy(remote, part)
            else:
                _fetch(remote, part, progress)
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
    """Append to `part` the bytes that it lacks, or write it anew where the server has no ranges."""
    import httpx2

    size = part.stat().st_size if part.exists() else 0
    # hashes and ranges are of the file's own bytes, not of a compressed form
    headers = {**remote.headers, "Accept-Encoding": "identity"}
    if size:
        headers["Range"] = f"bytes={size}-"
    with (
        httpx2.Client(follow_redirects=True, timeout=30.0) as client,
        client.stream("GET", remote.url, headers=headers) as response,
    ):
        if response.status_code == _RANGE_NOT_SATISFIABLE:
            return  # the whole file is here already; the hash decides
        response.raise_for_status()
        resumed = response.status_code == _PARTIAL_CONTENT
        if not resumed:
            size = 0
        total = size + int(response.headers.get("Content-Length", 0))
        with part.open("ab" if resumed else "wb") as file:
            # as it comes: a piece of a fixed size would be lost, half full, at a broken connection
            for piece in response.iter_raw():
                file.write(piece)
                size += len(piece)
                progress(remote.name, size, total)


def check_hash(remote: Remote, path: Path) -> None:
    """Raise `DownloadFailed`, and remove `path`, unless it has the hash that `remote` promises."""
    if remote.sha256:
        matches = sha256_of(path) == remote.sha256
    elif not remote.blob_id:
        matches = remote.first
    else:
        matches = git_blob_id(path) == remote.blob_id
    if not matches:
        path.unlink()
        raise DownloadFailed(
            f"{remote.name}: its hash is not the one that was promised; it was thrown away, try again"
        )


def git_blob_id(path: Path) -> str:
    """The id that git gives a file's content: sha1 over a header and the bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _first_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__
