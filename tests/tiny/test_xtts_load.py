"""Streams of XTTS that die under load, in every way that a stream can."""

from __future__ import annotations

import asyncio
import gc
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.decode.service import engine_of
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.models.store import Store
from voxturn.runtime.xtts import XTTS

from tests.tiny.conftest import Tiny

_FAILING_STEPS = 0.04


async def test_a_hundred_streams_that_die_under_load_leave_no_slot_and_no_memory(
    tiny: Tiny, tmp_path: Path
) -> None:
    """Three at a time beside one that is left alone; the second half adds no memory."""
    random, outcomes, sizes = np.random.default_rng(3), Counter[str](), list[float]()
    with XTTS.load(tiny.short, slots=4, vocoder="onnx", store=Store(tmp_path)) as xtts:
        engine = engine_of(xtts.service)
        assert engine is not None
        run = engine.executor.run

        def failing(*arguments: Any) -> Any:
            if random.random() < _FAILING_STEPS:
                raise InferenceFailed("a step that fails")
            return run(*arguments)

        async def spoken(leaves_after: int = 1_000_000) -> str:
            """To the end; or left after so many chunks, with nobody to close it."""
            try:
                async for _ in xtts.astream(
                    "One two three four five six.", language="en", speaker="noise"
                ):
                    leaves_after -= 1
                    if leaves_after <= 0:
                        return "abandoned"
            except InferenceFailed:
                return "failed"
            return "done"

        async def one() -> None:
            how = random.choice(["cancelled", "abandoned", "left alone"])
            if how != "cancelled":
                outcomes[
                    await spoken(int(random.integers(1, 4)) if how == "abandoned" else 1_000_000)
                ] += 1
                return
            task = asyncio.create_task(spoken())
            await asyncio.wait([task], timeout=float(random.uniform(0.0, 0.12)))
            task.cancel()
            try:
                outcomes[await task] += 1
            except asyncio.CancelledError:
                outcomes["cancelled"] += 1

        await spoken()
        engine.executor.run = failing  # type: ignore[method-assign]
        for _ in range(4):
            whole = asyncio.create_task(spoken())
            for _ in range(8):
                await asyncio.gather(*(one() for _ in range(3)))
            outcomes[await whole] += 1
            gc.collect()
            sizes.append(resident_mb())
        for _ in range(400):
            if not engine.running and not any(slot.busy for slot in engine.cache.slots):
                break
            await asyncio.sleep(0.005)
        else:
            raise AssertionError("a slot is still held")
        for _ in range(400):
            if len(asyncio.all_tasks()) == 1:
                break
            await asyncio.sleep(0.005)
        else:
            raise AssertionError(f"left behind: {asyncio.all_tasks()}")
        engine.executor.run = run  # type: ignore[method-assign]
        assert await spoken() == "done"
    assert sum(outcomes.values()) == 100
    assert outcomes["done"] <= 30, outcomes
    assert min(outcomes[how] for how in ("cancelled", "abandoned", "failed")) >= 8, outcomes
    assert sizes[-1] - sizes[1] < 16, sizes


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
