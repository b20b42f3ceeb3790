"""A session in a process of its own, beside the gateway: its client then holds no engines.

`python -m voxturn.bench.session_peer PROFILE` says which artifacts it runs, in a line of JSON, and
answers each line with the `first_ms` of one spoken question.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict

from voxturn.bench.gateway import first_chunk_ms
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.profile import load_profile


async def main(profile: str) -> None:
    """Ask as often as lines come."""
    async with Assistant.load(load_profile(profile)) as assistant:
        await assistant.warm()
        stages = {stage: asdict(info) for stage, info in assistant.setup.info.items()}
        print(json.dumps(stages), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            first_ms = await first_chunk_ms(assistant.session())
            print(json.dumps({"first_ms": first_ms}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
