"""Two versions of voxturn on one machine: result files of both, run in alternation, as one file
with a ratio a metric.

`python -P -m voxturn.bench.compare --before a1.json a2.json --after b1.json b2.json --json FILE`.
Files of one version and benchmark are pooled: samples are joined, numbers averaged. A ratio is how
many times smaller the later median is, so over 1 is better where less is better.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.bench.harness import Result, load_result

Pooled = dict[str, tuple[str, list[float]]]
"""By metric: its unit and all its samples."""


def pooled(files: Sequence[Mapping[str, Any]]) -> Pooled:
    """The samples of every metric over result files; a metric that is one number has one sample a
    file."""
    units: dict[str, str] = {}
    samples: dict[str, list[float]] = defaultdict(list)
    for data in files:
        for name, metric in data["metrics"].items():
            units[name] = metric["unit"]
            samples[name] += metric.get("samples", [metric.get("value")])
    return {name: (units[name], values) for name, values in samples.items()}


def compare(before: Pooled, after: Pooled) -> Result:
    """Both sides of every metric that both have, and the ratio of their medians."""
    result = Result("before-after")
    for name in sorted(before.keys() & after.keys()):
        unit, old = before[name]
        new = after[name][1]
        result.samples(f"before.{name}", unit, old)
        result.samples(f"after.{name}", unit, new)
        if (later := float(np.median(new))) != 0:
            result.value(f"{name}_ratio", "ratio", float(np.median(old)) / later)
    return result


def main() -> int:
    """Compare and write. The exit code is 0."""
    parser = argparse.ArgumentParser(description="two versions' result files as one")
    parser.add_argument("--before", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--after", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    args = parser.parse_args()
    sides = {
        side: [load_result(path) for path in getattr(args, side)] for side in ("before", "after")
    }
    result = compare(pooled(sides["before"]), pooled(sides["after"]))
    for side, files in sides.items():
        result.notes[side] = [
            {
                key: data[key]
                for key in ("benchmark", "created", "command", "environment", "artifacts")
            }
            for data in files
        ]
    result.write(args.json)
    result.print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
