"""Checkpoints of decoder-only models in one form: Hugging Face names, float arrays on demand, 4-bit
blocks where they exist.

Nothing is read before it is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from voxturn.export.checkpoint import (
    Float,
    Safetensors,
    Shapes,
    check_layers,
    read_table,
    refuse_adapter,
    settings_of,
    shortened,
)
from voxturn.export.decoder.families import FAMILIES, DecoderConfig, Family
from voxturn.export.decoder.gguf import GgufCheckpoint
from voxturn.export.quantize import BlockWeight
from voxturn.runtime.errors import ExportFailed

_LOG = logging.getLogger(__name__)
_BUFFERS = (".rotary_emb.inv_freq", ".rotary_emb.original_inv_freq")
"""How names of tensors end that are no weights: they follow from the configuration."""


class Checkpoint(Protocol):
    """A state dict with its configuration.

    `family` names a row of `export.decoder.families.FAMILIES`.
    """

    @property
    def family(self) -> str: ...

    @property
    def config(self) -> Mapping[str, Any]: ...

    def names(self) -> set[str]: ...

    def array(self, name: str) -> Float: ...

    def blocks(self, name: str) -> BlockWeight | None:
        """The tensor's own 4-bit blocks, taken over without rounding; None where it is stored
        otherwise."""
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
    alone = path.exists() and not path.is_dir()
    files = [path] if alone else sorted(path.glob("*.gguf"))
    if files:
        return GgufCheckpoint(files[0])
    refuse_adapter(path)
    return SafetensorsCheckpoint(path)


def fitted(checkpoint: Checkpoint) -> tuple[Family, DecoderConfig]:
    """The family and the sizes of a checkpoint.

    Raises `ExportFailed` with all names that are missing or left over.
    """
    family = FAMILIES.get(checkpoint.family)
    if family is None:
        raise ExportFailed(
            f"model family {checkpoint.family[:80]!r} is not supported; supported: {', '.join(FAMILIES)}"
        )
    with settings_of("the checkpoint's configuration"):
        config = DecoderConfig.from_checkpoint(checkpoint.config, family.defaults)
    check_layers("the checkpoint", config.layers, len(checkpoint.names()))
    present = {name for name in checkpoint.names() if not name.endswith(_BUFFERS)}
    if config.tied:
        family, config = _tied(checkpoint, family, config, present)
    wanted = family.names(config)
    unused = {family.head} if config.tied else set()
    if wanted - present or present - wanted - unused:
        raise ExportFailed(
            f"the checkpoint does not fit family {checkpoint.family!r}: "
            f"missing {shortened(sorted(wanted - present)) or 'nothing'}, "
            f"left over {shortened(sorted(present - wanted - unused)) or 'nothing'}"
        )
    return family, config


def _tied(
    checkpoint: Checkpoint, family: Family, config: DecoderConfig, present: set[str]
) -> tuple[Family, DecoderConfig]:
    """What a checkpoint holds of a head and an embedding that its configuration calls the same, as
    transformers reads it.

    One of both may be missing; where they differ, each is used. Source: transformers,
    `PreTrainedModel.tie_weights`.
    """
    if family.head not in present:
        return family, config
    if family.embedding not in present:
        return replace(family, embedding=family.head), config
    if np.array_equal(checkpoint.array(family.embedding), checkpoint.array(family.head)):
        return family, config
    _LOG.warning(
        "the configuration says tie_word_embeddings, but %s differs from the embedding and is used",
        family.head,
    )
    return family, replace(config, tied=False)
