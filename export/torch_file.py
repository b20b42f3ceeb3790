"""Reads a file of PyTorch's: tensors, and of what stands beside them nothing.

Nothing of a pickle runs (`weights_only`), and no count in it is believed: the weights of an archive
are mapped from the file, so that none can be larger than the file. Source of the layouts: PyTorch,
`torch/serialization.py`.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any, BinaryIO

from voxturn.export.checkpoint import check_content
from voxturn.export.torch_pickle import Ignored, check_pickle
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.files import InPieces, open_archive

_IGNORED = (
    "TTS.tts.configs.xtts_config.XttsConfig",
    "TTS.tts.configs.xtts_config.XttsArgs",
    "TTS.tts.configs.xtts_config.XttsAudioConfig",
    "TTS.tts.models.xtts.XttsArgs",
    "TTS.tts.models.xtts.XttsAudioConfig",
    "TTS.config.shared_configs.BaseDatasetConfig",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.dtypes.Float32DType",
    "numpy.dtypes.Float64DType",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
)
"""What stands beside the weights: configurations, paths of a training, and the losses that a trainer
notes as numpy's numbers."""
_ARCHIVE = b"PK\x03\x04"
_MOST_PICKLED = 4 << 20
"""Bytes that say what the tensors are called and how they lie; a trainer's checkpoint has less than
one million."""
_MOST_STEPS = 1 << 20
_PICKLES = 5
"""At the beginning of a file from before PyTorch 1.6: magic number, version, machine, tensors, keys
of their storages."""


def read_torch(path: Path) -> Any:
    """What a file holds. Raises `CorruptModel`, and `ExportFailed` without torch."""
    try:
        import torch
    except ImportError as exc:
        raise ExportFailed(
            "reading a checkpoint of PyTorch's needs torch; pip install 'voxturn[export-xtts]'"
        ) from exc
    check_content(path)
    allowed = [(type(name.rsplit(".", 1)[1], (Ignored,), {}), name) for name in _IGNORED]
    try:
        archive = _is_archive(path)
        _check_archive(path) if archive else _check_pickles(path)
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except FileNotFoundError as exc:
        raise CorruptModel(f"{path}: is missing; get the checkpoint again") from exc
    except pickle.UnpicklingError as exc:
        reason = next(
            (line for line in str(exc).splitlines() if "GLOBAL" in line), _first_line(exc)
        )
        raise CorruptModel(
            f"{path}: is damaged or holds more than weights, and is not unpickled "
            f"({reason.strip().partition('. ')[0]}); get the checkpoint again"
        ) from exc
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,
        MemoryError,
        struct.error,
    ) as exc:
        raise CorruptModel(
            f"{path}: cannot be read, is it cut short? ({_first_line(exc)}); get the checkpoint again"
        ) from exc


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_ARCHIVE)) == _ARCHIVE


def _check_archive(path: Path) -> None:
    """Raise `ValueError` or `UnpicklingError` for an archive that would need more memory than its
    weights."""
    with open_archive(path) as archive:
        for member in archive.infolist():
            if "/data/" not in member.filename and member.file_size > _MOST_PICKLED:
                raise ValueError(f"{member.filename[:80]} has {member.file_size:,} bytes")
            if member.filename.endswith("/data.pkl"):
                _rehearse(io.BytesIO(archive.read(member)), 1, path)


def _check_pickles(path: Path) -> None:
    """Raise `ValueError` for pickles that are longer than those before any weights, or
    `UnpicklingError` for those that make more than these."""
    with InPieces(path) as file:
        for _ in range(_PICKLES):
            for steps, (_, _, position) in enumerate(pickletools.genops(file)):
                if steps > _MOST_STEPS or (position or 0) > _MOST_PICKLED:
                    raise ValueError("its pickles are longer than those of any checkpoint")
        file.seek(0)
        _rehearse(file, _PICKLES, path)


def _rehearse(file: BinaryIO, pickles: int, path: Path) -> None:
    for _ in range(pickles):
        check_pickle(file, _IGNORED, path.stat().st_size)


def _first_line(exc: BaseException) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0]
