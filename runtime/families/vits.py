"""VITS voices as Piper publishes them: phonemes of espeak-ng to latents, and these to audio, window
by window.

Source: Kim et al. 2021; the graph that Piper's voices carry, cut in two by `export.vits`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from voxturn.runtime.audio.window import Plan
from voxturn.runtime.errors import InferenceFailed, UnsupportedLanguage
from voxturn.runtime.families.base import (
    WORDS,
    Candidate,
    Family,
    Need,
    NoPreparation,
    Parts,
    VoiceOptions,
)
from voxturn.runtime.families.windowed import Latents, SameFrames, WindowedVocoder
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import PcmChunk, Sentence
from voxturn.runtime.models.manifest import Manifest, reading, whole
from voxturn.runtime.protocols import GraphExecutor, Tensor
from voxturn.runtime.text.language import base_code, find, is_auto
from voxturn.runtime.text.phonemes import EspeakPhonemizer
from voxturn.runtime.text.split import filled

_OPTIONS = frozenset({"seed", "speed"})
_WARM = Sentence("Ready.", 0)
_LONGEST_TEXT, _MOST_IDS = 1000, 500
"""Characters and phoneme ids that are encoded at once: 15 s of speech, a long sentence. Nothing can
interrupt a call, and its time grows faster than its length."""


class Phonemizer(Protocol):
    """Text to the voice's phoneme ids; empty for text that has no sound."""

    def ids(self, text: str) -> list[int]: ...


