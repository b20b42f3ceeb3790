"""The page to talk to, at `/`: its files come with the package and are read once."""

from __future__ import annotations

import mimetypes
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.operations import Answer, Operation

_HEADERS = {
    # nothing of another host: neither scripts nor pictures nor connections
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "permissions-policy": "microphone=(self)",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".json": "application/json"}


@cache
def files() -> dict[str, bytes]:
    """The page's files by their names below `page/`."""
    return dict(_below(resources.files("voxturn.runtime.gateway") / "page", ""))


def _below(folder: Traversable, before: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for each in folder.iterdir():
        name = before + each.name
        found += _below(each, f"{name}/") if each.is_dir() else [(name, each.read_bytes())]
    return found


def _answer(name: str) -> Response:
    content = files().get(name)
    if content is None:
        raise ApiError(404, "the page has no such file", "unknown_url")
    ending = name[name.rfind(".") :]
    media = _TYPES.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(content, media_type=media, headers=_HEADERS)


async def page(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The page itself."""
    return _answer("index.html")


async def part(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """One of its files."""
    return _answer(request.path_params["name"])


OPERATIONS = (
    Operation("GET", "/", page, "The page", Answer("the page", ("text/html",)), public=True),
    Operation(
        "GET",
        "/page/{name:path}",
        part,
        "A file of the page",
        Answer("the file", ("text/javascript", "text/css", "application/json", "image/svg+xml")),
        public=True,
    ),
)
