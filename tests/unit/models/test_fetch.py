"""Models from a hub: resolved, locked, resumed, verified; and what a hub can do wrong.

The hub is a thread of this test.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from voxturn.runtime import cli
from voxturn.runtime.errors import (
    CorruptModel,
    DiskFull,
    DownloadFailed,
    ExecutorUnavailable,
    OutputNotWritable,
    VoxturnError,
)
from voxturn.runtime.models.fetch import Remote, download, git_blob_id, resolve_hub
from voxturn.runtime.models.manifest import MANIFEST
from voxturn.runtime.models.registry import Model, Registry
from voxturn.runtime.models.store import Store, publish

BIG = bytes(range(256)) * 12_000  # 3 MB
FILES = {
    "config.json": b'{"a": 1}',
    "model.bin": BIG,
    "parts/one.bin": b"same",
    "parts/two.bin": b"same",
    "no.txt": b"no",
}
COMMIT = "c" * 40


@dataclass
class Request:
    path: str
    range: str
    authorization: str
    sent: int = 0


@dataclass
class Hub:
    """What the server has and how it behaves.

    `cut` ends the connection once after so many bytes of a file.
    """

    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    stated: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    ignores_range: bool = False
    compresses: bool = False
    slow: float = 0.0
    html: bool = False
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def asked(self, name: str) -> list[Request]:
        return [request for request in self.requests if request.path.endswith("/" + name)]

    def info(self) -> dict[str, Any]:
        siblings = []
        for name, served in self.files.items():
            data = self.stated.get(name, served)
            blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
            item: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob}
            if name.endswith(".bin"):
                item["lfs"] = {
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "size": len(data),
                    "pointerSize": 130,
                }
            siblings.append(item)
        return {"id": "some/model", "sha": COMMIT, "siblings": siblings}


def handler(hub: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            request = Request(
                path, self.headers.get("Range", ""), self.headers.get("Authorization", "")
            )
            hub.requests.append(request)
            name = path.split("/resolve/")[-1].partition("/")[2] if "/resolve/" in path else "info"
            if name in hub.statuses:
                self.send_error(hub.statuses[name])
            elif name == "info":
                self.answer(
                    b"<html>sign in</html>" if hub.html else json.dumps(hub.info()).encode()
                )
            else:
                self.file(name, request)

        def file(self, name: str, request: Request) -> None:
            data = hub.files[name]
            begin = (
                0
                if hub.ignores_range or not request.range
                else int(request.range[len("bytes=") : -1])
            )
            if begin >= len(data) > 0 and request.range and not hub.ignores_range:
                self.send_error(416)
                return
            if hub.compresses and "gzip" in self.headers.get("Accept-Encoding", ""):
                self.answer(gzip.compress(data), encoding="gzip")
                return
            end = min(len(data), hub.cut.pop(name, len(data)))
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(data) - begin))
            self.end_headers()
            for at in range(begin, end, 1 << 16):
                piece = data[at : min(at + (1 << 16), end)]
                self.wfile.write(piece)
                request.sent += len(piece)
                time.sleep(hub.slow)

        def answer(self, data: bytes, encoding: str = "") -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            if encoding:
                self.send_header("Content-Encoding", encoding)
            self.end_headers()
            self.wfile.write(data)

    return Handler


class Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed or has enough goes away in the middle; so do ours."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    server = Quiet(("127.0.0.1", 0), handler(hub))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    # the library reads HF_ENDPOINT when it is imported, which another test may have done
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def gone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address at which nobody answers."""
    with http.server.HTTPServer(("127.0.0.1", 0), handler(hub)) as server:
        url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    return url


ENTRY = """[hubbed]
task = "text-generation"
languages = ["en"]
license = "MIT"
about = "a test"
exporter = "none"
precisions = ["fp32"]
hub = "hf:some/model@main"
patterns = ["config.json", "*.bin"]
"""


@pytest.fixture
def model(tmp_path: Path) -> Model:
    (tmp_path / "models.toml").write_text(ENTRY)
    return Registry.read(tmp_path / "models.toml").models["hubbed"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "root")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def left_over(store: Store) -> list[str]:
    """Names in the store that are neither a finished folder nor a download that can go on."""
    return [p.name for p in store.root.rglob(".*")]