class VitsEncoder:
    """Sentences to latents, a frame each. `scales`: noise of the prior, length, noise of the
    durations, at speed 1.

    The same seed and text give the same latents. A sentence with too much to say for one call is
    said in pieces.
    """

    def __init__(
        self,
        graph: GraphExecutor,
        phonemizer: Phonemizer,
        lane: Lane,
        scales: Sequence[float],
        noise_frames: int,
        seed: int = 0,
        speed: float = 1.0,
    ) -> None:
        self._graph = graph
        self._phonemizer = phonemizer
        self._lane = lane
        self._scales = scales
        self._noise_frames = noise_frames
        self._seed = seed
        self._speed = speed

    def using(self, seed: int | None, speed: float | None) -> VitsEncoder:
        """The same with another seed or speed; None: this one's."""
        return VitsEncoder(
            self._graph,
            self._phonemizer,
            self._lane,
            self._scales,
            self._noise_frames,
            self._seed if seed is None else seed,
            self._speed if speed is None else speed,
        )

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[Latents, None]:
        """Latents `[frames, channels]` of each sentence, or piece of one, that has a sound."""
        try:
            async for sentence in sentences:
                texts, number = deque(_cut(sentence.text, _LONGEST_TEXT)), 0
                while texts:
                    values = await self._lane.run(self._encode, texts, sentence, number)
                    number += 1
                    if values is not None:
                        yield Latents(values, sentence)
        finally:
            await close_iterator(sentences)

    def _encode(
        self, texts: deque[str], sentence: Sentence, number: int
    ) -> npt.NDArray[np.float32] | None:
        """The latents of the sentence's next piece, which is taken from `texts`."""
        ids = self._next_ids(texts)
        if not ids:
            return None
        seed = [self._seed, sentence.index, number] if number else [self._seed, sentence.index]
        random = np.random.default_rng(seed)
        prior, length, durations = self._scales
        inputs: dict[str, Tensor] = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([prior, length / self._speed, durations], np.float32),
            "duration_noise": random.standard_normal((1, 2, len(ids)), np.float32),
            "prior_noise": random.standard_normal((1, 192, self._noise_frames), np.float32),
        }
        try:
            latents = self._graph.run(inputs)["latents"]
        except InferenceFailed as exc:
            raise InferenceFailed(f"speak: {sentence.text[:40]!r}: {exc}") from exc
        return np.ascontiguousarray(latents[0].T)

    def _next_ids(self, texts: deque[str]) -> list[int]:
        """The ids of the first text, of which what is too much for one call goes back."""
        text = texts.popleft()
        while len(ids := self._phonemizer.ids(text)) > _MOST_IDS and len(text) > 1:
            text, *rest = _cut(text, (len(text) + 1) // 2)
            texts.extendleft(reversed(rest))
        return ids


def _cut(text: str, limit: int) -> list[str]:
    """A text in pieces of at most `limit` characters, of whole sentences where they fit; what is
    short enough as it is."""
    return [text] if len(text) <= limit else list(filled(text, limit))


class VitsVoice:
    """One speaker of one language."""

    texts = WORDS
    speakers = ()

    def __init__(self, encoder: VitsEncoder, vocoder: WindowedVocoder, language: str) -> None:
        self._encoder = encoder
        self._vocoder = vocoder
        self.language = language
        self.languages = (language,)

    @property
    def rate(self) -> int:
        """Of its samples, in Hz."""
        return self._vocoder.rate

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        """Sentences as audio, window by window."""
        async with aclosing(self._vocoder(self._encoder(sentences))) as chunks:
            async for chunk in chunks:
                yield chunk

    def using(self, options: VoiceOptions) -> VitsVoice:
        """The same with another `seed` or `speed`. Raises `UsageError`, `UnsupportedLanguage`."""
        values = options.only(_OPTIONS | {"language"}, "a VITS voice")
        language = values.pop("language", self.language)
        if not find(language, self.languages.__contains__):
            raise UnsupportedLanguage(f"this voice speaks {self.language!r}, not {language!r}")
        encoder = self._encoder.using(values.get("seed"), values.get("speed"))
        return VitsVoice(encoder, self._vocoder, self.language)

    def preparation(self) -> NoPreparation:
        """Nothing is computed of a sentence before it is whole: its prosody depends on all of it."""
        return NoPreparation()

    async def warm(self, later: bool = False) -> None:
        """Run both graphs; with `later`, compile what later windows would wait for."""
        async with aclosing(self._encoder(_once(_WARM))) as pieces:
            async for latents in pieces:
                if later:
                    await self._vocoder.warm_shapes(latents, idle=True)
                else:
                    await self._vocoder.warm(latents)


async def _once(sentence: Sentence) -> AsyncIterator[Sentence]:
    yield sentence


@dataclass(frozen=True)
class VitsSizes:
    """Of an artifact: espeak-ng's `voice` and the ids of its `phonemes`, the encoder's `scales` and
    `noise_frames`; of its audio `rate` in Hz, `hop` samples a frame, `margin` frames of context."""

    voice: str
    phonemes: Mapping[str, Sequence[int]]
    scales: tuple[float, float, float]
    noise_frames: int
    rate: int
    hop: int
    margin: int

    @classmethod
    def of(cls, folder: Path, manifest: Manifest) -> VitsSizes:
        """Raises `CorruptModel`."""
        with reading(folder):
            p = manifest.properties
            phonemes = {str(s): [int(i) for i in ids] for s, ids in p["phoneme_id_map"].items()}
            return cls(
                str(p["espeak_voice"]),
                phonemes,
                (float(p["noise_scale"]), float(p["length_scale"]), float(p["noise_w"])),
                whole(p, "noise_frames"),
                whole(p, "sample_rate"),
                whole(p, "hop"),
                whole(p, "margin", 0),
            )


def _check(candidate: Candidate) -> None:
    sizes = VitsSizes.of(candidate.folder, candidate.manifest)
    speaks = base_code(sizes.voice)
    if not is_auto(candidate.language) and not find(candidate.language, speaks.__eq__):
        raise UnsupportedLanguage(
            f"voice {candidate.settings.model!r} does not speak {candidate.language!r}; "
            "choose another voice in the profile"
        )


def _make(parts: Parts) -> VitsVoice:
    speak, vocode = parts.stage("speak"), parts.stage("vocode")
    sizes = VitsSizes.of(speak.folder, speak.manifest)
    encoder = VitsEncoder(
        speak.graph("acoustic_encoder"),
        EspeakPhonemizer(sizes.voice, sizes.phonemes),
        speak.lane,
        sizes.scales,
        sizes.noise_frames,
        speak.option("seed", 0),
        speak.option("speed", 1.0),
    )
    audio = VitsSizes.of(vocode.folder, vocode.manifest)
    vocoder = WindowedVocoder(
        vocode.graph("waveform_decoder"),
        vocode.lane,
        rate=audio.rate,
        hop=audio.hop,
        margin=audio.margin,
        frames=SameFrames(),
        plans=(Plan(),),
        pace=parts.pace,
    )
    return VitsVoice(encoder, vocoder, base_code(sizes.voice))


FAMILY = Family(
    kind="vits",
    task="text-to-speech",
    roles={"speak": ("acoustic_encoder",), "vocode": ("waveform_decoder",)},
    make=_make,
    options={"speak": _OPTIONS},
    needs=(
        Need("piper", "espeak-ng's phonemes are not installed", "vits"),
        Need("num2words", "what writes numbers as words is not installed", "vits"),
    ),
    check=_check,
)
