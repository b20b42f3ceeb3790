"""A mel spectrogram handed from a voice to its vocoder: what a pair must have in common, and how the
numbers of one become the other's, as nodes of a graph.

Upstream computes it between the two models: denormalised by the voice's audio configuration,
normalised by the vocoder's. All else is taken as it is, so that a pair that differs in it gives noise
there; here it is refused. Source: coqui-tts 0.28, `utils/synthesizer.py`, `utils/audio/processor.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from voxturn.export.net import Net
from voxturn.runtime.errors import ExportFailed


@dataclass(frozen=True)
class MelSettings:
    """The table `audio` of a configuration, under upstream's names and with its defaults; frequencies
    in Hz, levels in dB."""

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

    @classmethod
    def of(cls, audio: Mapping[str, Any], where: Path) -> MelSettings:
        """Raises `ExportFailed` for what is not read yet, `TypeError` or `ValueError` for a damaged
        table."""
        given = {f.name: audio[f.name] for f in fields(cls) if f.name in audio}
        made = cls(**given)
        if made.signal_norm and audio.get("stats_path"):
            raise ExportFailed(f"{where}: its mels have statistics (stats_path), not read yet")
        return made

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
    """`mel` as the vocoder wants it; nothing is done where both have it alike."""
    if voice == vocoder:
        return mel
    return _normalized(n, _denormalized(n, mel, voice), vocoder)


def _denormalized(n: Net, mel: str, s: MelSettings) -> str:
    if not s.signal_norm:
        return mel
    low = -s.max_norm if s.symmetric_norm else 0.0
    if s.clip_norm:
        mel = n.op("Clip", mel, n.const(float(low)), n.const(float(s.max_norm)))
    slope = -s.min_level_db / (s.max_norm - low)
    return _line(n, mel, slope, s.min_level_db + s.ref_level_db - low * slope)


def _normalized(n: Net, mel: str, s: MelSettings) -> str:
    if not s.signal_norm:
        return mel
    low = -s.max_norm if s.symmetric_norm else 0.0
    slope = (s.max_norm - low) / -s.min_level_db
    mel = _line(n, mel, slope, low - (s.min_level_db + s.ref_level_db) * slope)
    if s.clip_norm:
        mel = n.op("Clip", mel, n.const(float(low)), n.const(float(s.max_norm)))
    return mel


def _line(n: Net, x: str, slope: float, at_zero: float) -> str:
    return n.op("Add", n.op("Mul", x, n.const(float(slope))), n.const(float(at_zero)))
