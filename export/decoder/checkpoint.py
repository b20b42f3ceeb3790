"""Checkpoints of decoder-only models in one form: Hugging Face names, float arrays on demand, 4-bit blocks where they exist.

Nothing is read before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from voxturn.export.checkpoint import Float, Safetensors, Shapes, read_table
from voxturn.export.decoder.gguf import GgufCheckpoint
from voxturn.export.quantize import BlockWeight


class Checkpoint(Protocol):
    """A state dict with its configuration. `family` names a row of `export.decoder.families.FAMILIES`."""

    @property
    def family(self) -> str: ...

    @property
    def config(self) -> Mapping[str, Any]: ...

    def names(self) -> set[str]: ...

    def array(self, name: str) -> Float: ...

    def blocks(self, name: str) -> BlockWeight | None:
        """The tensor's own 4-bit blocks, taken over without rounding; None where it is stored otherwise."""
        ...


@dataclass(frozen=True)
class MemoryCheckpoint:
    """A checkpoint held in memory, as tests make them."""

    family: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Float]

    def names(self) -> set[str]:
        return set(self.tensors)

    def array(self, name: str) -> Float:
        return self.tensors[name]

    def blocks(self, name: str) -> BlockWeight | None:
        return None


class SafetensorsCheckpoint:
    """A Hugging Face folder: `config.json` and one or several `*.safetensors`."""

    def __init__(self, folder: Path) -> None:
        """Raises `CorruptModel` or `ExportFailed` with the file's name."""
        self.config: Mapping[str, Any] = read_table(folder / "config.json")
        self.family = str(self.config.get("model_type", ""))
        self._weights = Safetensors(folder)

    def names(self) -> set[str]:
        return self._weights.names()

    def shapes(self) -> Shapes:
        return self._weights.shapes()

    def array(self, name: str) -> Float:
        return self._weights.array(name)

    def blocks(self, name: str) -> BlockWeight | None:
        return None


FileCheckpoint = SafetensorsCheckpoint | GgufCheckpoint


def open_checkpoint(path: Path) -> FileCheckpoint:
    """Open a GGUF file, a folder with one, or a Hugging Face folder."""
    files = [path] if path.is_file() else sorted(path.glob("*.gguf"))
    return GgufCheckpoint(files[0]) if files else SafetensorsCheckpoint(path)
