"""`python -m voxturn.runtime.serving.health ADDRESS MODEL …`: exit code 0 if every model answers a
canary, else 1."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence

from voxturn.runtime.remote.transport import TritonServer

_LOG = logging.getLogger(__name__)
_PATIENCE_S = 2.0


async def silent(address: str, models: Sequence[str]) -> list[str]:
    """The models that do not answer."""
    server = TritonServer(address)
    try:
        alive = await asyncio.gather(*(server.answers(model, _PATIENCE_S) for model in models))
    finally:
        await server.aclose()
    return [model for model, answers in zip(models, alive, strict=True) if not answers]


def main(arguments: Sequence[str]) -> int:
    """Log the models that do not answer; a program without handlers has that on standard error."""
    address, *models = arguments
    dead = asyncio.run(silent(address, models))
    for model in dead:
        _LOG.error("%s does not answer", model)
    return int(bool(dead) or not models)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
