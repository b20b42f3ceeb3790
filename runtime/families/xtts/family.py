"""XTTS v2 as a family: what its artifacts must have, and how the voice is built from its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voxturn.runtime.audio.window import Plan
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.errors import UnsupportedLanguage, UsageError
from voxturn.runtime.families.base import Candidate, Family, Need, Parts, StageParts, Voice
from voxturn.runtime.families.by_language import VoiceByLanguage
from voxturn.runtime.families.windowed import WindowedVocoder
from voxturn.runtime.families.xtts import plans
from voxturn.runtime.families.xtts.frames import XttsFrames
from voxturn.runtime.families.xtts.prompt import XttsIds
from voxturn.runtime.families.xtts.speak import SAMPLING, Manner, XttsSpeech
from voxturn.runtime.families.xtts.speakers import Speaker, Speakers, in_style, speaker_of
from voxturn.runtime.families.xtts.stop_guard import SilenceGuard
from voxturn.runtime.families.xtts.text import XttsTokenizer
from voxturn.runtime.families.xtts.voice import XttsVoice
from voxturn.runtime.families.xtts.voices import Cloner, VoiceStore, forget_voices
from voxturn.runtime.models.manifest import Manifest, reading, whole
from voxturn.runtime.protocols import GraphExecutor

VOCODER, SEQUENCES = "windowed_waveform_decoder", "sequence_waveform_decoder"
_OPTIONS = frozenset(
    {
        "guard",
        "repetition_penalty",
        "seed",
        "slots",
        "speed",
        "style",
        "temperature",
        "top_k",
        "top_p",
        "voice",
    }
)


def _make(parts: Parts) -> XttsVoice:
    speak, vocode = parts.stage("speak"), parts.stage("vocode")
    ids = XttsIds.from_properties(speak.manifest.properties)
    store = VoiceStore(parts.home, speak.folder, speak.manifest)
    tokenizer = _tokenizer(speak.folder, ids)
    manner = _manner(speak, store, tokenizer.known(parts.languages.first))
    service = speak.tokens("token_decoder", speak.option("slots", 1), ids.positions)
    graph = vocode.graph(VOCODER)
    vocoder = _vocoder(graph, vocode, parts)
    speech = XttsSpeech(service, ids, tokenizer, manner, vocoder.urgent_for(vocoder.plan))
    return XttsVoice(speech, vocoder, Speakers(store, lambda: cloner(parts)))


def as_xtts(voice: Voice) -> XttsVoice:
    """A voice that is XTTS; of several, the usual one. Raises `UsageError` for another."""
    usual = voice.usual if isinstance(voice, VoiceByLanguage) else voice
    if not isinstance(usual, XttsVoice):
        raise UsageError("this voice is not XTTS; name an artifact of XTTS")
    return usual


def check_xtts(manifest: Manifest, name: str) -> None:
    """Raise `UsageError` for an artifact that is not XTTS; `name` is what the user calls it."""
    if manifest.kind != FAMILY.kind:
        raise UsageError(f"{name}: is a {manifest.kind} artifact, not XTTS")


def cloner(parts: Parts) -> Cloner:
    """What makes voices of recordings for the profile's XTTS.

    Its graphs run in the caller's thread.
    """
    speak = parts.stage("speak")
    conditioning, speaker = (
        speak.graph(role, beside="clone") for role in ("conditioning_encoder", "speaker_encoder")
    )
    return Cloner(speak.folder, speak.manifest.properties, conditioning, speaker)


def _manner(speak: StageParts, store: VoiceStore, language: str) -> Manner:
    """The profile's voice or the first that is here, and how it speaks."""
    sampling = Sampling(
        temperature=speak.option("temperature", SAMPLING.temperature),
        top_k=speak.option("top_k", SAMPLING.top_k),
        top_p=speak.option("top_p", SAMPLING.top_p),
        repetition_penalty=speak.option("repetition_penalty", SAMPLING.repetition_penalty),
        seed=speak.option("seed", SAMPLING.seed),
    )
    speaker = _speaker(speak.option("voice", ""), speak.option("style", ""), store)
    return Manner(
        voice=None if speaker is None else speaker.voice,
        language=language,
        sampling=sampling,
        speed=speak.option("speed", 1.0),
        guard=speak.option("guard", True),
        styles={} if speaker is None else speaker.styles,
    )


def _speaker(name: str, style: str, store: VoiceStore) -> Speaker | None:
    """The named speaker, or the first that is here; None where there is none."""
    name = name or next(iter(store.names()), "")
    return in_style(speaker_of(store, name) if name else None, style)


@dataclass(frozen=True)
class VocoderSizes:
    """Of an artifact's vocoder: `rate` in Hz, `hop` samples a frame, `margin` frames of context,
    latents to frames."""

    rate: int
    hop: int
    margin: int
    frames: XttsFrames

    @classmethod
    def of(cls, folder: Path, manifest: Manifest) -> VocoderSizes:
        """Raises `CorruptModel`."""
        with reading(folder):
            p = manifest.properties
            rate, hop = whole(p, "output_sample_rate"), whole(p, "output_hop_length")
            return cls(rate, hop, whole(p, "margin", 0), XttsFrames.from_properties(p))


def _vocoder(graph: GraphExecutor, vocode: StageParts, parts: Parts) -> WindowedVocoder:
    sizes = VocoderSizes.of(vocode.folder, vocode.manifest)
    return WindowedVocoder(
        graph,
        vocode.lane,
        rate=sizes.rate,
        hop=sizes.hop,
        margin=sizes.margin,
        frames=sizes.frames,
        plans=_plans(graph, parts),
        pace=parts.pace,
        guard=lambda: SilenceGuard(sizes.rate),
    )


def _plans(graph: GraphExecutor, parts: Parts) -> Sequence[Plan]:
    if graph.few_shapes:
        return plans.FEW_SHAPES
    return plans.IN_TURN if parts.in_turn else plans.ALONE


def _tokenizer(folder: Path, ids: XttsIds) -> XttsTokenizer:
    return XttsTokenizer(folder / "vocab.json", max_tokens=ids.max_text - 2)


def _check(candidate: Candidate) -> None:
    ids = XttsIds.from_properties(candidate.manifest.properties)
    VocoderSizes.of(candidate.folder, candidate.manifest)
    tokenizer = _tokenizer(candidate.folder, ids)
    try:
        tokenizer.known(candidate.language)
    except UnsupportedLanguage as exc:
        raise UnsupportedLanguage(
            f"voice model {candidate.settings.model!r} does not speak {candidate.language!r}; "
            f"it has {', '.join(tokenizer.languages)}"
        ) from exc
    store = VoiceStore(candidate.home, candidate.folder, candidate.manifest)
    settings = candidate.settings
    _speaker(getattr(settings, "voice", "") or "", getattr(settings, "style", "") or "", store)


def _library(home: Path, folder: Path, manifest: Manifest) -> VoiceStore:
    return VoiceStore(home, folder, manifest)


FAMILY = Family(
    kind="xtts",
    task="text-to-speech",
    roles={"speak": ("token_decoder",), "vocode": (VOCODER,)},
    make=_make,
    options={"speak": _OPTIONS},
    needs=(Need("num2words", "what writes numbers as words is not installed", "xtts"),),
    served={"token_decoder": "xtts", VOCODER: "xtts_vocoder"},
    check=_check,
    takes_turns=True,
    library=_library,
    forget=forget_voices,
    cloner=cloner,
)
