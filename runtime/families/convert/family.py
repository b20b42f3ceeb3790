"""OpenVoice as a family: what its artifacts must have, and how the converter is built from its parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voxturn.runtime.audio.opening import check_file
from voxturn.runtime.errors import AudioError, UsageError
from voxturn.runtime.families.base import Candidate, ConversionOptions, Family, Parts
from voxturn.runtime.families.convert.openvoice import Engines, Manner, OpenVoiceConverter
from voxturn.runtime.families.convert.tones import Tones
from voxturn.runtime.models.manifest import Manifest, reading, whole

_MOST_RATE, _MOST_FFT, _MOST_REACH = 192_000, 1 << 16, 1 << 12


@dataclass(frozen=True)
class OpenVoiceSizes:
    """Of an artifact: `rate` in Hz, `fft`, `hop` and `win` of spectra in samples, `channels` of latents,
    `reach` and `margin` of the two graphs in frames, `tau`: the noise of the latents;
    `tells_speaker`: the vocoder is told of the target."""

    rate: int
    fft: int
    hop: int
    win: int
    channels: int
    reach: int
    margin: int
    tau: float
    tells_speaker: bool

    @classmethod
    def of(cls, folder: Path, manifest: Manifest) -> OpenVoiceSizes:
        """Raises `CorruptModel`."""
        with reading(folder):
            p = manifest.properties
            fft = whole(p, "fft", most=_MOST_FFT)
            hop = whole(p, "hop", most=fft)
            return cls(
                rate=whole(p, "sample_rate", most=_MOST_RATE),
                fft=fft,
                hop=hop,
                win=whole(p, "win", hop, fft),
                channels=whole(p, "channels"),
                reach=whole(p, "reach", most=_MOST_REACH),
                margin=whole(p, "margin", 0, _MOST_REACH),
                tau=float(p["tau"]),
                tells_speaker=p["tells_speaker"] is True,
            )


def _check(candidate: Candidate) -> None:
    OpenVoiceSizes.of(candidate.folder, candidate.manifest)
    for name in getattr(candidate.settings, "to", ()):
        try:
            check_file(Path(name))
        except AudioError as exc:
            raise UsageError(f"to: {exc}") from exc


def _make(parts: Parts) -> OpenVoiceConverter:
    stage = parts.stage("convert")
    s = OpenVoiceSizes.of(stage.folder, stage.manifest)
    engines = Engines(
        lane=stage.lane,
        tones=Tones(stage.graph("voice_encoder"), stage.lane, s.rate, s.fft, s.hop, s.win),
        latents=stage.graph("voice_converter"),
        decoder=stage.graph("waveform_decoder"),
        reach=s.reach,
        margin=s.margin,
        channels=s.channels,
        tells_speaker=s.tells_speaker,
    )
    manner = Manner(noise=stage.option("noise", s.tau), seed=stage.option("seed", 0))
    converter = OpenVoiceConverter(engines, manner)
    to = tuple(map(Path, stage.option("to", ())))
    return converter.using(ConversionOptions(to=to)) if to else converter


FAMILY = Family(
    kind="openvoice",
    task="voice-conversion",
    roles={"convert": ("voice_encoder", "voice_converter", "waveform_decoder")},
    make=_make,
    options={"convert": frozenset({"to", "noise", "seed"})},
    check=_check,
)