def test_a_pull_brings_what_the_patterns_name_and_locks_its_hashes(
    hub: Hub, store: Store, model: Model
) -> None:
    seen: list[tuple[str, int, int]] = []
    folder = store.pull(model, lambda *said: seen.append(said))
    got = contents(folder)
    manifest = json.loads(got.pop(MANIFEST))
    assert got == {name: data for name, data in FILES.items() if name != "no.txt"}
    assert manifest["source"] == {"hf:some/model@main": COMMIT}
    assert store.verify(folder).files == {n: hashlib.sha256(d).hexdigest() for n, d in got.items()}
    (lock,) = (store.root / "hublocks").iterdir()
    locked = json.loads(lock.read_text())
    assert locked["commit"] == COMMIT
    assert locked["files"]["model.bin"] == hashlib.sha256(BIG).hexdigest()
    assert locked["files"]["config.json"] == git_blob_id(folder / "config.json")
    big = [(done, total) for what, done, total in seen if what == "model.bin"]
    assert big == sorted(set(big))
    assert len(big) > 1
    assert big[-1] == (len(BIG), len(BIG))
    assert not list((store.root / "partial").iterdir())
    assert not left_over(store)


def test_what_is_here_needs_no_hub(hub: Hub, store: Store, model: Model) -> None:
    folder = store.pull(model)
    asked = len(hub.requests)
    hub.statuses["info"] = 500
    assert store.pull(model) == folder
    assert store.pull(model, again=True) == folder  # whole: `again` reads the files, not the net
    assert store.artifact(model, "fp32")[0] == folder
    assert len(hub.requests) == asked


def test_a_file_that_changed_behind_a_locked_commit_is_refused(
    hub: Hub, store: Store, model: Model
) -> None:
    folder = store.pull(model)
    (folder / "model.bin").write_bytes(b"damaged")
    before = contents(folder)
    hub.files["model.bin"] = b"another"
    with pytest.raises(DownloadFailed, match="not those locked at the first pull"):
        store.pull(model, again=True)
    assert contents(folder) == before
    hub.files["model.bin"] = BIG
    assert (store.pull(model, again=True) / "model.bin").read_bytes() == BIG
    assert f"/revision/{COMMIT}" in hub.requests[-1].path or hub.asked(
        COMMIT
    )  # the commit is asked for, not `main`


def test_a_damaged_lock_is_said_and_not_taken_for_trust(
    hub: Hub, store: Store, model: Model
) -> None:
    store.pull(model)
    (lock,) = (store.root / "hublocks").iterdir()
    (store.checkpoint_path(model) / "config.json").unlink()
    for damage in ("{", "[]", '{"commit": "x"}'):
        lock.write_text(damage)
        with pytest.raises(CorruptModel, match="not a list of locked hashes"):
            store.pull(model, again=True)


def test_a_cut_connection_goes_on_where_it_stopped(hub: Hub, store: Store, model: Model) -> None:
    hub.cut["model.bin"] = 2_000_000
    assert (store.pull(model) / "model.bin").read_bytes() == BIG
    first, second = hub.asked("model.bin")
    assert first.range == ""
    begin = int(second.range.removeprefix("bytes=").removesuffix("-"))
    assert 0 < begin == first.sent == 2_000_000
    assert first.sent + second.sent == len(BIG)


def test_an_interrupted_pull_brings_no_byte_twice(hub: Hub, store: Store, model: Model) -> None:
    hub.statuses["parts/two.bin"] = 503
    with pytest.raises(
        DownloadFailed, match=r"^parts/two\.bin: .*503.*run the same command to go on$"
    ):
        store.pull(model)
    assert not left_over(store)
    hub.statuses.clear()
    store.pull(model)
    for name in ("config.json", "model.bin", "parts/one.bin"):
        assert sum(request.sent for request in hub.asked(name)) == len(FILES[name])


def test_a_download_that_was_whole_but_not_yet_renamed_is_taken(
    hub: Hub, store: Store, model: Model
) -> None:
    digest = hashlib.sha256(BIG).hexdigest()
    part = store.root / "partial" / f"hubbed-{digest}-model.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BIG)
    assert (store.pull(model) / "model.bin").read_bytes() == BIG
    assert sum(request.sent for request in hub.asked("model.bin")) == 0


def test_a_hub_that_ignores_ranges_is_read_from_the_start(
    hub: Hub, store: Store, model: Model
) -> None:
    hub.cut["model.bin"], hub.ignores_range = 1_000_000, True
    assert (store.pull(model) / "model.bin").read_bytes() == BIG
    assert [bool(request.range) for request in hub.asked("model.bin")] == [False, True]


def test_a_hub_that_would_compress_is_asked_not_to(hub: Hub, store: Store, model: Model) -> None:
    hub.compresses = True
    assert (store.pull(model) / "config.json").read_bytes() == FILES["config.json"]


