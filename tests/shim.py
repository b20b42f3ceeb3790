"""The CUDA kernels' own source, compiled for the CPU."""

from __future__ import annotations

import subprocess
from pathlib import Path

from voxturn.runtime.executors.cuda.kernels import CudaKernels

NATIVE = Path(__file__).parents[1] / "runtime/native"
_FLAGS = (
    "-std=c++20",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Wno-clobbered",
    "-Wno-maybe-uninitialized",
    "-Werror",
)


def compiled(folder: Path) -> CudaKernels:
    """The kernels, whose last argument is a number of threads here instead of a stream."""
    path, source = folder / "kernels.so", str(NATIVE / "kernels_shim.cpp")
    subprocess.run(
        ["c++", *_FLAGS, "-ffp-contract=off", "-shared", "-fPIC", source, "-o", str(path)],
        check=True,
    )
    return CudaKernels(path)
