"""Many random requests at once to a server that runs; each has to end soon, in an answer or in an
error of ours."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing, closing
from typing import Any

import numpy as np
from voxturn.runtime import errors
from voxturn.runtime.remote.contract import MODELS, wire_type
from voxturn.runtime.remote.transport import TritonServer

from tests.security.strangers import Asked, Strangers

UNEXPECTED = re.compile(r"\b[A-Z]\w+(?:Error|Exception|Warning)\b")
"""The name of an error that is none of ours, in what one of ours says."""

ANSWERED_S = 30.0


def check_error(error: str, asked: object) -> None:
    """It is one of ours and says nothing of the library's."""
    kind, _, said = error.partition(": ")
    assert isinstance(getattr(errors, kind, None), type), (error, asked)
    assert not UNEXPECTED.search(said), (error, asked)


async def answer(connection: TritonServer, asked: Asked) -> str:
    """How a request ends: "answered" as soon as its first answer is here, or its error."""
    try:
        async with asyncio.timeout(ANSWERED_S):
            if not MODELS[asked.model].streams:
                await connection.infer(asked.model, asked.inputs, asked.piece)
                return "answered"
            async with aclosing(connection.stream(asked.model, asked.inputs)) as answers:
                async for _ in answers:
                    break
            return "answered"
    except errors.VoxturnError as exc:
        return f"{type(exc).__name__}: {exc}"


async def storm(address: str, strangers: Strangers, count: int) -> Counter[str]:
    """So many requests by gRPC, eight at once; how often they ended how."""
    connection = TritonServer(address)

    async def ask(asked: Asked) -> str:
        error = await answer(connection, asked)
        if error != "answered":
            check_error(error, asked)
        assert not error.startswith(("ServerDied", "ServerUnavailable")), (error, asked)
        return error.partition(":")[0]

    try:
        return await _ended(strangers, count, ask)
    finally:
        await connection.aclose()


async def http_storm(address: str, strangers: Strangers, count: int) -> Counter[str]:
    """So many requests by HTTP, eight at once; how often they ended how."""

    async def ask(asked: Asked) -> str:
        return await asyncio.to_thread(_http_answer, address, asked)

    return await _ended(strangers, count, ask)


async def _ended(
    strangers: Strangers, count: int, ask: Callable[[Asked], Awaitable[str]]
) -> Counter[str]:
    ended: Counter[str] = Counter()

    async def client() -> None:
        while ended.total() + 8 <= count:
            ended[await ask(strangers.request())] += 1

    async with asyncio.TaskGroup() as clients:
        for _ in range(8):
            clients.create_task(client())
    return ended


def _http_answer(address: str, asked: Asked) -> str:
    """How a request by HTTP ends: "answered", "refused" by the server itself, or the kind of our
    error."""
    path, body = _http_request(asked)
    with closing(http.client.HTTPConnection(address, timeout=ANSWERED_S)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        line = connection.getresponse().readline().decode()
    error = str(json.loads(line.removeprefix("data: ") or "{}").get("error", ""))
    if not error:
        return "answered"
    kind = error.partition(":")[0]
    if not hasattr(errors, kind):
        return "refused"
    check_error(error, asked)
    return kind


def _http_request(asked: Asked) -> tuple[str, dict[str, Any]]:
    """Path and body."""
    if MODELS[asked.model].streams:
        path = f"/v2/models/{asked.model}/generate_stream"
        return path, {name: _plain(value) for name, value in asked.inputs.items()}
    inputs = [
        {
            "name": name,
            "shape": value.shape,
            "datatype": wire_type(value),
            "data": _plain(value),
        }
        for name, value in asked.inputs.items()
    ]
    parameters = {} if asked.piece is None else asked.piece.options()
    return f"/v2/models/{asked.model}/infer", {"inputs": inputs, "parameters": parameters}


def _plain(value: np.ndarray[Any, Any]) -> list[Any]:
    """What JSON has for an array's values; bytes that are no text stay none."""
    return [
        item.decode(errors="surrogateescape") if isinstance(item, bytes) else item
        for item in value.reshape(-1).tolist()
    ]