@pytest.mark.parametrize("name", ["model.bin", "config.json"])
def test_a_wrong_hash_leaves_nothing_and_what_was_there_stays(
    name: str, hub: Hub, store: Store, model: Model
) -> None:
    folder = store.pull(model)
    (folder / name).write_bytes(b"damaged")
    before = contents(folder)
    hub.stated, hub.files[name] = {name: FILES[name]}, FILES[name][:-1] + b"?"
    with pytest.raises(DownloadFailed, match=f"^{name}: its hash is not the one that was promised"):
        store.pull(model, again=True)
    assert contents(folder) == before
    assert not left_over(store)
    assert not [p for p in (store.root / "partial").iterdir() if name in p.name]


def test_a_finished_download_that_was_damaged_since_is_thrown_away(
    hub: Hub, store: Store, model: Model
) -> None:
    digest = hashlib.sha256(BIG).hexdigest()
    here = store.root / "partial" / f"hubbed-{digest}-model.bin"
    here.parent.mkdir(parents=True)
    here.write_bytes(b"damaged")
    with pytest.raises(DownloadFailed, match="try again"):
        store.pull(model)
    assert (store.pull(model) / "model.bin").read_bytes() == BIG


@pytest.mark.parametrize("status", [401, 403, 404, 500])
@pytest.mark.parametrize("where", ["info", "model.bin"])
def test_a_refusal_is_one_line_that_names_what_and_never_the_token(
    status: int, where: str, hub: Hub, store: Store, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    hub.statuses[where] = status
    with pytest.raises(DownloadFailed) as caught:
        store.pull(model)
    text = str(caught.value)
    assert text.startswith("hub repository some/model@main: " if where == "info" else "model.bin: ")
    assert str(status) in text
    assert "\n" not in text
    assert "secret" not in text
    assert {request.authorization for request in hub.requests} == {"Bearer hf_secretsecret"}
    assert not store.checkpoint_path(model).exists()
    assert not left_over(store)


def test_a_hub_that_is_gone_is_said(gone: str, store: Store, model: Model) -> None:
    with pytest.raises(
        DownloadFailed, match=r"hub repository some/model@main: .*check the network and HF_ENDPOINT"
    ):
        store.pull(model)
    remote = Remote("a.bin", f"{gone}/a.bin", "0" * 64)
    with pytest.raises(DownloadFailed, match=r"^a\.bin: .*run the same command to go on"):
        download(remote, store.root / "a.bin", lambda *said: None)
    with pytest.raises(DownloadFailed, match=r"^a\.bin: "):
        download(
            Remote("a.bin", "http://127.0.0.1:port/a.bin", "0" * 64),
            store.root / "a.bin",
            lambda *said: None,
        )


def test_a_page_instead_of_an_answer_is_said(hub: Hub, store: Store, model: Model) -> None:
    hub.html = True  # as in a train's net before one has signed in
    with pytest.raises(DownloadFailed, match=r"some/model@main: .*check the network"):
        store.pull(model)


def test_a_file_that_the_repository_lacks_is_named(hub: Hub, store: Store, model: Model) -> None:
    del hub.files["config.json"]
    with pytest.raises(DownloadFailed, match=r"has no file config\.json$"):
        store.pull(model)
    assert not hub.asked("model.bin")


@pytest.mark.parametrize("name", ["../../escaped.bin", "/escaped.bin"])
def test_a_name_that_leaves_the_folder_is_refused(
    name: str, hub: Hub, store: Store, model: Model
) -> None:
    hub.files[name] = b"x"
    with pytest.raises(DownloadFailed, match="is not a name of a file in it"):
        store.pull(model)
    assert not list(store.root.rglob("escaped.bin"))


def test_a_source_without_a_hash_is_not_even_asked(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="states no hash"):
        download(
            Remote("a", f"{hub.url}/some/model/resolve/x/model.bin"),
            tmp_path / "a",
            lambda *said: None,
        )
    assert not hub.requests
    assert not list(tmp_path.iterdir())


def test_without_the_hubs_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ExecutorUnavailable, match=r"pip install 'voxturn\[embedded\]'"):
        resolve_hub("some/model", "main", ("*",))


