"""`voxturn serve gateway`: HTTP and WebSocket for applications."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from voxturn.runtime.assistant import Assistant
from voxturn.runtime.commands import serve_wyoming
from voxturn.runtime.commands.gateway_workers import Inherited, add_workers, oversee, oversees
from voxturn.runtime.commands.keys import (
    add_database,
    check_installed,
    check_keys,
    is_loopback,
    opened,
    stored_keys_of,
)
from voxturn.runtime.commands.serving import add_log_options, run, signals
from voxturn.runtime.errors import UsageError
from voxturn.runtime.flow.clock import WallClock
from voxturn.runtime.gateway_settings import GatewaySettings
from voxturn.runtime.profile import Profile, load_profile

if TYPE_CHECKING:
    from voxturn.runtime.gateway.core import Gateway, Shared
    from voxturn.runtime.gateway.peers import LocalPeers
    from voxturn.runtime.gateway.server import Address
    from voxturn.runtime.gateway.telemetry import Telemetry
    from voxturn.runtime.gateway.transactions import Transactions

_LOG = logging.getLogger(__name__)
_OTHER_FILES = 256
"""Open files beside connections: models, pipes, the database."""


def add_parser(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `gateway` to what `serve` serves."""
    parser = kinds.add_parser(
        "gateway",
        help="HTTP and WebSocket for applications: OpenAI's interface, voice sessions",
        epilog="example:\n  voxturn serve gateway --profile demo\n"
        "  curl http://127.0.0.1:8080/v1/audio/speech -H 'content-type: application/json' "
        '-d \'{"input": "Hello there."}\' -o hello.mp3',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--profile", default="demo", metavar="P")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="H",
        help="where to listen (default: this machine alone); elsewhere keys are needed, see "
        "`voxturn keys`",
    )
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="0: any free one")
    parser.add_argument(
        "--open",
        action="store_true",
        help="everyone may call, also without a key (the default on this machine alone, as long "
        "as no key was made)",
    )
    parser.add_argument("--certificate", default="", metavar="FILE", help="TLS: the chain, as PEM")
    parser.add_argument("--key", default="", metavar="FILE", help="TLS: its private key, as PEM")
    parser.add_argument(
        "--wyoming",
        type=int,
        metavar="PORT",
        help="serve Home Assistant's protocol there, too, as `voxturn serve wyoming` does",
    )
    parser.add_argument(
        "--wyoming-host",
        default="127.0.0.1",
        metavar="H",
        help="where to listen for it (default: this machine alone, wherever --host is); it has no "
        "keys: whoever reaches it may use it",
    )
    serve_wyoming.add_zeroconf(parser)
    add_log_options(parser)
    add_database(parser)
    add_workers(parser)
    parser.set_defaults(run=_gateway)


def _gateway(args: argparse.Namespace) -> int:
    check_installed()
    if not 0 <= args.port <= 65535:
        raise UsageError(f"--port {args.port}: must be between 0 and 65535")
    if bool(args.certificate) != bool(args.key):
        raise UsageError("--certificate and --key go together")
    _check_wyoming(args)
    from voxturn.runtime.gateway.server import Address, check_tls

    address = Address(args.host, args.port, args.certificate, args.key)
    check_tls(address)
    profile = load_profile(args.profile)
    with opened(args.database or profile.gateway.database) as database:
        check_keys(args.host, args.open, database)
        if oversees(args):
            return run(_oversee(args, profile, address))
        return run(_serve(args, profile, address, database))


def warning_of(host: str, everyone: bool) -> str:
    """What is told at the start where others reach the gateway without a key; else empty."""
    if not everyone or is_loopback(host):
        return ""
    return (
        f"--open --host {host}: whoever reaches it may use it; callers without a key are told apart "
        "by their addresses alone, and what is kept of their conversations and voices is everyone's"
    )


def _check_wyoming(args: argparse.Namespace) -> None:
    if args.wyoming is None:
        if args.zeroconf:
            raise UsageError("--zeroconf announces Wyoming; say --wyoming PORT, too")
        return
    if args.workers > 1:
        raise UsageError("--wyoming is served by one process: leave --workers out")
    serve_wyoming.check(args.wyoming_host, args.wyoming, args.zeroconf)


