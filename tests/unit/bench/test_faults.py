"""How the benchmark of faults tells a whole stream from a lost one, and waits for a model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from voxturn.bench import faults
from voxturn.bench.faults import Faults, Load, Stream, amount, strike, whole
from voxturn.runtime.errors import InferenceFailed, ServerDied
from voxturn.runtime.remote.tensors import Tensors, text_tensor
from voxturn.runtime.remote.transport import TritonServer
from voxturn.runtime.serving.launcher import EmbeddedTriton

INPUTS: dict[str, dict[str, Any]] = {"vits": {"text": "x"}, "whisper": {"audio": np.zeros(1)}}


class Server:
    """A server whose streams have the next of `sizes`, in chunks of two samples, or end in an
    error."""

    def __init__(self, sizes: list[int | ServerDied]) -> None:
        self.sizes = sizes

    async def stream(self, model: str, inputs: dict[str, Any]) -> AsyncGenerator[Tensors, None]:
        size = self.sizes.pop(0)
        if isinstance(size, ServerDied):
            raise size
        while size > 0:
            yield {"pcm": np.zeros(min(2, size), np.float32)}
            size -= 2

    async def infer(self, model: str, inputs: dict[str, Any]) -> Tensors:
        return {"text": text_tensor("four")}


def server(*sizes: int | ServerDied) -> TritonServer:
    return cast(TritonServer, Server(list(sizes)))


async def test_what_a_request_gives_is_counted_in_samples_or_letters() -> None:
    assert await amount(server(5), "vits", INPUTS["vits"]) == 5
    assert await amount(server(), "whisper", INPUTS["whisper"]) == 4
    assert await whole(server(5, 5), INPUTS) == {"vits": 5, "whisper": 4}
    with pytest.raises(InferenceFailed, match="the same requests gave"):
        await whole(server(5, 4), INPUTS)


async def test_streams_are_whole_lost_silently_or_end_in_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faults, "_PAUSE_S", 0.0)
    load = Load(server(5, 3, ServerDied("away"), 5), INPUTS, {"vits": 5})
    with pytest.raises(IndexError):  # there is no fifth
        await load.run("vits")
    assert [stream.outcome for stream in load.streams] == [
        "whole",
        "short",
        "ServerDied",
        "whole",
        "",
    ]
    assert [stream.ended is None for stream in load.streams] == [False] * 4 + [True]
    assert load.in_flight() == load.streams[4:]


class Triton:
    """A server's processes, of which one is started again once it was killed."""

    def __init__(self) -> None:
        self.process = 7

    def process_of(self, model: str) -> int:
        return self.process


async def test_a_fault_counts_what_ended_what_hangs_and_whom_else_it_hit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    triton, found = Triton(), Faults()
    load = Load(server(ServerDied("away"), 5), INPUTS, {"vits": 5})
    load.streams = [Stream("vits", 0.0), Stream("vits", 0.0), Stream("whisper", 0.0)]

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (7, signal.SIGKILL)
        triton.process = 8
        asyncio.get_running_loop().call_soon(ends)

    def ends() -> None:
        for stream in (load.streams[0], load.streams[2]):
            stream.ended, stream.outcome = faults.time.perf_counter(), "ServerDied"

    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(faults, "_HUNG_S", 0.0)
    monkeypatch.setattr(faults, "_LOOK_S", 0.0)
    await strike(load, cast(EmbeddedTriton, triton), "vits", signal.SIGKILL, found)
    assert len(found.answered) == len(found.ended) == 1
    assert (found.hung, found.others_failed) == (1, 1)


def test_the_committed_result_has_no_stream_that_hung_or_was_lost() -> None:
    path = Path(__file__).parents[3] / "bench/results/faults.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    assert len(metrics["faults.kill.answers_again_ms"]["samples"]) >= 20
    assert len(metrics["faults.hang.answers_again_ms"]["samples"]) >= 10
    for name in ("faults.kill.hung", "faults.hang.hung", "faults.lost_silently"):
        assert metrics[name]["value"] == 0, name
    for kind in ("kill", "hang"):
        assert max(metrics[f"faults.{kind}.stream_ended_ms"]["samples"]) <= 2000
        assert max(metrics[f"faults.{kind}.answers_again_ms"]["samples"]) <= 5000
