"""The speakers of a VITS that has several: their names are the artifact's, their rows lie in
`speakers.npz`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import CorruptModel, UnknownVoice
from voxturn.runtime.files import read_arrays
from voxturn.runtime.models.manifest import reading

_FILE = "speakers.npz"
_NAMED = 40
"""Names that a line can have."""


def check_speaker(name: str, known: Sequence[str]) -> None:
    """Raise `UnknownVoice`, which names those that there are, for another."""
    if name in known:
        return
    if not known:
        raise UnknownVoice(f"voice {name[:80]!r}: this model has one speaker, who has no name")
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    raise UnknownVoice(
        f"voice {name[:80]!r} is not known; this model has {', '.join(known[:_NAMED])}{more}"
    )


class Speakers:
    """Rows by name. `rows` float32 `[speakers, channels]`: of a table, or normalised d-vectors."""

    def __init__(self, names: Sequence[str], rows: npt.NDArray[np.float32]) -> None:
        self.names = tuple(names)
        self._rows = rows

    @classmethod
    def read(cls, folder: Path, names: Sequence[str]) -> Speakers:
        """Of an artifact. Raises `CorruptModel`."""
        if not names:
            return cls((), np.empty((0, 0), np.float32))
        path = folder / _FILE
        try:
            with reading(folder):
                rows = read_arrays(path)["rows"]
        except OSError as exc:
            raise CorruptModel(f"{path}: cannot be read ({exc}); export it again") from exc
        if rows.ndim != 2 or len(rows) != len(names) or rows.dtype != np.float32:
            raise CorruptModel(
                f"{path}: has not a row for each of its {len(names)} speakers; export it again"
            )
        return cls(names, rows)

    def row(self, name: str) -> npt.NDArray[np.float32] | None:
        """`[1, channels, 1]` of a speaker, of the first where the name is empty; None where there is
        one alone. Raises `UnknownVoice`."""
        if name:
            check_speaker(name, self.names)
        if not self.names:
            return None
        row: npt.NDArray[np.float32] = self._rows[self.names.index(name) if name else 0]
        return row[None, :, None]