def _gateway_of(
    args: argparse.Namespace,
    assistant: Assistant,
    profile: Profile,
    database: Transactions,
    inherited: Inherited | None,
    telemetry: Telemetry,
) -> Gateway:
    from voxturn.runtime.gateway.core import Gateway, slots_of
    from voxturn.runtime.gateway.database import Database
    from voxturn.runtime.gateway.peers import NoPeers
    from voxturn.runtime.gateway.realtime.secrets import SecretsInMemory
    from voxturn.runtime.gateway.store import conversations_of
    from voxturn.runtime.gateway.stored_secrets import StoredSecrets
    from voxturn.runtime.gateway.windows import windows_of

    settings = profile.gateway
    several = inherited is not None or not isinstance(database, Database)
    slots = slots_of(assistant) * args.workers
    return Gateway(
        assistant,
        settings,
        stored_keys_of(args.host, args.open, database),
        conversations_of(settings, database),
        telemetry=telemetry,
        secrets=StoredSecrets(database) if several else SecretsInMemory(),
        windows=windows_of(settings, database if several else None),
        shared=_shared(inherited, settings, slots) if inherited else None,
        peers=_peers(inherited) if inherited else NoPeers(),
    )


def _shared(inherited: Inherited, settings: GatewaySettings, slots: int) -> Shared:
    """The places that workers count together. `slots`: conversations that they have engines for."""
    from voxturn.runtime.gateway.core import Shared
    from voxturn.runtime.gateway.leases import Leases

    files, connections = inherited.leases, settings.connections
    return Shared(
        Leases(files["sessions"], settings.sessions or slots),
        Leases(files["speeches"], settings.speeches),
        Leases(files["calls"], connections),  # a connection asks one thing at a time
        Leases(files["connections"], connections),
    )


def _peers(inherited: Inherited) -> LocalPeers:
    from voxturn.runtime.gateway.peers import LocalPeers

    return LocalPeers(inherited.folder, inherited.folder / f"{os.getpid()}.sock")


async def _serve(
    args: argparse.Namespace, profile: Profile, address: Address, database: Transactions
) -> int:
    """Serve until a signal comes."""
    from voxturn.runtime.gateway.logs import logging_to
    from voxturn.runtime.gateway.server import listening, serving
    from voxturn.runtime.gateway.telemetry import telemetry_of

    _allow_files(profile.gateway.connections)
    clock, stop = WallClock(), asyncio.Event()
    telemetry = telemetry_of(clock)
    content = profile.gateway.log_content
    inherited = Inherited(args) if args.shared else None
    with logging_to(sys.stderr, args.log_format, args.log_level, content), signals(stop):
        if inherited is not None:
            inherited.end_with_parent(stop)
        elif warning := warning_of(args.host, args.open):
            _LOG.warning("%s", warning)
        listener = inherited.listener if inherited else listening(address)
        try:
            cores = inherited.cores if inherited else None
            async with Assistant.load(profile, cores=cores, clock=clock) as assistant:
                await assistant.warm()
                gateway = _gateway_of(args, assistant, profile, database, inherited, telemetry)
                async with (
                    _answering_peers(gateway),
                    serving(gateway, address, listener=listener) as port,
                ):
                    print(_url(args, port), flush=True)
                    async with _beside(args, gateway):
                        await stop.wait()
                        _LOG.info("stopping")
                        gateway.stopping.set()
        finally:
            listener.close()
            await asyncio.to_thread(telemetry.close)
    return 0


def _answering_peers(gateway: Gateway) -> AbstractAsyncContextManager[None]:
    """What this worker does for the others, if there are any."""
    from voxturn.runtime.gateway.peer_server import answering_peers
    from voxturn.runtime.gateway.peers import LocalPeers

    if not isinstance(gateway.peers, LocalPeers):
        return contextlib.nullcontext()
    return answering_peers(gateway, gateway.peers)


def _beside(args: argparse.Namespace, gateway: Gateway) -> AbstractAsyncContextManager[None]:
    """What is served beside HTTP."""
    if args.wyoming is None:
        return contextlib.nullcontext()
    return serve_wyoming.serving(gateway, args.wyoming_host, args.wyoming, args.zeroconf)


async def _oversee(args: argparse.Namespace, profile: Profile, address: Address) -> int:
    """Keep workers running until a signal comes."""
    stop = asyncio.Event()
    if warning := warning_of(args.host, args.open):
        _tell(f"warning: {warning}")
    with signals(stop):
        return await oversee(
            args,
            address,
            profile.gateway.drain_s,
            stop,
            ready=lambda port: print(_url(args, port), flush=True),
            report=_tell,
        )


def _allow_files(connections: int) -> None:
    """Let the process open as many files as it may have connections, where the system lets it."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _url(args: argparse.Namespace, port: int) -> str:
    host = f"[{args.host}]" if ":" in args.host else args.host
    return f"{'https' if args.certificate else 'http'}://{host}:{port}"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
