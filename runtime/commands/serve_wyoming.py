"""`voxturn serve wyoming`: hearing, speaking and answering for Home Assistant; `--wyoming` has it
beside the gateway."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from voxturn.runtime.assistant import Assistant
from voxturn.runtime.commands.keys import add_database, check_installed, opened
from voxturn.runtime.commands.serving import add_log_options, run, signals
from voxturn.runtime.errors import ExecutorUnavailable, UsageError
from voxturn.runtime.flow.clock import WallClock
from voxturn.runtime.models.plugins import importable
from voxturn.runtime.profile import Profile, load_profile

if TYPE_CHECKING:
    from voxturn.runtime.gateway.core import Gateway
    from voxturn.runtime.gateway.transactions import Transactions

_PORT = 10300


def add_parser(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `wyoming` to what `serve` serves."""
    parser = kinds.add_parser(
        "wyoming",
        help="Home Assistant's protocol: speech to text, text to speech, a conversation agent",
        epilog="example:\n  voxturn serve wyoming --profile demo --host 0.0.0.0 --zeroconf",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--profile", default="demo", metavar="P")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="H",
        help="where to listen (default: this machine alone); there are no keys: whoever reaches "
        "it may use it",
    )
    parser.add_argument(
        "--port", type=int, default=_PORT, metavar="N", help=f"0: any free one (default: {_PORT})"
    )
    add_zeroconf(parser)
    add_log_options(parser)
    add_database(parser)
    parser.set_defaults(run=_wyoming)


def add_zeroconf(parser: argparse.ArgumentParser) -> None:
    """Add the option that has Home Assistant find Wyoming's services by itself."""
    parser.add_argument(
        "--zeroconf",
        nargs="?",
        const=socket.gethostname().split(".")[0],
        default="",
        metavar="NAME",
        help="announce Wyoming in the local network (default name: this machine's)",
    )


def check(host: str, port: int, name: str) -> None:
    """Raise `ExecutorUnavailable` or `UsageError` where Wyoming cannot be served there, or not be
    announced by `name`."""
    if not importable("wyoming"):
        raise ExecutorUnavailable("Wyoming needs its package; pip install 'voxturn[wyoming]'")
    if not 0 <= port <= 65535:
        raise UsageError(f"Wyoming's port {port}: must be between 0 and 65535")
    if name:
        from voxturn.runtime.gateway.wyoming.discovery import check as check_announced

        check_announced(host, name)


@contextlib.asynccontextmanager
async def serving(gateway: Gateway, host: str, port: int, name: str = "") -> AsyncIterator[None]:
    """Serve Wyoming while the block runs, and say where. `name`: announce it by that."""
    from voxturn.runtime.gateway.server import Address
    from voxturn.runtime.gateway.wyoming.discovery import announced
    from voxturn.runtime.gateway.wyoming.server import serving_wyoming

    async with contextlib.AsyncExitStack() as stack:
        bound = await stack.enter_async_context(serving_wyoming(gateway, Address(host, port)))
        if name:
            await stack.enter_async_context(announced(name, host, bound))
        print(f"tcp://{f'[{host}]' if ':' in host else host}:{bound}", flush=True)
        yield


def _wyoming(args: argparse.Namespace) -> int:
    check_installed()
    check(args.host, args.port, args.zeroconf)
    profile = load_profile(args.profile)
    with opened(args.database or profile.gateway.database) as database:
        return run(_serve(args, profile, database))


async def _serve(args: argparse.Namespace, profile: Profile, database: Transactions) -> int:
    """Serve until a signal comes."""
    from voxturn.runtime.gateway.core import Gateway
    from voxturn.runtime.gateway.logs import logging_to
    from voxturn.runtime.gateway.store import conversations_of
    from voxturn.runtime.gateway.telemetry import telemetry_of

    clock, stop = WallClock(), asyncio.Event()
    telemetry = telemetry_of(clock)
    content = profile.gateway.log_content
    with logging_to(sys.stderr, args.log_format, args.log_level, content), signals(stop):
        async with Assistant.load(profile, clock=clock) as assistant:
            await assistant.warm()
            gateway = Gateway(
                assistant,
                profile.gateway,
                conversations=conversations_of(profile.gateway, database),
                clock=clock,
                telemetry=telemetry,
            )
            async with gateway, serving(gateway, args.host, args.port, args.zeroconf):
                await stop.wait()
                gateway.stopping.set()
        await asyncio.to_thread(telemetry.close)
    return 0
