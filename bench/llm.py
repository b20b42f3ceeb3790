"""`voxturn bench llm`: a Qwen3's tokens and times to the first, against CTranslate2 and llama.cpp
on the same weights.

Every side gets the same ids and makes the same number of tokens; the peers are processes of their
own and runs alternate. llama.cpp reads a GGUF file that is written from the checkpoint for this
run, its matrices in Q8_0 or Q4_0; CTranslate2 has 8 bits only. What a side keeps between calls
counts for it: llama.cpp and the runtime keep a prompt's beginning, CTranslate2 an identical one
that it is told.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from voxturn.bench import gguf_file
from voxturn.bench.harness import Result, engine_here, peak_rss_mb
from voxturn.bench.peer import Peer, llm_peer
from voxturn.export.decoder import export as decoder
from voxturn.runtime.decode.generation import Request
from voxturn.runtime.families.decoder import as_decoder
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import quiet
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import ReplyEngine, load_profile

_SYSTEM, _QUESTION, _ANSWER, _STEPS = 48, 16, 40, 48
_IDLE_S = 0.3
_LEARNT_TOKENS = 3000
GGML = {"int8": "Q8_0", "int4": "Q4_0"}


@dataclass(frozen=True)
class Case:
    """A prompt of which the first `cached` ids are known already."""

    prompt: list[int]
    cached: int


def cases(seed: int) -> dict[str, Case]:
    """Cold: a system prompt and a question.

    Cached: the same with the system prompt known. Turn 10: nine turns known.
    """
    random = np.random.default_rng(seed)

    def ids(count: int) -> list[int]:
        return [int(i) for i in random.integers(10, _LEARNT_TOKENS, count)]

    system, turns = ids(_SYSTEM), ids(9 * (_QUESTION + _ANSWER))
    question = ids(_QUESTION)
    return {
        "cold": Case([*system, *question], 0),
        "cached": Case([*system, *question], _SYSTEM),
        "turn10": Case([*system, *turns, *question], _SYSTEM + len(turns)),
    }


class Ours:
    """The runtime's engine on an artifact."""

    def __init__(self, artifact: Path) -> None:
        reply = ReplyEngine(
            str(artifact), "onnx", Manifest.read(artifact).precision, slots=1, context=2048
        )
        self.parts = LoadedParts(replace(load_profile("demo"), reply=reply))
        self.engine = engine_here(as_decoder(self.parts.replier()).service)

    def arrivals(self, case: Case, count: int) -> list[float]:
        """Seconds from the request to each token."""
        slot = self.engine.cache.slots[0]
        slot.ids.clear()
        if case.cached:
            self._answer(case.prompt[: case.cached], 1)
        begin = time.perf_counter()
        return [when - begin for when in self._answer(case.prompt, count)]

    def _answer(self, prompt: list[int], count: int) -> list[float]:
        """When each token came."""
        forced = tuple(prompt[i % len(prompt)] for i in range(count))
        sequence = self.engine.add(Request(prompt, max_tokens=count, forced=forced))
        given, out = 0, list[float]()
        while not sequence.done:
            self.engine.step()
            out += [time.perf_counter()] * (sequence.given - given)
            given = sequence.given
        return out


@contextmanager
def peers(
    checkpoint: Path, precision: str, llama_python: str, threads: int
) -> Iterator[dict[str, Peer]]:
    """The peers that have the precision, loaded."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        found: dict[str, Peer] = {}
        if precision == "int8":
            folder = Path(temporary) / "ctranslate2"
            folder.mkdir()
            source = Manifest("qwen3", "checkpoint", "source", {}, {})
            decoder.export(checkpoint, source, folder, "int8", quiet, "ctranslate2")
            found["ctranslate2"] = stack.enter_context(
                llm_peer(sys.executable, "ctranslate2", folder, threads)
            )
        if llama_python:
            file = Path(temporary) / "model.gguf"
            gguf_file.write(checkpoint, file, GGML[precision])
            found["llama"] = stack.enter_context(llm_peer(llama_python, "llama", file, threads))
        yield found


def measure(
    artifact: Path, checkpoint: Path | None, llama_python: str, runs: int, result: Result
) -> None:
    """One artifact against the peers of its precision."""
    ours = Ours(artifact)
    precision, threads = ours.parts.info["reply"].precision, ours.parts.info["reply"].threads
    steps: dict[str, list[float]] = {}
    firsts: dict[str, list[float]] = {}
    ratios: list[float] = []
    with ExitStack() as stack:
        others = (
            stack.enter_context(peers(checkpoint, precision, llama_python, threads))
            if checkpoint
            else {}
        )
        for number in range(runs + 1):
            medians: dict[str, float] = {}
            for name, case in cases(number).items():
                sides = ["ours", *others]
                for side in sides[number % len(sides) :] + sides[: number % len(sides)]:
                    time.sleep(_IDLE_S)  # a peer's threads spin for a while after a call
                    count = _STEPS if name == "cold" else 2
                    arrivals = (
                        ours.arrivals(case, count)
                        if side == "ours"
                        else others[side].ask(prompt=case.prompt, cached=case.cached, count=count)[
                            "arrivals_s"
                        ]
                    )
                    if not number:
                        continue
                    firsts.setdefault(f"{side}.{name}", []).append(1000 * arrivals[0])
                    if name == "cold":
                        gaps = [1000 * gap for gap in np.diff(arrivals)]
                        steps.setdefault(side, []).extend(gaps)
                        medians[side] = float(np.median(gaps))
            if number and others:
                ratios.append(min(medians[side] for side in others) / medians["ours"])
                for side in others:
                    result.metrics.setdefault(
                        f"llm.{side}.{precision}_ratio", {"unit": "ratio", "samples": []}
                    )
                    result.metrics[f"llm.{side}.{precision}_ratio"]["samples"].append(
                        medians[side] / medians["ours"]
                    )
        for side in others:
            name = f"llm.{side}.{precision}_ratio"
            result.samples(name, "ratio", result.metrics[name]["samples"])
            result.notes[side] = others[side].hello["version"]
    for side, values in steps.items():
        result.samples(
            f"llm.step_ms.{precision}" if side == "ours" else f"llm.{side}.step_ms.{precision}",
            "ms",
            values,
        )
    for key, values in firsts.items():
        side, name = key.split(".")
        label = f"llm.ttft_ms.{name}" if side == "ours" else f"llm.{side}.ttft_ms.{name}"
        result.samples(label if precision == "int8" else f"{label}.{precision}", "ms", values)
    if ratios:
        result.samples(f"llm.best_peer.{precision}_ratio", "ratio", ratios)
    result.artifact(f"reply.{precision}", ours.parts.info["reply"])
    ours.parts.close()


def main(
    artifacts: list[Path], checkpoint: Path | None, llama_python: str, runs: int, path: Path | None
) -> Result:
    """Every artifact in turn. Without a checkpoint there are no peers."""
    result = Result("llm")
    for artifact in artifacts:
        measure(artifact, checkpoint, llama_python, runs, result)
    result.value("llm.peak_rss_mb", "MB", peak_rss_mb())
    result.notes["prompts"] = {
        name: [len(case.prompt), case.cached] for name, case in cases(0).items()
    }
    result.notes["forced"] = (
        "ids are given to the runtime and to llama.cpp; CTranslate2 chooses greedily"
    )
    if path:
        result.write(path)
    return result
