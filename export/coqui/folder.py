"""A folder of coqui-tts's cache, or of a training, as it lies: its configuration, its weights and the
tables beside them, under the names that old and new versions give them.

Nothing is unpickled freely (`export.torch_file`). Source of the names: coqui-tts 0.28,
`TTS/utils/manage.py`, `trainer/io.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from voxturn.export.checkpoint import Safetensors, check_content, read_table
from voxturn.export.torch_file import read_torch
from voxturn.export.weights import is_weight
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.files import read_text

CONFIG = "config.json"
_COMMENTS = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z))|/\*.*?(?:\*/|\Z)|//[^\n]*', re.DOTALL)
"""Comments, and texts, which may hold their marks. What has no end goes to the end: in one pass."""
_WEIGHTS = (
    "model.pth",
    "model_file.pth",
    "model_file.pth.tar",
    "best_model.pth",
    "best_model_*.pth",
    "checkpoint.pth",
    "checkpoint_*.pth",
    "G_*.pth",
    "*.ckpt",
)
"""Files of weights, the surest first; of several that a pattern finds, the one of the most steps."""
_SAFETENSORS = "model.safetensors"
_AGAIN = "get the checkpoint again"
_MOST_ROWS = 1 << 20


@dataclass(frozen=True)
class CoquiFolder:
    """An opened folder. `config` is the whole `config.json`."""

    path: Path
    config: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> CoquiFolder:
        """Read the configuration, which may be that of the one folder within, as a hub has it.

        Raises `ExportFailed` for a file, `CorruptModel`.
        """
        if path.is_file():
            raise ExportFailed(
                f"{path}: is a file; unpack it and name the folder with its {CONFIG}"
            )
        if not (path / CONFIG).exists():
            within = [each for depth in ("*", "*/*") for each in path.glob(f"{depth}/{CONFIG}")]
            path = within[0].parent if len(within) == 1 else path
        return cls(path, _config(path / CONFIG))

    @cached_property
    def checkpoint(self) -> Mapping[str, Any]:
        """What the file of the weights holds beside and with them; empty for safetensors."""
        if (self.path / _SAFETENSORS).exists():
            return {}
        loaded = read_torch(self.weights_file)
        if not isinstance(loaded, Mapping):
            raise CorruptModel(f"{self.weights_file}: holds no state dict; {_AGAIN}")
        return loaded

    @property
    def weights_file(self) -> Path:
        """The file of the weights. Raises `CorruptModel` that names those looked for."""
        for pattern in (_SAFETENSORS, *_WEIGHTS):
            if found := sorted(self.path.glob(pattern), key=_steps):
                return found[-1]
        names = ", ".join((*_WEIGHTS, _SAFETENSORS))
        raise CorruptModel(f"{self.path}: holds no weights ({names}); {_AGAIN}")

    def tensors(self) -> dict[str, Any]:
        """The state dict, torch's tensors or numpy's arrays. Raises `CorruptModel`."""
        if (self.path / _SAFETENSORS).exists():
            opened = Safetensors(self.path)
            return {name: opened.array(name) for name in opened.names()}
        whole = self.checkpoint
        state = next((whole[k] for k in ("model", "state_dict") if k in whole), whole)
        if not isinstance(state, Mapping) or not all(map(is_weight, state.values())):
            raise CorruptModel(f"{self.weights_file}: holds no state dict; {_AGAIN}")
        numbers = sum(tensor.numel() for tensor in state.values())
        if numbers > self.weights_file.stat().st_size:  # sizes are believed: none may be made up
            raise CorruptModel(
                f"{self.weights_file}: its weights are {numbers:,} numbers, more than it has bytes; {_AGAIN}"
            )
        return {str(name): tensor for name, tensor in state.items()}

    def table(self, *names: str) -> Mapping[str, Any]:
        """The first file of these that is here, a table in JSON or a pickle of one; empty where none
        is. Raises `CorruptModel`."""
        for name in names:
            path = self.path / Path(name).name
            if not name or not path.is_file():
                continue
            table = read_table(path) if path.suffix == ".json" else read_torch(path)
            if not isinstance(table, Mapping) or len(table) > _MOST_ROWS:
                raise CorruptModel(f"{path}: is not a table; {_AGAIN}")
            return table
        return {}


def _steps(path: Path) -> tuple[int, str]:
    """The last number in a file's name, by which training writes later files."""
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else 0, path.name


def _config(path: Path) -> Mapping[str, Any]:
    """A configuration whose JSON may hold comments."""
    check_content(path)
    try:
        text = _COMMENTS.sub(lambda found: found.group(1) or "", read_text(path))
        config = json.loads(text)
    except (OSError, ValueError, RecursionError) as exc:
        raise CorruptModel(f"{path}: is missing or not JSON ({exc}); {_AGAIN}") from exc
    if not isinstance(config, dict):
        raise CorruptModel(f"{path}: is not a table; {_AGAIN}")
    return config
