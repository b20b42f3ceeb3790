"""VITS as a family: what its artifacts must have, and how the voice is built from its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxturn.runtime.audio.window import Plan
from voxturn.runtime.errors import CorruptModel, UnsupportedLanguage, UsageError
from voxturn.runtime.families.base import Candidate, Family, Need, Parts, StageParts
from voxturn.runtime.families.vits.encoder import Manner, VitsEncoder
from voxturn.runtime.families.vits.speakers import Speakers, check_speaker
from voxturn.runtime.families.vits.texts import TextReader
from voxturn.runtime.families.vits.voice import NOISES, OPTIONS, VitsVoice
from voxturn.runtime.families.windowed import SameFrames, WindowedVocoder
from voxturn.runtime.models.manifest import Manifest, reading, whole
from voxturn.runtime.text.frontend.phonemizers import PHONEMIZERS
from voxturn.runtime.text.frontend.symbols import Reading, SymbolReader
from voxturn.runtime.text.language import base_code, find, is_auto
from voxturn.runtime.text.phonemes import EspeakPhonemizer

_PIPERS_CHANNELS = 192


@dataclass(frozen=True)
class PiperReading:
    """How a Piper voice reads: espeak-ng's `voice` and the ids of its `phonemes`."""

    voice: str
    phonemes: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> PiperReading:
        """Raises as `Reading.of`."""
        table = properties["phoneme_id_map"]
        phonemes = {str(symbol): [int(i) for i in ids] for symbol, ids in table.items()}
        return cls(str(properties["espeak_voice"]), phonemes)

    @property
    def needs(self) -> frozenset[str]:
        """The phonemizers that it needs."""
        return frozenset({"espeak"})

    def load(self) -> TextReader:
        """Raises `ExecutorUnavailable` where espeak-ng is not installed."""
        return EspeakPhonemizer(self.voice, self.phonemes)


@dataclass(frozen=True)
class CoquiReading:
    """How a voice of Coqui's reads."""

    text: Reading

    @property
    def needs(self) -> frozenset[str]:
        """The phonemizers that it needs."""
        return frozenset(name for name, _ in self.text.phonemizers.values())

    def load(self) -> TextReader:
        """Raises `ExecutorUnavailable` where a phonemizer is not installed."""
        return SymbolReader(self.text)


@dataclass(frozen=True)
class VitsSizes:
    """Of an artifact: how it is read; `noises` that it draws, by the option that sets how much; the
    `length` of what it says; the prior noise's `noise_frames` of `channels`; of its audio `rate` in
    Hz, `hop` samples a frame, `margin` frames of context. `duration_hop`: samples of a frame of the
    durations that its graph gives; 0 where it gives none.

    `languages` are in the order of their ids, which the graph is told where `tells_language`;
    `speakers` in the order of their rows.
    """

    read: PiperReading | CoquiReading
    noises: Mapping[str, float]
    length: float
    noise_frames: int
    channels: int
    rate: int
    hop: int
    margin: int
    duration_hop: int
    languages: tuple[str, ...]
    tells_language: bool
    speakers: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path, manifest: Manifest) -> VitsSizes:
        """Raises `CorruptModel`."""
        with reading(folder):
            p = manifest.properties
            coqui = "text" in p
            read = CoquiReading(Reading.of(p["text"])) if coqui else PiperReading.of(p)
            usual = () if coqui else (base_code(str(p["espeak_voice"])),)
            languages = tuple(str(code) for code in p.get("languages", usual))
            if not languages:
                raise ValueError("it has no language")
            noises = {"noise": p["noise_scale"], "noise_w": p["noise_w"]}
            drawn = {name: float(value) for name, value in noises.items() if value is not None}
            return cls(
                read=read,
                noises=drawn,
                length=float(p["length_scale"]),
                noise_frames=whole(p, "noise_frames"),
                channels=whole(p, "channels") if "channels" in p else _PIPERS_CHANNELS,
                rate=whole(p, "sample_rate"),
                hop=whole(p, "hop"),
                margin=whole(p, "margin", 0),
                duration_hop=whole(p, "duration_hop") if "duration_hop" in p else 0,
                languages=languages,
                tells_language=p.get("language_ids", False) is True,
                speakers=tuple(str(name) for name in p.get("speakers", ())),
            )

    def code(self, tag: str) -> str:
        """The voice's own code for a tag, the first for `auto`; empty where it has none."""
        return voice_code(tag, self.languages)


