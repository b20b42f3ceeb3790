"""`python -m voxturn.runtime.serving.health ADDRESS MODEL …`: exit code 0 if every model answers a canary, else 1."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from voxturn.runtime.remote.transport import TritonServer

_PATIENCE_S = 2.0


async def silent(address: str, models: Sequence[str]) -> list[str]:
    """The models that do not answer."""
    server = TritonServer(address)
    try:
        found = await asyncio.gather(*(server.answers(model, _PATIENCE_S) for model in models))
    finally:
        await server.aclose()
    return [model for model, answers in zip(models, found, strict=True) if not answers]


def main(arguments: Sequence[str]) -> int:
    """Print the models that do not answer, on standard error."""
    address, *models = arguments
    found = asyncio.run(silent(address, models))
    for model in found:
        sys.stderr.write(f"{model} does not answer\n")
    return int(bool(found) or not models)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
