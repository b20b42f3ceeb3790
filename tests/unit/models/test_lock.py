"""One process at a time changes a model, and a process that dies holds nothing up.

Real processes.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.models.lock import file_lock
from voxturn.runtime.models.manifest import MANIFEST, Manifest, sha256_of
from voxturn.runtime.models.registry import Model, Registry
from voxturn.runtime.models.store import Store

ENTRY = f"""[tiny]
task = "text-generation"
languages = ["*"]
license = "MIT"
about = "a test"
exporter = "waiting-copy"
precisions = ["fp32"]
files = [{{ name = "w.bin", bytes = 7, sha256 = "{"0" * 64}", parts = [
  {{ source = "pypi:tiny==1.0", member = "w" }} ] }}]
"""

EXPORTER = '''
"""Copies a checkpoint when the test allows it, and writes down that it was asked to."""
import os, time
from pathlib import Path
from voxturn.runtime.models.manifest import MANIFEST, Manifest, sha256_of

def export(checkpoint, source, target, precision, progress, engine="onnx"):
    folder = Path(os.environ["VOXTURN_TEST_FOLDER"])
    with (folder / "exports").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    (target / "half.tmp").write_bytes(b"half")
    while not (folder / "go").exists():
        time.sleep(0.01)
    (target / "half.tmp").rename(target / "graph")
    files = {"graph": sha256_of(target / "graph")}
    manifest = Manifest(source.model, "copy", precision, {"checkpoint": source.digest}, files)
    (target / MANIFEST).write_text(manifest.to_json())
'''

EXPORT = """
import sys
from pathlib import Path
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
folder = Path(sys.argv[1])
model = Registry.read(folder / "models.toml").models["tiny"]
print("ready", flush=True)
print(Store(folder / "root").export(model, "fp32"))
"""

Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A model whose checkpoint is here, with an exporter that is installed for child processes
    alone."""
    (tmp_path / "models.toml").write_text(ENTRY)
    model = Registry.read(tmp_path / "models.toml").models["tiny"]
    checkpoint = Store(tmp_path / "root").checkpoint_path(model)
    checkpoint.mkdir(parents=True)
    (checkpoint / "w.bin").write_bytes(b"weights")
    manifest = Manifest(
        "tiny", "checkpoint", "source", {}, {"w.bin": sha256_of(checkpoint / "w.bin")}
    )
    (checkpoint / MANIFEST).write_text(manifest.to_json())
    info = tmp_path / "plugin" / "waiting_copy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: waiting-copy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[voxturn.exporters]\nwaiting-copy = waiting_copy:export\n"
    )
    (info.parent / "waiting_copy.py").write_text(EXPORTER)
    return model


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(tmp_path / "plugin"),
            "VOXTURN_TEST_FOLDER": str(tmp_path),
        }
        command = [sys.executable, "-P", "-c", EXPORT, str(tmp_path)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def two_exports(start: Start, exports: Path) -> list[subprocess.Popen[str]]:
    """A process in the middle of its export, and one that wants the same artifact."""
    first = start()
    wait_for(exports.exists)
    second = start()
    assert second.stdout is not None
    assert second.stdout.readline() == "ready\n"
    time.sleep(0.3)  # it would begin to export here if nothing held it up
    assert exports.read_text() == f"{first.pid}\n"
    return [first, second]


@pytest.mark.slow
def test_two_processes_export_once(tmp_path: Path, model: Model, start: Start) -> None:
    exports = tmp_path / "exports"
    both = two_exports(start, exports)
    (tmp_path / "go").touch()
    answers = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert exports.read_text() == f"{both[0].pid}\n"
    store = Store(tmp_path / "root")
    folder = store.artifact_path(model, "fp32")
    assert {out.split()[-1] for out, _ in answers} == {str(folder)}
    assert store.verify(folder).files.keys() == {"graph"}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.slow
def test_a_killed_export_frees_the_model_and_the_next_one_does_the_work(
    tmp_path: Path, model: Model, start: Start
) -> None:
    exports = tmp_path / "exports"
    first, second = two_exports(start, exports)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    (tmp_path / "go").touch()
    answer = second.communicate(timeout=60)
    assert second.returncode == 0, answer
    assert exports.read_text() == f"{first.pid}\n{second.pid}\n"
    store = Store(tmp_path / "root")
    folder = store.artifact_path(model, "fp32")
    assert sorted(path.name for path in folder.iterdir()) == ["graph", MANIFEST]
    store.verify(folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_thread_waits_for_another_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "voxturn.runtime.models.lock")
    path = tmp_path / "locks" / "a.lock"
    order: list[str] = []

    def second() -> None:
        with file_lock(path):
            order.append("second")

    thread = threading.Thread(target=second)
    with file_lock(path):
        thread.start()
        wait_for(lambda: caplog.messages)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    assert caplog.messages == [f"{path} is held by another process; waiting for it"]


def test_an_error_of_the_body_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), file_lock(tmp_path / "a.lock"):
        raise ZeroDivisionError
    with file_lock(tmp_path / "a.lock"):
        pass


def test_without_filelock_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "filelock", None)
    with (
        pytest.raises(ExecutorUnavailable, match=r"pip install 'voxturn\[embedded\]'"),
        file_lock(tmp_path / "a.lock"),
    ):
        pass
