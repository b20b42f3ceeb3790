"""Servers of other projects, started for tests: PostgreSQL and Redis, where they are installed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_LIVE_S = 30.0
SECRET = "hunter-2"  # pragma: allowlist secret
_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def _ours(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """A process that ends with this one, also where that is killed: the kernel tells it."""
    libc = ctypes.CDLL(None)
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: libc.prctl(1, signal.SIGTERM),
        **options,
    )


class PostgresServer:
    """A server of its own, which listens at a socket in its folder."""

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self._binaries = binaries
        self._folder = folder
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, with the password."""
        return f"postgresql://tester:{SECRET}@/postgres?host={self._folder}"

    def make(self) -> None:
        """Make its files."""
        (self._folder / "secret").write_text(SECRET, encoding="utf-8")
        secure = ["--auth=scram-sha-256", f"--pwfile={self._folder}/secret"]
        data = ["-D", str(self._folder / "data"), "--username=tester", "--no-sync"]
        subprocess.run(
            [str(self._binaries / "initdb"), *data, "--encoding=UTF8", *secure],
            user=self._user,
            cwd="/",
            check=True,
            timeout=_LIVE_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def start(self) -> None:
        """Start it; it answers when this returns."""
        data, folder = str(self._folder / "data"), str(self._folder)
        command = [str(self._binaries / "postgres"), "-D", data, "-k", folder]
        settings = ["-c", "listen_addresses=", "-c", "fsync=off"]
        with (self._folder / "log").open("wb") as log:
            self._process = _ours([*command, *settings], user=self._user, cwd="/", stderr=log)
        _until(self._answers)

    def stop(self) -> None:
        """Stop it at once, and end its connections. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait(_LIVE_S)

    def _answers(self) -> bool:
        asked = [str(self._binaries / "pg_isready"), "-q", "-h", str(self._folder)]
        return subprocess.run(asked, timeout=_LIVE_S, check=False).returncode == 0


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server that runs while the block does. Skips the test where none is installed."""
    found = shutil.which("initdb")
    binaries = Path(found).resolve().parent if found else next(reversed(_BINARIES), None)
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    user = "postgres" if os.getuid() == 0 else None  # it refuses to run as root
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as name:
        if user is not None:
            shutil.chown(name, user)
        server = PostgresServer(binaries, Path(name), user)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def redis_server() -> Iterator[str]:
    """The address of a server that runs while the block does. Skips the test where none is
    installed."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("Redis is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", SECRET]
    with (
        tempfile.TemporaryDirectory(prefix="redis-") as folder,
        _ours([binary, *options], cwd=folder) as process,
    ):
        try:
            _until(lambda: _listens(port))
            yield f"redis://:{SECRET}@127.0.0.1:{port}/0"
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LIVE_S
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)
