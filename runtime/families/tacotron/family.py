"""Tacotron 2 as a family: what its artifacts must have, and how the voice is built from its parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voxturn.runtime.audio.window import Plan
from voxturn.runtime.errors import CorruptModel
from voxturn.runtime.families.base import Candidate, Family, Need, Parts
from voxturn.runtime.families.tacotron.encoder import (
    TacotronEncoder,
    TacotronGraphs,
    TacotronManner,
    TacotronShape,
)
from voxturn.runtime.families.vits.family import (
    CoquiReading,
    check_choice,
    phonemizer_needs,
    voice_code,
)
from voxturn.runtime.families.vits.speakers import Speakers
from voxturn.runtime.families.vits.voice import VitsVoice
from voxturn.runtime.families.windowed import SameFrames, WindowedVocoder
from voxturn.runtime.models.manifest import Manifest, reading, whole
from voxturn.runtime.text.frontend.symbols import Reading

_OPTIONS = frozenset({"seed"})
_ROLES = ("text_encoder", "mel_step", "mel_refiner")


@dataclass(frozen=True)
class TacotronSizes:
    """Of an artifact: how it is read; of its audio `rate` in Hz, `hop` samples a frame, `margin`
    frames of the vocoder's context; frames of a step, and the most steps of a text; `keeps` values of
    which its prenet drops some; the postnet's `post_margin`; how often the first and last mel are
    `repeated`."""

    read: CoquiReading
    rate: int
    hop: int
    margin: int
    step_frames: int
    most_steps: int
    keeps: int
    post_margin: int
    repeated: int
    languages: tuple[str, ...]
    speakers: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path, manifest: Manifest) -> TacotronSizes:
        """Raises `CorruptModel`."""
        with reading(folder):
            p = manifest.properties
            languages = tuple(str(code) for code in p["languages"])
            if not languages:
                raise ValueError("it has no language")
            return cls(
                read=CoquiReading(Reading.of(p["text"])),
                rate=whole(p, "sample_rate"),
                hop=whole(p, "hop"),
                margin=whole(p, "margin", 0),
                step_frames=whole(p, "step_frames"),
                most_steps=whole(p, "max_steps"),
                keeps=whole(p, "keeps", 0),
                post_margin=whole(p, "post_margin", 0),
                repeated=whole(p, "repeated", 0),
                languages=languages,
                speakers=tuple(str(name) for name in p.get("speakers", ())),
            )


def _check(candidate: Candidate) -> None:
    sizes = TacotronSizes.of(candidate.folder, candidate.manifest)
    check_choice(candidate, sizes.languages, sizes.speakers)


def _needs(folder: Path, manifest: Manifest) -> tuple[Need, ...]:
    """What the phonemizers of an artifact import; of one that cannot be read, nothing: it is told
    when it is checked."""
    try:
        return phonemizer_needs(TacotronSizes.of(folder, manifest).read.needs)
    except CorruptModel:
        return ()


def _make(parts: Parts) -> VitsVoice:
    speak, vocode = parts.stage("speak"), parts.stage("vocode")
    sizes = TacotronSizes.of(speak.folder, speak.manifest)
    sound = TacotronSizes.of(vocode.folder, vocode.manifest)
    speakers = Speakers.read(speak.folder, sizes.speakers)
    plan = Plan()
    manner = TacotronManner(
        language=voice_code(parts.languages.first, sizes.languages) or sizes.languages[0],
        seed=speak.option("seed", 0),
        speaker=speakers.row(speak.option("voice", "")),
    )
    shape = TacotronShape(
        step_s=sizes.step_frames * sizes.hop / sizes.rate,
        most_steps=sizes.most_steps,
        keeps=sizes.keeps,
        size=max(1, plan.first + sound.margin - sizes.repeated),
        margin=sizes.post_margin,
        repeated=sizes.repeated,
    )
    encoder = TacotronEncoder(
        TacotronGraphs(*(speak.graph(role) for role in _ROLES)),
        sizes.read.load(),
        speak.lane,
        manner,
        shape,
        sizes.languages,
    )
    vocoder = WindowedVocoder(
        vocode.graph("waveform_decoder"),
        vocode.lane,
        rate=sound.rate,
        hop=sound.hop,
        margin=sound.margin,
        frames=SameFrames(),
        plans=(plan,),
        pace=parts.pace,
    )
    return VitsVoice(encoder, vocoder, speakers, _OPTIONS)


FAMILY = Family(
    kind="coqui-tacotron",
    task="text-to-speech",
    roles={"speak": _ROLES, "vocode": ("waveform_decoder",)},
    make=_make,
    options={"speak": _OPTIONS | {"voice"}},
    needs=(Need("num2words", "what writes numbers as words is not installed", "vits"),),
    needs_of=_needs,
    check=_check,
)
