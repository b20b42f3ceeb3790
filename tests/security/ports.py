"""Where processes listen, as the kernel tells it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def listening(pids: Iterable[int]) -> set[str]:
    """Where processes accept connections, as HOST:PORT."""
    owned = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").glob("*"):
            with suppress(OSError):  # closed, or its process ended, since it was listed
                owned.add(str(file.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and f"socket:[{rest[5]}]" in owned:
                host, _, port = local.partition(":")
                found.add(f"{_host(host)}:{int(port, 16)}")
    return found


def _host(digits: str) -> str:
    """An address as /proc/net writes it, in words of four bytes; one of IPv4 as such, also where a
    socket is of both."""
    words = [bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return str(getattr(address, "ipv4_mapped", None) or address)
