"""What the servers of the command line share: options, the event loop, the signals that end it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine, Iterator
from typing import Any


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Add how and how much is logged."""
    parser.add_argument(
        "--log-format",
        choices=("json", "text"),
        default="text",
        help="of what it logs to standard error: lines for people (the default), or JSON objects; "
        "neither has what was said",
    )
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info"
    )


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a command's event loop; its exit code."""
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.run(main)
    return asyncio.run(main)


@contextlib.contextmanager
def signals(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` at the first signal that ends a process; the second ends it at once.

    Nothing has to be undone then: the database keeps what was acknowledged, and the kernel frees
    the rest.
    """
    loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in numbers:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
