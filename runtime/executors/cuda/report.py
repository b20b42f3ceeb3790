"""What a GPU needs and what of it is here: `voxturn doctor --gpu`. Readable on a machine with
nothing.

Where versions clash, `CLASHES` is the one place that says so: such executors run in processes of
their own.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata

from voxturn.runtime.executors.catalogue import on_gpu
from voxturn.runtime.executors.cuda.gpu import has_cuda_kernels, has_cuda_provider

CLASHES = (
    "CTranslate2's wheel uses CUDA 12; onnxruntime-gpu's CUDA 13, with a TensorRT provider that links TensorRT 10: "
    "serve them as models of their own (`voxturn serve triton`), each in its process"
)


@dataclass(frozen=True)
class Item:
    """Something that a GPU's executor needs: the version that is here, or empty, and what would
    bring it."""

    name: str
    version: str
    fix: str


@dataclass(frozen=True)
class GpuReport:
    """Everything that was looked for, and whether each executor will work."""

    items: tuple[Item, ...]
    executors: dict[str, str]
    """By executor: empty if it will work, else what is missing."""

    def lines(self) -> list[str]:
        """The report for people."""
        width = max(len(item.name) for item in self.items)
        out = [
            f"  {item.name:{width}}  {item.version or 'missing'}"
            + ("" if item.version else f"\n    → {item.fix}")
            for item in self.items
        ]
        out += [
            f"  executor {name}: " + (f"no: needs {why}" if why else "works")
            for name, why in self.executors.items()
        ]
        return [*out, f"  note: {CLASHES}"]


def gpu_report() -> GpuReport:
    """Look for a driver, devices, a toolkit and libraries."""
    driver = driver_version()
    here = {
        "driver": Item(
            "driver",
            driver,
            "install NVIDIA's driver; a container needs the NVIDIA container toolkit",
        ),
        "device": Item(
            "device", ", ".join(devices()), "no GPU was found; voxturn's CPU profiles need none"
        ),
        "nvcc": Item(
            "nvcc",
            nvcc_version(),
            "the CUDA toolkit compiles our kernels at installation; only that needs it",
        ),
        "cuda-bindings": _library("cuda-bindings", "pip install 'voxturn[gpu]'"),
        "tensorrt": _library("tensorrt", "pip install 'voxturn[gpu]'"),
        "tensorrt-rtx": _library(
            "tensorrt-rtx", "pip install tensorrt-rtx, for GeForce and RTX cards"
        ),
        "kernels": Item(
            "kernels",
            kernels_version(),
            "install voxturn again where nvcc is; else tokens are chosen on the host",
        ),
        "onnxruntime-gpu": Item(
            "onnxruntime-gpu",
            onnxruntime_version(),
            "pip uninstall onnxruntime, then pip install onnxruntime-gpu again",
        ),
        "onnx": _library("onnx", "pip install 'voxturn[gpu]'"),
        "ctranslate2": _library("ctranslate2", "pip install 'voxturn[embedded]'"),
    }

    def missing(need: str | tuple[str, ...]) -> str:
        names = (need,) if isinstance(need, str) else need
        return "" if any(here[name].version for name in names) else " or ".join(names)

    executors = {row.name: ", ".join(filter(None, map(missing, row.gpu_needs))) for row in on_gpu()}
    return GpuReport(tuple(here.values()), executors)


def driver_version() -> str:
    """The CUDA version that the driver has; empty without one."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ""
    number = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(number)):
        return ""
    return f"CUDA {number.value // 1000}.{number.value % 1000 // 10}"


def devices() -> list[str]:
    """Names and memory of the GPUs, by nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = ["--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            [program, *query], capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return (
        [line.strip() for line in done.stdout.splitlines() if line.strip()]
        if not done.returncode
        else []
    )


def nvcc_version() -> str:
    """The toolkit's version; empty without one."""
    program = shutil.which("nvcc")
    if program is None:
        return ""
    try:
        output = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=20
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"release ([\d.]+)", output)
    return match[1] if match else ""


def kernels_version() -> str:
    """`built` where our kernels' library is; empty without it."""
    return "built" if has_cuda_kernels() else ""


def onnxruntime_version() -> str:
    """The version of onnxruntime-gpu; empty where another onnxruntime, which knows no CUDA, lies
    over it in one folder."""
    return _library("onnxruntime-gpu", "").version if has_cuda_provider() else ""


def _library(name: str, fix: str) -> Item:
    try:
        return Item(name, metadata.version(name), fix)
    except metadata.PackageNotFoundError:
        return Item(name, "", fix)
