"""`voxturn serve gateway --workers N`: the process that keeps N others running, and what a worker
has from it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voxturn.runtime.commands.options import whole
from voxturn.runtime.flow.scheduling import Cores

if TYPE_CHECKING:
    from voxturn.runtime.gateway.server import Address

_OURS = ("run", "debug", "shared")
PLACES = ("sessions", "speeches", "calls", "connections")
"""What workers count together, each in a file of its own."""


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add `--workers`."""
    parser.add_argument(
        "--workers",
        type=whole("--workers", 1, 256),
        default=1,
        metavar="N",
        help="processes that share address, keys, limits, conversations and sessions; each loads "
        "the models, and gets its share of the cores (default: 1)",
    )
    # what a worker is told by the process that began it: open files, by their numbers, and a folder
    parser.add_argument("--shared", default="", help=argparse.SUPPRESS)


def oversees(args: argparse.Namespace) -> bool:
    """Whether this process is to keep others running, and is none of them."""
    return args.workers > 1 and not args.shared


async def oversee(
    args: argparse.Namespace,
    address: Address,
    drain_s: float,
    stop: asyncio.Event,
    ready: Callable[[int], None],
    report: Callable[[str], None],
) -> int:
    """Keep workers running until `stop` is set. `ready` is told the port. Returns the exit code."""
    from voxturn.runtime.gateway.metrics import shared_by_workers, worker_ended
    from voxturn.runtime.gateway.server import listening
    from voxturn.runtime.gateway.workers import Workers

    with contextlib.ExitStack() as stack:
        stack.enter_context(shared_by_workers())
        listener = stack.enter_context(listening(address))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="voxturn-workers-"))
        files = [listener.fileno()]
        for name in PLACES:
            lease = stack.enter_context(tempfile.TemporaryFile(prefix=f"voxturn-{name}-"))
            files.append(lease.fileno())
        command = [sys.executable, "-P", "-m", "voxturn.runtime"]
        command += worker_options(args, files, folder)
        workers = Workers(command, args.workers, files, drain_s, report=report, ended=worker_ended)
        return await workers.run(stop, lambda: ready(listener.getsockname()[1]))


def worker_options(args: argparse.Namespace, files: Sequence[int], folder: str) -> list[str]:
    """The command line of a worker: this process's, with the files that it inherits, and the folder
    of the workers' sockets."""
    options = ["--debug"] if args.debug else []
    options += ["serve", "gateway", "--shared", ",".join([*map(str, files), folder])]
    for name, value in vars(args).items():
        if name in _OURS or value in ("", None, False):
            continue
        option = f"--{name.replace('_', '-')}"
        options += [option] if value is True else [option, str(value)]
    return options


class Inherited:
    """What a worker has from the process that began it: the socket that listens, files of `Leases`
    by `PLACES`, the folder of the workers' sockets, and a share of the cores."""

    def __init__(self, args: argparse.Namespace) -> None:
        listener, *leases = args.shared.split(",", 1 + len(PLACES))
        self.folder = Path(leases.pop())
        self.listener = socket.socket(fileno=int(listener))
        self.leases = dict(zip(PLACES, map(int, leases), strict=True))
        self.cores = Cores().share(args.workers)

    def end_with_parent(self, stop: asyncio.Event) -> None:
        """Set `stop` once the process that began this one has ended: then standard input does.

        It ends before its workers only where it was killed, or told to end at once.
        """
        loop = asyncio.get_running_loop()

        def look() -> None:
            if os.read(0, 1024):
                return
            if stop.is_set():
                os._exit(128 + signal.SIGTERM)
            loop.remove_reader(0)
            stop.set()

        loop.add_reader(0, look)
