"""What all voices that give mels have in common when they are exported: their vocoder, the hand-over,
their speakers and what their artifact says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export import checkpoint
from voxturn.export.checkpoint import Float, Shapes
from voxturn.export.coqui.artifact import GRAPHS, NOISE_FRAMES, Exported
from voxturn.export.coqui.checks import check_runs, check_symbols, streamed
from voxturn.export.coqui.folder import CONFIG, CoquiFolder
from voxturn.export.coqui.mel import MelSettings
from voxturn.export.coqui.speakers import TABLE, languages_of, speakers_of, write_speakers
from voxturn.export.coqui.text import reading
from voxturn.export.coqui.vocoder import Vocoder
from voxturn.export.weights import Weights

WriteGraph = Callable[[Path, MelSettings, Vocoder], None]
"""Writes the text graph, which hands mels of the settings over to the vocoder, and beside it those
that a family has besides."""


@dataclass(frozen=True)
class MelVoice:
    """A voice as its family has read it.

    `symbols` that it embeds, `mels` values a frame, `voice` channels of a speaker; `wanted`: every
    parameter of its text graph, which `graph` writes. `noise`: how much of its prior it draws, or
    None; `length`: 2 is twice as slow. `unit`: upstream gives it its speakers normalised; `table`:
    the parameter that they are rows of. `kind`, `graphs` and `properties`, beyond those of every such
    voice, are its family's at run time; `runs` raises where its graphs cannot be computed.
    """

    weights: Weights
    symbols: int
    mels: int
    voice: int
    wanted: Shapes
    graph: WriteGraph
    noise: float | None
    length: float
    unit: bool
    table: str = TABLE
    kind: str = "coqui-mel"
    graphs: Mapping[str, str] = field(default_factory=lambda: GRAPHS)
    properties: Mapping[str, Any] = field(default_factory=dict)
    runs: Callable[[Path], None] = check_runs


def write_voice(folder: CoquiFolder, target: Path, vocoder: Path, voice: MelVoice) -> Exported:
    """Write the files of a voice and its vocoder into `target`.

    Raises `ExportFailed` or `CorruptModel`.
    """
    where, weights = folder.path / CONFIG, voice.weights
    sound = Vocoder.open(vocoder)
    with checkpoint.settings_of(where):
        mel = MelSettings.of(folder.config["audio"], folder.path)
        languages = languages_of(folder, 0)
        text = {"text": reading(folder.config, languages)}
    mel.check_pair(sound.mel, where)
    check_symbols(folder, text, voice.symbols)
    table = (
        {voice.table: (weights.rows(voice.table), voice.voice)} if voice.table in weights else {}
    )
    wanted = voice.wanted | table
    weights.check(wanted)
    names, rows = speakers_of(folder, weights, voice.voice, table=voice.table, unit=voice.unit)
    rows = _unit(rows) if voice.unit else rows
    text_graph, decoder = (target / file for file in GRAPHS.values())
    voice.graph(text_graph, mel, sound)
    weights.check_taken(wanted)
    sound.write(decoder, voice.voice)
    write_speakers(target, names, rows)
    voice.runs(text_graph)
    told = {"speaker": rows[:1, :, None]} if names else {}
    hop, margin, snr = streamed(decoder, told, folder.path)
    properties = {
        "sample_rate": sound.mel.sample_rate,
        "hop": hop,
        "margin": margin,
        "noise_frames": NOISE_FRAMES,
        "channels": voice.mels,
        "noise_scale": voice.noise,
        "length_scale": voice.length,
        "noise_w": None,
        "duration_hop": hop,
        "repeated": sound.generator.repeated,
        "languages": languages,
        "language_ids": False,
        "speakers": names,
        **text,
        **voice.properties,
    }
    synthetic = bool(folder.config.get("voxturn_synthetic", False))
    reached = {"stream.snr_db": round(snr, 1)}
    return Exported(voice.kind, voice.graphs, properties, reached, synthetic)


def _unit(rows: Float) -> Float:
    """Rows of length 1."""
    length = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(rows / length, np.float32)
