"""The parameters of a checkpoint: read on demand, checked as a whole, each accounted for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.checkpoint import Float, Shapes, shortened
from voxturn.runtime.errors import CorruptModel, ExportFailed

MOST_VALUES = 1 << 26
"""Of a parameter: nine times those of the largest of an official XTTS v2."""
_TYPES = frozenset({"float16", "bfloat16", "float32", "float64"}) | frozenset(
    {"int8", "int16", "int32", "int64", "uint8", "bool"}
)
_NOTHING = re.compile(r"(?!)")


class Weights:
    """A state dict, float32 on demand.

    Counts what was taken, so that every parameter can be accounted for.
    """

    def __init__(
        self,
        tensors: Mapping[str, Any],
        file: str = "model.pth",
        model: str = "this model",
        training_only: re.Pattern[str] = _NOTHING,
    ) -> None:
        """`tensors` are torch's or numpy's. `file` is what errors call the weights, `model` what
        they should be; names that begin as `training_only` are left out."""
        self._tensors = tensors
        self._file = file
        self._model = model
        self._training_only = training_only
        self.taken: Counter[str] = Counter()

    def names(self) -> set[str]:
        """All names but the training's."""
        return {name for name in self._tensors if not self._training_only.match(name)}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter."""
        return tuple(self._tensors[name].shape)

    def rows(self, name: str) -> int:
        """How many rows a parameter has; 0 where it is missing or has none."""
        return self.shape(name)[0] if name in self and self.shape(name) else 0

    def take(self, name: str) -> Float:
        """A parameter."""
        self.taken[name] += 1
        return self._values(name)

    def _values(self, name: str) -> Float:
        tensor = self._tensors[name]
        array = tensor if isinstance(tensor, np.ndarray) else tensor.float().numpy()
        return np.ascontiguousarray(array, np.float32)

    def weight(self, prefix: str) -> Float:
        """`prefix.weight`, or the weight that a weight norm's length and direction stand for
        (Salimans & Kingma 2016)."""
        for length, direction in weight_norm_names(prefix):
            if length in self:
                g, v = self.take(length).astype(np.float64), self.take(direction).astype(np.float64)
                norm = np.sqrt((v**2).sum(axis=tuple(range(1, v.ndim)), keepdims=True))
                return np.asarray(g * v / norm, np.float32)
        return self.take(f"{prefix}.weight")

    def weight_shape(self, prefix: str) -> tuple[int, ...]:
        """The shape of `weight(prefix)`. Raises `KeyError` where there is none."""
        names = [direction for _, direction in weight_norm_names(prefix) if direction in self]
        return self.shape((*names, f"{prefix}.weight")[0])

    def weight_shapes(self, prefix: str, *shape: int) -> Shapes:
        """What must be here for a weight of that shape: the weight, or the length (one a row) and
        the direction of its weight norm, under the names that the checkpoint has."""
        for length, direction in weight_norm_names(prefix):
            if length in self:
                return {length: (shape[0], *(1 for _ in shape[1:])), direction: shape}
        return {f"{prefix}.weight": shape}

    def count(self, prefix: str) -> int:
        """How many numbered modules there are from `prefix.0` on."""
        begin = f"{prefix}."
        names = [name.removeprefix(begin) for name in self._tensors if name.startswith(begin)]
        numbers = {int(n) for n in (name.split(".")[0] for name in names) if n.isdecimal()}
        return next(i for i in range(len(numbers) + 1) if i not in numbers)

    def check(self, wanted: Shapes) -> None:
        """Raise `ExportFailed` that names all that is missing, left over or misshapen,
        `CorruptModel` for no numbers."""
        here = self.names()
        missing, extra = sorted(wanted.keys() - here), sorted(here - wanted.keys())
        misshapen = [
            f"{name} is {list(self.shape(name))} and not {list(wanted[name])}"
            for name in sorted(wanted.keys() & here)
            if self.shape(name) != wanted[name]
        ]
        if missing or extra or misshapen:
            raise ExportFailed(
                f"the checkpoint is not {self._model}: missing {shortened(missing) or 'nothing'}, left over "
                f"{shortened(extra) or 'nothing'}, of other shapes than its sizes say {shortened(misshapen) or 'nothing'}"
            )
        broken = [name for name in sorted(here) if not np.isfinite(self._values(name)).all()]
        if broken:
            raise CorruptModel(
                f"{self._file}: holds NaN or infinite values in {shortened(broken)}; get the checkpoint again"
            )

    def check_taken(self, wanted: Shapes) -> None:
        """Raise `ExportFailed` unless every parameter was taken exactly once."""
        uneven = {name: self.taken[name] for name in sorted(wanted) if self.taken[name] != 1}
        if uneven:
            raise ExportFailed(
                f"parameters not taken once but as often as {uneven}; this is a defect of the exporter"
            )


@contextmanager
def reading_sizes(file: Path, model: str) -> Iterator[None]:
    """For reading sizes of tensors: one that is missing or of another form is none of the `model`."""
    try:
        yield
    except (LookupError, TypeError, ValueError, ArithmeticError) as exc:
        reason = " ".join(f"{type(exc).__name__}: {exc}".split())[:200]
        raise ExportFailed(f"{file}: the checkpoint is not {model} ({reason})") from exc


def weight_norm_names(prefix: str) -> Iterator[tuple[str, str]]:
    """The names of a weight norm's length and direction, newer form first."""
    yield (
        f"{prefix}.parametrizations.weight.original0",
        f"{prefix}.parametrizations.weight.original1",
    )
    yield f"{prefix}.weight_g", f"{prefix}.weight_v"


def is_weight(value: Any) -> bool:
    """Whether it is a plain tensor of torch's in memory, no larger than any of a voice's."""
    return (
        str(getattr(value, "dtype", "")).removeprefix("torch.") in _TYPES
        and str(value.layout) == "torch.strided"
        and value.device.type == "cpu"
        and value.numel() <= MOST_VALUES
    )
