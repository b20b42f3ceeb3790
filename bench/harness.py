"""What every benchmark needs: raw samples, percentiles, the environment, a result file that is a
witness."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.decode import sampler
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.service import TokenService, engine_of
from voxturn.runtime.models.store import write_atomic
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.turn.listen import Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser
from voxturn.runtime.turn.trace import StageInfo

_LIBRARIES = (
    "voxturn",
    "numpy",
    "onnxruntime",
    "ctranslate2",
    "faster-whisper",
    "tokenizers",
    "openvino",
    "piper-tts",
    "torch",
    "coqui-tts",
)


@dataclass
class Result:
    """One benchmark's result file."""

    benchmark: str
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    load_before: tuple[float, float, float] = field(default_factory=os.getloadavg)

    def samples(self, name: str, unit: str, values: Sequence[float]) -> None:
        """A metric with its raw samples and percentiles."""
        p50, p95, p99 = (round(float(p), 4) for p in np.percentile(values, [50, 95, 99]))
        raw = [round(float(v), 4) for v in values]
        self.metrics[name] = {"unit": unit, "p50": p50, "p95": p95, "p99": p99, "samples": raw}

    def value(self, name: str, unit: str, value: float) -> None:
        """A metric that is one number."""
        self.metrics[name] = {"unit": unit, "value": round(float(value), 5)}

    def exact(self, name: str, unit: str, value: float) -> None:
        """A metric that is one number of any magnitude, with four digits."""
        self.metrics[name] = {"unit": unit, "value": float(f"{value:.4g}")}

    def artifact(self, stage: str, info: StageInfo) -> None:
        """The artifact that a stage ran."""
        self.artifacts[stage] = {
            "id": info.model,
            "sha256": info.artifact_sha256,
            "precision": info.precision,
            "executor": info.executor,
            "compute": info.compute,
            "threads": info.threads,
            "weights": "synthetic" if info.synthetic else "real",
            "scripted": info.scripted,
        }

    def write(self, path: Path) -> None:
        """Write the JSON file whole."""
        data = {
            "benchmark": self.benchmark,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": "voxturn "
            + " ".join(Path(a).name if a.startswith("/") else a for a in sys.argv[1:]),
            "environment": environment(self.load_before),
            "artifacts": self.artifacts,
            "metrics": self.metrics,
            "notes": self.notes,
        }
        write_atomic(path, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())

    def print(self) -> None:
        """The metrics, a line each."""
        for name, metric in self.metrics.items():
            if "value" in metric:
                print(f"{name:36} {metric['value']:10.4g} {metric['unit']}")
            else:
                print(
                    f"{name:36} p50 {metric['p50']:9.4g}  p95 {metric['p95']:9.4g}  p99 {metric['p99']:9.4g} {metric['unit']}"
                )


def environment(load: Sequence[float]) -> dict[str, Any]:
    """The machine and the versions."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "memory_bandwidth_gb_s": {
            "1": round(read_bandwidth(1), 1),
            "2": round(read_bandwidth(2), 1),
        },
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "sampler": sampler.BACKEND,
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "load_before": [round(x, 2) for x in load],
    }


def read_bandwidth(threads: int, megabytes: int = 256, rounds: int = 3) -> float:
    """Sequential read bandwidth in GB/s over `threads` threads: the best of a few passes over a
    large array."""
    from concurrent.futures import ThreadPoolExecutor

    data = np.ones(megabytes * 131072, np.float64)
    parts = np.array_split(data, threads)
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds):
            begin = time.perf_counter()
            list(pool.map(np.max, parts))
            best = max(best, data.nbytes / (time.perf_counter() - begin) / 1e9)
    return best


def timed_ms(call: Callable[[], object]) -> float:
    """Wall milliseconds of one call."""
    begin = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begin)


def peak_rss_mb() -> float:
    """This process's peak resident memory."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def load_result(path: Path) -> Mapping[str, Any]:
    """A committed result file."""
    data: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def engine_here(service: TokenService) -> DecodeEngine:
    """The token engine behind a service, which is in this process."""
    engine = engine_of(service)
    assert engine is not None
    return engine


def ears(parts: LoadedParts) -> tuple[Listen, FilteredRecogniser]:
    """What a turn listens and hears with."""
    recogniser = FilteredRecogniser(parts.recogniser(), parts.content_filter())
    return Listen(parts.activity(), parts.profile.endpointing), recogniser
