"""Triton Inference Server in NVIDIA's container, by `deploy/docker-compose.yml`: a child process
that Docker answers for."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from voxturn.runtime.closing import Closing
from voxturn.runtime.errors import ExecutorUnavailable, ServerUnavailable, UsageError
from voxturn.runtime.serving.backend import PROFILE
from voxturn.runtime.serving.launcher import WITH_PARENT, is_live

SERVED, SECRET = "VOXTURN_SERVED", "VOXTURN_SECRET"  # pragma: allowlist secret
_FILE, _HTTP_FILE = Path("deploy/docker-compose.yml"), Path("deploy/docker-compose.http.yml")
_ADDRESS, _REACHED = "VOXTURN_ADDRESS", ("127.0.0.1", "0.0.0.0")  # noqa: S104  who sets it wants that
_STANDARD_ERROR = 2  # the file, for a program that writes there itself
_START_S, _STOP_S = 600.0, 60.0  # an image may have to be pulled


class ContainerTriton(Closing):
    """A server in a container; `grpc`, `metrics` and, if asked for, `http` are its ports on this
    host, from `VOXTURN_GRPC_PORT` and so on. Who loads models needs `secret`, which is this
    server's alone.

    Close it when done. Raises `ExecutorUnavailable` without Docker, `UsageError` away from
    voxturn's source, or for ports or an address at which the server could not be watched.
    """

    def __init__(self, profile: str, models: Sequence[str], http: bool = False) -> None:
        program = shutil.which("docker")
        if program is None:
            raise ExecutorUnavailable("--docker needs docker; install it, or serve with --embedded")
        if not _FILE.exists():
            raise UsageError(f"{_FILE} is not here; run this in the folder of voxturn's source")
        if (address := os.environ.get(_ADDRESS) or _REACHED[0]) not in _REACHED:
            raise UsageError(
                f"{_ADDRESS}: must be {' or '.join(_REACHED)}, not {address!r}: the server is watched at {_REACHED[0]}"
            )
        self.http = _port("VOXTURN_HTTP_PORT", 8000) if http else None
        self.grpc, self.metrics = (
            _port("VOXTURN_GRPC_PORT", 8001),
            _port("VOXTURN_METRICS_PORT", 8002),
        )
        self.secret = secrets.token_urlsafe()
        files = [_FILE, _HTTP_FILE] if http else [_FILE]
        self._compose = [
            program,
            "compose",
            *(word for file in files for word in ("-f", str(file))),
        ]
        self._env = dict(os.environ) | {
            PROFILE: profile,
            SERVED: " ".join(models),
            SECRET: self.secret,
        }
        up = [*self._compose, "up", "--abort-on-container-exit"]
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", WITH_PARENT, str(os.getpid()), *up],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=_STANDARD_ERROR,  # ours has the addresses
            start_new_session=True,  # a terminal's Ctrl-C reaches it once, through `close`
        )

    @property
    def alive(self) -> bool:
        """Whether the container runs."""
        return self._process.poll() is None

    def wait_until_live(self, stopped: Callable[[], bool]) -> bool:
        """Wait until the server answers; False once it is `stopped`.

        Blocks. Raises `ServerUnavailable`.
        """
        if is_live(self.grpc, lambda: self.alive and not stopped(), _START_S):
            return True
        if stopped():
            return False
        raise ServerUnavailable(
            f"the container's server did not start (docker compose: {self._process.poll()})"
        )

    def close(self) -> None:
        """Stop and remove the container."""
        if self.alive:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
        if self.alive:
            self._process.kill()
            self._process.wait()
        subprocess.run([*self._compose, "down"], env=self._env, stdout=_STANDARD_ERROR, check=False)


def _port(name: str, port: int) -> int:
    given = os.environ.get(name, str(port))
    if not given.isdecimal() or not 0 < int(given) < 1 << 16:
        raise UsageError(f"{name}: must be a port, not {given!r}")
    return int(given)
