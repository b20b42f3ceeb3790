"""A mel spectrogram handed from a voice to its vocoder: what a pair must have in common, and how the
numbers of one become the other's, as nodes of a graph.

Upstream computes it between the two models: denormalised by the voice's audio configuration,
normalised by the vocoder's. All else is taken as it is, so that a pair that differs in it gives noise
there; here it is refused. Source: coqui-tts 0.28, `utils/synthesizer.py`, `utils/audio/processor.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.coqui.statistics import Statistics, file_of, read_statistics
from voxturn.export.net import Net
from voxturn.runtime.errors import ExportFailed


@dataclass(frozen=True)
class MelSettings:
    """The table `audio` of a configuration, under upstream's names and with its defaults; frequencies
    in Hz, levels in dB. With `statistics` each band is normalised by its own, and by no range."""

    sample_rate: int = 22050
    fft_size: int = 1024
    hop_length: int = 256
    win_length: int = 1024
    num_mels: int = 80
    mel_fmin: float = 0.0
    mel_fmax: float | None = None
    log_func: str = "np.log10"
    spec_gain: float = 20.0
    preemphasis: float = 0.0
    signal_norm: bool = True
    symmetric_norm: bool = True
    clip_norm: bool = True
    max_norm: float = 4.0
    min_level_db: float = -100.0
    ref_level_db: float = 20.0
    statistics: Statistics | None = None

    @classmethod
    def of(cls, audio: Mapping[str, Any], folder: Path) -> MelSettings:
        """Those of a model's folder.

        Raises `CorruptModel` for damaged statistics, `TypeError` or `ValueError` for a damaged
        table.
        """
        names = {each.name for each in fields(cls)} - {"statistics"}
        made = cls(**{name: audio[name] for name in names & audio.keys()})
        if not made.signal_norm or not (named := audio.get("stats_path")):
            return made
        file = file_of(folder, str(named))
        return replace(made, statistics=read_statistics(file, made.num_mels))

    def check_pair(self, vocoder: MelSettings, where: Path) -> None:
        """Raise `ExportFailed` for a vocoder of other mels than this voice's."""
        differ = [
            f"{name} {getattr(self, name)!r} and {getattr(vocoder, name)!r}"
            for name in _COMMON
            if getattr(self, name) != getattr(vocoder, name)
        ]
        if differ:
            raise ExportFailed(
                f"{where}: the vocoder's mels are not the voice's: {'; '.join(differ)}"
            )


_COMMON = (
    "sample_rate",
    "fft_size",
    "hop_length",
    "win_length",
    "num_mels",
    "mel_fmin",
    "mel_fmax",
    "log_func",
    "spec_gain",
    "preemphasis",
)
"""What nobody converts."""


def handed_over(n: Net, mel: str, voice: MelSettings, vocoder: MelSettings) -> str:
    """`mel` `[1, mels, frames]` as the vocoder wants it."""
    return _normalized(n, _denormalized(n, mel, voice), vocoder)


def _denormalized(n: Net, mel: str, s: MelSettings) -> str:
    if not s.signal_norm:
        return mel
    if s.statistics is not None:
        spread = n.op("Mul", mel, _bands(n, s.statistics.spread))
        return n.op("Add", spread, _bands(n, s.statistics.mean))
    low = -s.max_norm if s.symmetric_norm else 0.0
    if s.clip_norm:
        mel = n.op("Clip", mel, n.const(float(low)), n.const(float(s.max_norm)))
    slope = -s.min_level_db / (s.max_norm - low)
    return _line(n, mel, slope, s.min_level_db + s.ref_level_db - low * slope)


def _normalized(n: Net, mel: str, s: MelSettings) -> str:
    if not s.signal_norm:
        return mel
    if s.statistics is not None:
        centred = n.op("Sub", mel, _bands(n, s.statistics.mean))
        return n.op("Div", centred, _bands(n, s.statistics.spread))
    low = -s.max_norm if s.symmetric_norm else 0.0
    slope = (s.max_norm - low) / -s.min_level_db
    mel = _line(n, mel, slope, low - (s.min_level_db + s.ref_level_db) * slope)
    if s.clip_norm:
        mel = n.op("Clip", mel, n.const(float(low)), n.const(float(s.max_norm)))
    return mel


def _bands(n: Net, values: Sequence[float]) -> str:
    """A value for each band, as `[mels, 1]`."""
    return n.const(np.array(values, np.float32)[:, None], np.float32)


def _line(n: Net, x: str, slope: float, at_zero: float) -> str:
    return n.op("Add", n.op("Mul", x, n.const(float(slope))), n.const(float(at_zero)))
