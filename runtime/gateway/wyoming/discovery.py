"""Announces the services in the local network (mDNS), where Home Assistant finds them."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from voxturn.runtime.errors import ExecutorUnavailable, UsageError
from voxturn.runtime.models.plugins import importable

SERVICE = "_wyoming._tcp.local."
_ROUTED = ("192.0.2.1", 9)
"""An address of no host (RFC 5737): which of ours would be used to reach others. Nothing is
sent."""
_LONGEST_NAME = 63
"""Bytes of a label of DNS."""


def check(host: str, name: str) -> None:
    """Raise `UsageError` or `ExecutorUnavailable` where nothing can be announced."""
    if not importable("zeroconf"):
        raise ExecutorUnavailable("--zeroconf needs zeroconf; pip install 'voxturn[zeroconf]'")
    if host == "localhost" or _is_loopback(host):
        raise UsageError(
            "--zeroconf: others cannot reach this machine's own address; give --host, or beside "
            "the gateway --wyoming-host"
        )
    if not 0 < len(name.encode()) <= _LONGEST_NAME or not name.isprintable() or "." in name:
        raise UsageError(f"--zeroconf {name}: must be a name of at most 63 bytes without dots")


@asynccontextmanager
async def announced(name: str, host: str, port: int) -> AsyncIterator[None]:
    """While the block runs, the services are announced by a name. `host`: where they listen."""
    from zeroconf import InterfaceChoice
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    address = reached_at(host)
    everywhere = address != host
    zeroconf = AsyncZeroconf(interfaces=InterfaceChoice.Default if everywhere else [address])
    packed = ipaddress.ip_address(address).packed
    info = AsyncServiceInfo(SERVICE, f"{name}.{SERVICE}", addresses=[packed], port=port)
    try:
        await zeroconf.async_register_service(info)
        yield
    finally:
        await zeroconf.async_unregister_service(info)
        await zeroconf.async_close()


def reached_at(host: str) -> str:
    """Our address that others use: the host, or of any address the one that routes lead from.

    Raises `UsageError` where there is none.
    """
    try:
        wanted = ipaddress.ip_address(host if _is_address(host) else socket.gethostbyname(host))
        if not wanted.is_unspecified:
            return str(wanted)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_ROUTED)
            return str(probe.getsockname()[0])
    except (OSError, ValueError) as exc:
        raise UsageError(f"--zeroconf: {host} is no address of a network") from exc


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_loopback
