"""Many random requests at once to a server that runs; each has to end soon, in an answer or in an error of ours."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import aclosing

from voxturn.runtime import errors
from voxturn.runtime.remote.contract import MODELS
from voxturn.runtime.remote.transport import TritonServer

from tests.security.strangers import Asked, Strangers

UNEXPECTED = re.compile(r"\b[A-Z]\w+(?:Error|Exception|Warning)\b")
"""The name of an error that is none of ours, in what one of ours says."""

ANSWERED_S = 5.0


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
    """So many requests, eight at once; how often they ended how."""
    ended: Counter[str] = Counter()
    connection = TritonServer(address)

    async def client() -> None:
        while ended.total() + 8 <= count:
            asked = strangers.request()
            error = await answer(connection, asked)
            if error != "answered":
                check_error(error, asked)
            assert not error.startswith(("ServerDied", "ServerUnavailable")), (error, asked)
            ended[error.partition(":")[0]] += 1

    try:
        async with asyncio.TaskGroup() as clients:
            for _ in range(8):
                clients.create_task(client())
    finally:
        await connection.aclose()
    return ended