def voice_code(tag: str, languages: Sequence[str]) -> str:
    """The code of `languages` for a tag, the first for `auto`; empty where there is none."""
    return languages[0] if is_auto(tag) else find(tag, languages.__contains__)


def check_choice(candidate: Candidate, languages: Sequence[str], speakers: Sequence[str]) -> None:
    """Raise an error of ours for a language or a speaker that a voice has not."""
    settings = candidate.settings
    if not voice_code(candidate.language, languages):
        raise UnsupportedLanguage(
            f"voice {settings.model!r} does not speak {candidate.language!r}; "
            "choose another voice in the profile"
        )
    if name := getattr(settings, "voice", None):
        check_speaker(name, speakers)


def phonemizer_needs(names: Iterable[str]) -> tuple[Need, ...]:
    """What phonemizers of these names import."""
    rows = [(name, PHONEMIZERS[name]) for name in sorted(names)]
    return tuple(
        Need(row.module, f"the phonemes of {name} are not installed", row.extra)
        for name, row in rows
    )


def _check(candidate: Candidate) -> None:
    sizes = VitsSizes.of(candidate.folder, candidate.manifest)
    settings = candidate.settings
    check_choice(candidate, sizes.languages, sizes.speakers)
    for name in sorted(NOISES - set(sizes.noises)):
        if getattr(settings, name, None) is not None:
            raise UsageError(f"{name}: voice {settings.model!r} has no such noise; leave it out")


def _needs(folder: Path, manifest: Manifest) -> tuple[Need, ...]:
    """What the phonemizers of an artifact import; of one that cannot be read, nothing: it is told
    when it is checked."""
    try:
        return phonemizer_needs(VitsSizes.of(folder, manifest).read.needs)
    except CorruptModel:
        return ()


def _make(parts: Parts) -> VitsVoice:
    speak, vocode = parts.stage("speak"), parts.stage("vocode")
    sizes = VitsSizes.of(speak.folder, speak.manifest)
    speakers = Speakers.read(speak.folder, sizes.speakers)
    noises = {name: speak.option(name, usual) for name, usual in sizes.noises.items()}
    manner = Manner(
        noise=noises.get("noise", 0.0),
        length=sizes.length,
        noise_w=noises.get("noise_w", 0.0),
        language=sizes.code(parts.languages.first) or sizes.languages[0],
        seed=speak.option("seed", 0),
        speed=speak.option("speed", 1.0),
        speaker=speakers.row(speak.option("voice", "")),
    )
    encoder = VitsEncoder(
        speak.graph("acoustic_encoder"),
        sizes.read.load(),
        speak.lane,
        manner,
        sizes.noise_frames,
        sizes.channels,
        sizes.languages,
        sizes.tells_language,
        sizes.duration_hop / sizes.rate,
    )
    return VitsVoice(encoder, _vocoder(vocode, parts), speakers, OPTIONS | frozenset(noises))


def _vocoder(vocode: StageParts, parts: Parts) -> WindowedVocoder:
    sizes = VitsSizes.of(vocode.folder, vocode.manifest)
    return WindowedVocoder(
        vocode.graph("waveform_decoder"),
        vocode.lane,
        rate=sizes.rate,
        hop=sizes.hop,
        margin=sizes.margin,
        frames=SameFrames(),
        plans=(Plan(),),
        pace=parts.pace,
    )


FAMILY = Family(
    kind="vits",
    task="text-to-speech",
    roles={"speak": ("acoustic_encoder",), "vocode": ("waveform_decoder",)},
    make=_make,
    options={"speak": OPTIONS | NOISES | {"voice"}},
    needs=(Need("num2words", "what writes numbers as words is not installed", "vits"),),
    needs_of=_needs,
    check=_check,
)
MEL = replace(FAMILY, kind="coqui-mel")
"""Voices whose latents are a vocoder's mels, as GlowTTS's: at run time they are the same."""
