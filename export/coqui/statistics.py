"""The mean and the spread of each band that mels were normalised by: `scale_stats.npy`.

The file is an array that holds a pickled table. Nothing of a pickle runs here: its arrays are read as
bytes, and what is no part of them is left out. Source: coqui-tts 0.28, `utils/audio/processor.py`
(`load_stats`), `bin/compute_statistics.py`.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from voxturn.runtime.errors import CorruptModel

FILE = "scale_stats.npy"
_MOST_BYTES = 1 << 22
"""The published ones have 10 KB."""
_TYPES = {"f4": "float32", "f8": "float64"}
_NUMPYS = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
_AGAIN = "get the model again"


@dataclass(frozen=True)
class Statistics:
    """A value for each band: `mean`, and `spread`, the standard deviation."""

    mean: tuple[float, ...]
    spread: tuple[float, ...]


def file_of(folder: Path, named: str) -> Path:
    """Where the statistics of a model are, which its configuration calls `named` on the machine that
    it was trained on."""
    beside = folder / Path(named).name
    return beside if beside.is_file() else folder / FILE


def read_statistics(path: Path, bands: int) -> Statistics:
    """The statistics of so many bands. Raises `CorruptModel`."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES} bytes")
        table = _unpickled(path.read_bytes())
        mean, spread = (_row(table[name], bands) for name in ("mel_mean", "mel_std"))
        if min(spread) <= 0:
            raise ValueError("a spread is not above 0")
    except FileNotFoundError as exc:
        raise CorruptModel(f"{path}: is missing, and its configuration names it; {_AGAIN}") from exc
    except Exception as exc:  # a damaged pickle makes Python raise anything
        raise CorruptModel(f"{path}: holds no statistics ({exc}); {_AGAIN}") from exc
    return Statistics(mean, spread)


def _row(array: object, bands: int) -> tuple[float, ...]:
    if not isinstance(array, _Array):
        raise ValueError("a row is no array")
    values = array.values()
    if values.size != bands or not np.isfinite(values).all():
        raise ValueError(f"a row is not {bands} finite numbers")
    return tuple(float(value) for value in values)


def _unpickled(raw: bytes) -> Mapping[str, Any]:
    """The table in an array of one object."""
    file = io.BytesIO(raw)
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    _, _, kind = read[version](file)
    if kind != np.dtype(object):
        raise ValueError(f"an array of {kind}")
    array = _Rows(file).load()
    held = array.held if isinstance(array, _Array) else None
    if not isinstance(held, list) or len(held) != 1 or not isinstance(held[0], dict):
        raise ValueError("no table")
    table: dict[str, Any] = held[0]
    return table


class _Type:
    """Stands for a `numpy.dtype`."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = str(code)
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


class _Array:
    """Stands for an array: its type and its bytes, or the list of objects that it holds."""

    def __init__(self, *_: object) -> None:
        self.kind: Any = None
        self.held: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, _, self.kind, _, self.held = state

    def values(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Its numbers, one after the other. Raises `ValueError`."""
        kind = self.kind
        if not isinstance(kind, _Type) or kind.code not in _TYPES:
            raise ValueError("a row is not of float32 or float64")
        stored = np.dtype(_TYPES[kind.code]).newbyteorder("<" if kind.order == "<" else ">")
        return np.frombuffer(self.held, stored).astype(np.float64)


class _Left(dict[Any, Any]):
    """Stands for what is not read: numbers, and the configuration that mels were made with."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        """Keeps nothing."""


class _Rows(pickle._Unpickler):
    """An unpickler that makes stand-ins of numpy's arrays, and nothing else."""

    dispatch = pickle._Unpickler.dispatch.copy()
    del dispatch[pickle.BYTEARRAY8[0]]

    def find_class(self, module: str, name: str, /) -> Any:
        if module in _NUMPYS and name in ("ndarray", "_reconstruct"):
            return _Array
        if module in _NUMPYS and name == "dtype":
            return _Type
        if module in _NUMPYS and name == "scalar":
            return _Left
        if module.split(".")[0] == "TTS":  # the configuration
            return _Left
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name} is in no statistics")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it refers to something outside")
