"""The speakers and languages of a model of Coqui's: rows of its own table by name, or d-vectors.

Source: coqui-tts 0.28, `tts/utils/managers.py`, `speakers.py`, `languages.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.checkpoint import Float
from voxturn.export.coqui.folder import CONFIG, CoquiFolder
from voxturn.export.weights import Weights
from voxturn.runtime.errors import ExportFailed

TABLE = "emb_g.weight"
SPEAKERS = "speakers.npz"
_IDS = ("speaker_ids.json", "speaker_ids.pth", "speakers.json", "speakers.pth")
_VECTORS = ("speakers.json", "speakers.pth")
_LANGUAGES = ("language_ids.json",)
_CACHED = re.compile(r"tts_models--(?P<language>[A-Za-z-]+?)--")
_ANY = ("", "multilingual", "multi-dataset")


def speakers_of(
    folder: CoquiFolder,
    weights: Weights,
    voice: int,
    named: Mapping[str, int] | None = None,
    table: str = TABLE,
    unit: bool = True,
) -> tuple[list[str], Float]:
    """The speakers' names and rows `[speakers, voice]`: of the model's `table`, or d-vectors; none
    where `voice` is 0. `named`: their rows by name, where the configuration itself has them. `unit`:
    d-vectors are given normalised.

    Raises `ExportFailed`.
    """
    if table in weights:
        rows = weights.take(table)
        if named is not None:
            return in_order(named, len(rows), "speakers", folder), rows
        return embedded_speakers(folder, len(rows)), rows
    if not voice:
        return [], np.empty((0, 0), np.float32)
    return vector_speakers(folder, voice, unit)


def write_speakers(target: Path, names: Sequence[str], rows: Float) -> None:
    """Write the rows, where there are speakers; their names are the artifact's."""
    if names:
        np.savez(target / SPEAKERS, rows=rows)


def embedded_speakers(folder: CoquiFolder, rows: int) -> list[str]:
    """The names of the rows of a speakers' table, in their order; numbers where none are given."""
    table = folder.table(*_named(folder, "speakers_file"), *_IDS)
    ids = {str(name): i for name, i in table.items() if isinstance(i, int)}
    return in_order(ids, rows, "speakers", folder)


def vector_speakers(folder: CoquiFolder, width: int, unit: bool = True) -> tuple[list[str], Float]:
    """The names and the d-vectors `[speakers, width]`, normalised with `unit`, of a model without a
    table.

    A speaker of several clips has their mean. Raises `ExportFailed` where they are not here.
    """
    table = folder.table(*_named(folder, "d_vector_file"), *_VECTORS)
    clips: dict[str, list[Sequence[float]]] = {}
    for clip in table.values():
        if isinstance(clip, Mapping) and "embedding" in clip:
            clips.setdefault(str(clip["name"]).strip(), []).append(clip["embedding"])
    if not clips:
        raise ExportFailed(
            f"{folder.path}: holds no d-vectors ({', '.join(_VECTORS)}), which the model's speakers are"
        )
    rows = np.stack([np.asarray(each, np.float32).mean(0) for each in clips.values()])
    if rows.shape[1:] != (width,) or not np.isfinite(rows).all():
        raise ExportFailed(
            f"{folder.path}: its d-vectors are {list(rows.shape[1:])}, the model takes {width} values; "
            "they do not belong together"
        )
    if not unit:
        return list(clips), rows
    length = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return list(clips), np.asarray(rows / length, np.float32)


def languages_of(folder: CoquiFolder, rows: int) -> list[str]:
    """The model's languages in the order of their ids, or the one that it has; `rows` is the size of
    its table, 0 where it has none. Raises `ExportFailed` where nothing says which."""
    args = folder.config.get("model_args") or {}
    names = [str(holder.get("language_ids_file") or "") for holder in (folder.config, args)]
    ids = {str(n): i for n, i in folder.table(*names, *_LANGUAGES).items() if isinstance(i, int)}
    if rows > 1:
        return [name.lower() for name in in_order(ids, rows, "languages", folder)]
    return [_single_language(folder, ids).lower()]


def _single_language(folder: CoquiFolder, ids: Mapping[str, int]) -> str:
    """The language of a model that has one: of its table, its folder in the cache, its phonemes, its
    data."""
    cached = _CACHED.match(folder.path.resolve().name)
    config = folder.config
    spoken = config.get("phoneme_language") or ""
    candidates = [
        *(ids if len(ids) == 1 else ()),
        cached["language"] if cached else "",
        spoken if config.get("use_phonemes") else "",
        *(str(d.get("language") or "") for d in config.get("datasets") or ()),
        spoken,
    ]
    for language in candidates:
        if language not in _ANY:
            return str(language)
    raise ExportFailed(
        f'{folder.path / CONFIG}: says no language; write one into it, as "phoneme_language": "uk"'
    )


def in_order(ids: Mapping[str, int], rows: int, what: str, folder: CoquiFolder) -> list[str]:
    """Names by their row; numbers where there are no names at all.

    Raises `ExportFailed` where they are not those of the rows.
    """
    if not ids:
        return [str(row) for row in range(rows)]
    named = {row: name.strip() for name, row in ids.items()}
    if set(named) != set(range(rows)) or len(ids) != rows:
        raise ExportFailed(
            f"{folder.path}: names {len(ids)} {what}, the model has {rows}; they do not belong together"
        )
    return [named[row] for row in range(rows)]


def _named(folder: CoquiFolder, key: str) -> list[str]:
    """The files that the configuration names for a table, wherever they were when it was written."""
    found: list[Any] = []
    for holder in (folder.config, folder.config.get("model_args") or {}):
        value = holder.get(key) or []
        found += [value] if isinstance(value, str) else list(value)
    return [str(each) for each in found]
