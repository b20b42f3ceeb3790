"""Whom the gateway answers: the callers of its keys; and where no key is needed, programs and its
own pages, but no page of a stranger.

A page in a browser can send requests to this machine, as its user. Its answers are closed to it
(CORS), but a "simple" request is carried out and a WebSocket is not asked about at all; and a page
whose name is made to mean this machine (DNS rebinding) reads answers, too. With keys there is
nothing to gain: a stranger's page has none, and the gateway knows no cookies.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller, Keys, caller_of
from voxturn.runtime.gateway_settings import GatewaySettings


async def admitted(keys: Keys, settings: GatewaySettings, connection: HTTPConnection) -> Caller:
    """Who calls. Raises `ApiError` 401, 403 or 421."""
    caller = await caller_of(keys, connection)
    if not caller.key:
        check_host(settings, connection)
        check_page(settings, connection)
    return caller


async def seen(keys: Keys, settings: GatewaySettings, connection: HTTPConnection) -> None:
    """What is public is so for everyone, but where no key is needed, for no made-up name.

    Raises `ApiError` 421.
    """
    if await keys.caller("") is not None:
        check_host(settings, connection)


def check_host(settings: GatewaySettings, connection: HTTPConnection) -> None:
    """Raise `ApiError` 421 where the gateway is called by a name that anyone may give it."""
    host = _host_of(connection.headers.get("host", ""))
    known = {*settings.hosts, *(_host_of(urlsplit(each).netloc) for each in settings.origins)}
    if not (host in known or _is_own(host)):
        raise ApiError(
            421,
            "this gateway is not known by that name; call it by its address, or add the name to "
            "`hosts` in the table [gateway] of its profile",
            "unknown_host",
        )


def _is_own(host: str) -> bool:
    """Whether a name cannot have been made up for us: an address, a name without a dot, which no
    registry gives away, or the machine's own."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        own = socket.gethostname().lower()
        if host.endswith(".localhost") or host in (own, f"{own}.local"):
            return True
        return bool(host) and "." not in host
    return True


def check_page(settings: GatewaySettings, connection: HTTPConnection) -> None:
    """Raise `ApiError` 403 where a page of another site asks.

    A browser says whose page it is in `Origin`, or, where it sends none, in `Sec-Fetch-Site`.
    """
    origin = connection.headers.get("origin")
    if origin is not None:
        own = connection.headers.get("host", "").lower()
        allowed = origin in settings.origins or "*" in settings.origins
        if allowed or (urlsplit(origin).netloc.lower() == own and own):
            return
    elif not _sent_by_stranger(connection):
        return
    raise ApiError(
        403,
        "pages of other sites may not call this gateway; add theirs to `origins` in the table "
        "[gateway] of its profile, or make keys (`voxturn keys create`)",
        "origin_not_allowed",
    )


def _sent_by_stranger(connection: HTTPConnection) -> bool:
    """Whether a page of another site embeds us, as by an image. Links to us may be followed."""
    site = connection.headers.get("sec-fetch-site", "")
    linked = connection.headers.get("sec-fetch-dest", "") == "document"
    return site in ("cross-site", "same-site") and not linked


def _host_of(netloc: str) -> str:
    """The name or address without its port, in lower letters."""
    host = netloc.lower().rpartition("@")[2]
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
