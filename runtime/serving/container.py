"""Triton Inference Server in NVIDIA's container, by `deploy/docker-compose.yml`: a child process that Docker answers for."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from voxturn.runtime.errors import ExecutorUnavailable, ServerUnavailable, UsageError
from voxturn.runtime.serving.backend import PROFILE
from voxturn.runtime.serving.launcher import WITH_PARENT, is_live

SERVED = "VOXTURN_SERVED"
_FILE = Path("deploy/docker-compose.yml")
_STANDARD_ERROR = 2  # the file, for a program that writes there itself
_START_S, _STOP_S = 600.0, 60.0  # an image may have to be pulled


class ContainerTriton:
    """A server in a container; `http`, `grpc`, `metrics` are its ports on this host, from `VOXTURN_HTTP_PORT` and so on.

    Close it when done. Raises `ExecutorUnavailable` without Docker, `UsageError` away from voxturn's source.
    """

    def __init__(self, profile: str, models: Sequence[str]) -> None:
        program = shutil.which("docker")
        if program is None:
            raise ExecutorUnavailable("--docker needs docker; install it, or serve with --embedded")
        if not _FILE.exists():
            raise UsageError(f"{_FILE} is not here; run this in the folder of voxturn's source")
        self.http, self.grpc, self.metrics = (
            _port(f"VOXTURN_{name}_PORT", port)
            for name, port in (("HTTP", 8000), ("GRPC", 8001), ("METRICS", 8002))
        )
        self._compose = [program, "compose", "-f", str(_FILE)]
        self._env = dict(os.environ) | {PROFILE: profile, SERVED: " ".join(models)}
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
        """Wait until the server answers; False once it is `stopped`. Blocks. Raises `ServerUnavailable`."""
        if is_live(self.http, lambda: self.alive and not stopped(), _START_S):
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

    def __enter__(self) -> ContainerTriton:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def _port(name: str, port: int) -> int:
    given = os.environ.get(name, str(port))
    if not given.isdecimal() or not 0 < int(given) < 1 << 16:
        raise UsageError(f"{name}: must be a port, not {given!r}")
    return int(given)
