"""What an artifact is and what its graphs take and give: the `manifest.json` beside the files.

One declaration per tensor; configurations and run-time checks derive from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.errors import (
    CorruptModel,
    ExecutorUnavailable,
    InferenceFailed,
    ModelNotInstalled,
)

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class TensorSpec:
    """Name, numpy dtype name and shape of a tensor; a string dimension is free, equal names are equal sizes."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def check(self, value: np.ndarray[Any, Any], where: str) -> None:
        """Raise `InferenceFailed` that says what was expected unless `value` fits."""
        fits = len(value.shape) == len(self.shape) and all(
            isinstance(want, str) or want == got
            for want, got in zip(self.shape, value.shape, strict=True)
        )
        if not fits or value.dtype != np.dtype(self.dtype):
            raise InferenceFailed(
                f"{where}: tensor {self.name!r} must be {self.dtype}{list(self.shape)}, "
                f"not {value.dtype}{list(value.shape)}"
            )


@dataclass(frozen=True)
class ModelContract:
    """A graph's file and its tensors."""

    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Manifest:
    """What an artifact says of itself.

    `model` and `source` tie it to the registry; `files` are sha256 by relative name; `graphs` contracts by role;
    `properties` sizes, token ids and rates that the runtime needs; `reached` the tolerances that the export measured.
    """

    model: str
    kind: str
    precision: str
    source: Mapping[str, str]
    files: Mapping[str, str]
    graphs: Mapping[str, ModelContract] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    reached: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = False
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """sha256 over the files' hashes: what a trace calls the artifact's hash."""
        lines = "".join(f"{name} {value}\n" for name, value in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return (
            json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, ensure_ascii=False)
            + "\n"
        )

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read `folder/manifest.json`. Raises `ModelNotInstalled` or `CorruptModel`."""
        path = folder / MANIFEST
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as exc:
            raise ModelNotInstalled(
                f"{folder}: no artifact here; run `voxturn models pull`"
            ) from exc
        except (OSError, ValueError) as exc:
            raise CorruptModel(
                f"{path}: not a manifest ({exc}); export it again, or pull it with --again"
            ) from exc
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise CorruptModel(
                f"{path}: written by another version of voxturn; export it again, or pull it with --again"
            )
        try:
            raw["graphs"] = {role: _contract(graph) for role, graph in raw["graphs"].items()}
            if not all(
                isinstance(raw[key], dict)
                for key in ("source", "files", "properties", "reached", "versions")
            ):
                raise TypeError("a table is something else")
            return cls(**raw)
        except (TypeError, KeyError, AttributeError) as exc:
            raise CorruptModel(
                f"{path}: a field is missing or unknown ({exc}); export it again, or pull it with --again"
            ) from exc


def _contract(raw: Mapping[str, Any]) -> ModelContract:
    def specs(key: str) -> tuple[TensorSpec, ...]:
        if any(t["dtype"] == "bfloat16" for t in raw[key]):
            try:
                import ml_dtypes  # noqa: F401  gives numpy the type
            except ImportError as exc:
                raise ExecutorUnavailable(
                    f"{raw['file']}: bfloat16 needs ml_dtypes; pip install 'voxturn[gpu]'"
                ) from exc
        return tuple(TensorSpec(t["name"], t["dtype"], tuple(t["shape"])) for t in raw[key])

    return ModelContract(raw["file"], specs("inputs"), specs("outputs"))


def sha256_of(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