def test_a_disk_that_fills_while_pulling_is_said_and_the_download_goes_on_later(
    hub: Hub, store: Store, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    class Full:
        def __init__(self, file: Any) -> None:
            self.file, self.room = file, 1_000_000

        def write(self, data: bytes) -> int:
            self.room -= len(data)
            if self.room < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self.file.write(data))

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

    def opened(path: Path, mode: str = "r", *args: Any, **named: Any) -> Any:
        file = real(path, mode, *args, **named)
        return Full(file) if path.name.endswith("model.bin.part") else file

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(DiskFull, match="disk is full; free some space and run the command again"):
        store.pull(model)
    monkeypatch.setattr(Path, "open", real)
    assert not left_over(store)
    assert (store.pull(model) / "model.bin").read_bytes() == BIG


def test_a_disk_that_fills_while_writing_the_folder_is_said(
    hub: Hub, store: Store, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *args: object, **named: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DiskFull, match="manifest"):
        store.pull(model)
    assert not store.checkpoint_path(model).exists()
    assert not left_over(store)


def test_a_home_that_is_no_folder_is_said(hub: Hub, tmp_path: Path, model: Model) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputNotWritable, match="file"):
        Store(tmp_path / "file").pull(model)
    assert (tmp_path / "file").read_text() == "x"


def test_killed_between_its_two_renames_a_publish_is_put_right_by_the_next_pull(
    hub: Hub, store: Store, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.pull(model)
    before = contents(folder)
    new = folder.with_name("new")
    new.mkdir()
    (new / "model.bin").write_bytes(b"new")
    real = Path.rename

    def killed(path: Path, target: Path) -> Path:
        if path == new:
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        publish(new, folder)
    monkeypatch.setattr(Path, "rename", real)
    assert not folder.exists()
    asked = len(hub.requests)
    assert store.pull(model) == folder
    assert contents(folder) == before
    assert len(hub.requests) == asked


PULL = """
import sys
from pathlib import Path
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
print(Store(Path(sys.argv[2])).pull(Registry.read(Path(sys.argv[1])).models["hubbed"]))
"""


def pulling(tmp_path: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-P",
        "-c",
        PULL,
        str(tmp_path / "models.toml"),
        str(tmp_path / "root"),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_pull_once(hub: Hub, tmp_path: Path, store: Store, model: Model) -> None:
    hub.slow = 0.01
    both = [pulling(tmp_path) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert {out.strip() for out, _ in answers} == {str(store.checkpoint_path(model))}
    for name in ("config.json", "model.bin", "parts/one.bin"):
        assert [request.sent for request in hub.asked(name)] == [len(FILES[name])]
    store.verify(store.checkpoint_path(model))


@pytest.mark.slow
@pytest.mark.parametrize("installed", [False, True])
def test_killed_in_the_middle_of_a_pull_leaves_what_was_there_and_the_next_one_succeeds(
    installed: bool, hub: Hub, tmp_path: Path, store: Store, model: Model
) -> None:
    folder = store.checkpoint_path(model)
    if installed:
        store.pull(model)
        (
            folder / MANIFEST
        ).unlink()  # what stands there is pulled anew, and stays until the new one is whole
    before = contents(folder)
    hub.requests.clear()
    hub.slow = 0.05
    process = pulling(tmp_path)
    deadline = time.monotonic() + 60
    while not [
        p for p in store.root.glob("partial/*model.bin.part") if p.stat().st_size > 1_000_000
    ]:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert contents(folder) == before
    assert store.installed(model, "fp32") is False
    hub.slow = 0.0
    assert store.pull(model) == folder
    assert (folder / "model.bin").read_bytes() == BIG
    store.verify(folder)
    assert hub.asked("model.bin")[-1].range  # gone on, not begun again
    assert not left_over(store)
    assert not list((store.root / "partial").iterdir())


def test_the_command_pulls_from_a_hub_and_says_one_line_when_it_cannot(
    hub: Hub,
    tmp_path: Path,
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry = Registry.read(tmp_path / "models.toml")
    monkeypatch.setattr(Registry, "read", classmethod(lambda cls, path=None: registry))
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))
    hub.statuses["info"] = 500
    assert cli.main(["models", "pull", "hubbed"]) == 5
    error = capsys.readouterr().err
    assert error.startswith("voxturn: hub repository some/model@main: ")
    assert error.count("\n") == 1
    with pytest.raises(VoxturnError):
        cli.main(["--debug", "models", "pull", "hubbed"])
    hub.statuses.clear()
    assert cli.main(["models", "pull", "hubbed"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert (folder / "model.bin").read_bytes() == BIG
    assert cli.main(["models", "verify", "hubbed"]) == 0
    assert os.path.commonpath([folder, tmp_path / "home"]) == str(tmp_path / "home")
