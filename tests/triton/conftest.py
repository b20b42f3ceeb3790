"""A real Triton Inference Server on the demo's ears and reply and a tiny XTTS, started as a user
starts it.

The server's environment is one of its own (`make .triton/ready`): its Python backend needs numpy
before 2.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from voxturn.runtime.serving.launcher import WITH_PARENT
from voxturn.runtime.serving.processes import descendants

from tests.e2e.conftest import demo_models as demo_models
from tests.tiny.conftest import Tiny
from tests.tiny.conftest import narrow as narrow
from tests.tiny.conftest import tiny as tiny

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("VOXTURN_TRITON_PYTHON", ROOT / ".triton/bin/python"))
MODELS = ("whisper", "qwen3", "xtts", "xtts_vocoder", "xtts_hifigan")


@dataclass
class Running:
    """A server that `voxturn serve triton` runs, and its addresses."""

    process: subprocess.Popen[str]
    grpc: str
    metrics: str
    http: str = ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(60)


def serve(profile: Path, models: Sequence[str] = MODELS, *options: str) -> Running:
    if not PYTHON.exists():
        pytest.fail("the server's environment is missing; run `make .triton/ready`")
    command = [
        str(PYTHON),
        "-P",
        "-m",
        "voxturn.runtime.cli",
        "serve",
        "triton",
        "--profile",
        str(profile),
    ]
    with_us = [
        str(PYTHON),
        "-S",
        "-c",
        WITH_PARENT,
        str(os.getpid()),
    ]  # a test that is killed leaves nothing
    process = subprocess.Popen(
        [*with_us, *command, "--models", ",".join(models), *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    count = 3 if "--http" in options else 2
    lines = [line for line in (process.stdout.readline() for _ in range(count)) if line]
    if process.poll() is not None or len(lines) < count:
        pytest.fail(f"the server did not start: exit code {process.wait(60)}")
    return Running(process, **dict(line.split() for line in lines))


def memory_mb(server: Running) -> float:
    """Of the server and its models."""
    pages = [
        int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        for pid in descendants(server.process.pid)
    ]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.fixture(scope="session")
def profile(tiny: Tiny, demo_models: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    demo = (ROOT / "runtime/profiles/demo.toml").read_text(encoding="utf-8")
    hearing = demo[: demo.index("[speak]")]
    path = tmp_path_factory.mktemp("triton") / "served.toml"
    path.write_text(
        f'{hearing}[speak]\nmodel = "{tiny.short}"\nexecutor = "onnx"\nprecision = "int8"\nslots = 4\n\n'
        f'[vocode]\nmodel = "{tiny.short}"\nexecutor = "onnx"\nprecision = "int8"\n',
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module")
def server(profile: Path) -> Iterator[Running]:
    running = serve(profile)
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0
