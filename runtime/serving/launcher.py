"""Triton Inference Server out of the `nvidia-pytriton` wheel, as a child process: no container, no
GPU.

The wheel has the Python backend alone. Its models run in the environment of this interpreter, whose
numpy must be older than 2: with 2 the backend corrupts tensors without a word.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from voxturn.runtime.closing import Closing
from voxturn.runtime.errors import ExecutorUnavailable, ServerUnavailable
from voxturn.runtime.remote.access import restricting
from voxturn.runtime.serving.processes import (
    ProcessState,
    command_of,
    descendants,
    has_ended,
    state_of,
    waits_for_machine,
)

_LOG = logging.getLogger(__name__)
_READY_S, _STOP_S, _ATTEMPTS = 120.0, 15.0, 3
_FOLDERS, _REGIONS = "voxturn-triton-", "voxturn"
_AT_ONCE = [("grpc.use_local_subchannel_pool", 1)]
"""A connection of its own to every attempt: gRPC waits longer and longer between those of one."""
_PORT_TAKEN, _REASONS = "already in use", ("error: ", "failed to ", "Usage: ")
"""What the server's log has where it ended for a reason: a port that somebody took in between, and
what is wrong with its command or its models."""
_BACKEND_FILES = (
    "backends/python/libtriton_python.so",
    "backends/python/triton_python_backend_utils.py",
)
WITH_PARENT = (
    "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,15);"
    "os.getppid()==int(sys.argv[1]) or os._exit(1);os.execv(sys.argv[2],sys.argv[2:])"
)
"""A program for `python -c`, with a parent's pid and a command: runs the command and ends it with
its parent, also if that is killed. The child asks the kernel to be told of the death."""


def repository() -> Path:
    """The model repository that comes with voxturn."""
    spec = importlib.util.find_spec("voxturn.triton_models")
    if spec is None or not spec.submodule_search_locations:
        raise ExecutorUnavailable(
            "this installation has no triton_models; install voxturn from its source"
        )
    return Path(spec.submodule_search_locations[0])


class EmbeddedTriton(Closing):
    """A running server; `grpc`, `metrics` and, if asked for, `http` are its ports on the loopback
    device. Close it when done.

    `models` are loaded one by one later (`supervisor`): a model that does not load then leaves the
    others alone. Who does that needs `secret`, which is this server's alone. Raises
    `ExecutorUnavailable` without the wheel, `ServerUnavailable` if the server does not start.
    """

    def __init__(
        self,
        models: Path,
        environment: Mapping[str, str],
        options: Sequence[str] = (),
        http: bool = False,
    ) -> None:
        distribution, libraries = _wheel()
        _remove_stale()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDERS}{os.getpid()}-"))
        self.log = self._folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.secret = secrets.token_urlsafe()
        try:
            backends = _backends(distribution, self._folder)
            self._env = _environment(libraries) | dict(environment)
            program = [
                str(distribution / "bin/tritonserver"),
                *("--model-repository", str(models), "--backend-directory", str(backends)),
                *("--cache-directory", str(distribution / "caches")),
                *("--model-control-mode", "explicit", *restricting(self.secret)),
                *("--allow-gpu-metrics", "false", "--disable-auto-complete-config"),
                *("--exit-timeout-secs", "5", "--metrics-interval-ms", "500"),
                *options,
            ]
            self._start_at_free_ports(program, http)
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the server's process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def crashed(self) -> bool:
        """Whether the server's process has ended, by a signal or without a word about the reason."""
        if self._process is None or (code := self._process.poll()) is None:
            return False
        return code < 0 or not any(reason in self._log() for reason in _REASONS)

    @property
    def last_words(self) -> str:
        """The end of the server's log, and how its process ended, in one line."""
        code = None if self._process is None else self._process.poll()
        how = "runs" if code is None else f"ended with code {code}"
        return f"it {how}; its log: {' '.join(self._log().split())[-400:]}"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def process_of(self, model: str) -> int | None:
        """The process id of a model's stub; None if there is none (any more)."""
        return next(
            (pid for pid in descendants(self.pid) if f"/{model}/1/model.py" in command_of(pid)),
            None,
        )

    def state_of(self, model: str) -> ProcessState | None:
        """How a model's process is; None if there is none (any more)."""
        process = self.process_of(model)
        return None if process is None else state_of(process)

    def waits_for_machine(self, model: str) -> bool:
        """Whether a model's process would go on if the machine let it."""
        process = self.process_of(model)
        return process is not None and waits_for_machine(process)

    @property
    def stopped(self) -> bool:
        """Whether a signal stopped the server's process."""
        state = state_of(self.pid)
        return state is not None and state.stopped

    def start_again(self) -> None:
        """Start a server that died at the same addresses, without its models; `wait_until_live`
        says when it is there.

        To be called in the thread that made this: the server ends with the thread that started it.
        """
        self._end()
        self._start()

    def close(self) -> None:
        """Stop the server and leave nothing behind: no process, no shared memory, no file."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _prefix(self) -> str:
        return f"{_REGIONS}{os.getpid()}_{self.grpc}_"

    def _end(self) -> None:
        """End what is left of the server's processes, and its shared memory."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # models that did not end with it
        self._process.wait()
        for region in Path("/dev/shm").glob(self._prefix + "*"):  # noqa: S108  where the server keeps it
            region.unlink(missing_ok=True)

    def _start_at_free_ports(self, program: Sequence[str], http: bool) -> None:
        """Start the server and wait until it answers.

        It is started again where somebody takes one of its ports, and once where it ends by itself
        without a reason, as it does once in a long while. Raises `ServerUnavailable`.
        """
        crashes = 0
        for attempt in range(1, _ATTEMPTS + 1):
            self.grpc, self.metrics, *rest = _free_ports(3 if http else 2)
            self.http = rest[0] if rest else None
            self._command = [
                *program,
                *("--grpc-address", "127.0.0.1", "--grpc-port", str(self.grpc)),
                *("--metrics-address", "127.0.0.1", "--metrics-port", str(self.metrics)),
                *_http_options(self.http),
                *("--backend-config", f"python,shm-region-prefix-name={self._prefix}"),
            ]
            self._start()
            if self.wait_until_live():
                return
            crashes += self.crashed
            again = crashes == 1 if self.crashed else _PORT_TAKEN in self._log()
            if attempt == _ATTEMPTS or not again:
                raise ServerUnavailable(f"the server did not start: {self.last_words}")
            _LOG.warning("the server did not start, and is started once more: %s", self.last_words)
            self._end()

    def _start(self) -> None:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", WITH_PARENT, str(os.getpid()), *self._command],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_live(self) -> bool:
        """Wait until the server answers; False if it has ended or does not in time. Blocks."""
        return is_live(self.grpc, lambda: self.alive, _READY_S)

    def _log(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def is_live(grpc: int, runs: Callable[[], bool], patience_s: float) -> bool:
    """Wait until a server on this host answers at its gRPC port; False if it `runs` no more or
    takes too long.

    Raises `ExecutorUnavailable` without `tritonclient`.
    """
    try:
        from tritonclient.grpc import InferenceServerClient
        from tritonclient.utils import InferenceServerException
    except ImportError as exc:
        raise ExecutorUnavailable(
            "a Triton server's launcher needs tritonclient; pip install 'voxturn[triton]'"
        ) from exc
    until = time.monotonic() + patience_s
    while runs() and time.monotonic() < until:
        with (
            contextlib.suppress(InferenceServerException),
            InferenceServerClient(f"127.0.0.1:{grpc}", channel_args=_AT_ONCE) as client,
        ):
            if client.is_server_live(client_timeout=1.0):
                return True
        time.sleep(0.02)
    return False


def _remove_stale() -> None:
    """Remove the folders and the shared memory of processes that were killed before they could,
    their servers with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDERS}*"):
        if has_ended(folder.name.removeprefix(_FOLDERS).split("-")[0]):
            shutil.rmtree(folder, ignore_errors=True)
    for region in Path("/dev/shm").glob(f"{_REGIONS}*_*"):  # noqa: S108
        if has_ended(region.name.removeprefix(_REGIONS).split("_")[0]):
            region.unlink(missing_ok=True)


def _wheel() -> tuple[Path, Path]:
    """The folders of the server and of its libraries."""
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise ExecutorUnavailable(
            "the embedded server needs nvidia-pytriton; pip install 'voxturn[embedded,triton,triton-embedded]' into an "
            "environment of its own"
        )
    if int(np.__version__.split(".")[0]) > 1:
        raise ExecutorUnavailable(
            f"the embedded server corrupts tensors with numpy {np.__version__}; pip install 'voxturn[triton-embedded]' into "
            "an environment of its own, which gets numpy 1.26"
        )
    package = Path(spec.submodule_search_locations[0])
    return package / "tritonserver", package.parent / "nvidia_pytriton.libs"


def _backends(distribution: Path, folder: Path) -> Path:
    """A backend folder with the stub of this Python's version."""
    python = folder / "backends/python"
    python.mkdir(parents=True)
    stub = f"python_backend_stubs/{sys.version_info[0]}.{sys.version_info[1]}/triton_python_backend_stub"
    for name in (*_BACKEND_FILES, stub):
        if not (distribution / name).exists():
            raise ExecutorUnavailable(f"nvidia-pytriton has no {name}; use Python 3.8 to 3.12")
        (python / Path(name).name).symlink_to(distribution / name)
    return python.parent


def _environment(libraries: Path) -> dict[str, str]:
    """This process's, in which the stub finds this interpreter and the server its libraries."""
    env = dict(os.environ)
    env["PATH"] = f"{sys.exec_prefix}/bin:{env.get('PATH', os.defpath)}"
    paths = (str(libraries), sysconfig.get_config_var("LIBDIR"), env.get("LD_LIBRARY_PATH"))
    env["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)
    return env


def _http_options(port: int | None) -> list[str]:
    if port is None:
        return ["--allow-http", "false"]
    return ["--http-address", "127.0.0.1", "--http-port", str(port)]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
