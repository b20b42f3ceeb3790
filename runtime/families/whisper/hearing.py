"""Whisper as a recogniser: utterances to words, and to partial transcripts while they are still
being spoken.

What successive partial hypotheses agree in is stable, and the next one goes on from there, so that
a partial never takes back what it gave as stable. The final transcript is decoded anew from the
whole utterance: going on from what is stable was measured to cost 1 to 1.5 points of word errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import ExecutorUnavailable, UsageError
from voxturn.runtime.families.base import Candidate, Family, Need, Parts, Recogniser
from voxturn.runtime.families.options import HearingOptions
from voxturn.runtime.families.whisper.agreement import Agreement
from voxturn.runtime.families.whisper.recognise import (
    LONGEST_S,
    MARKS,
    RATE,
    Features,
    Guard,
    Hypothesis,
    Whisper,
    language_code,
    mark,
    named,
)
from voxturn.runtime.families.whisper.words import words_of
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Partial, Samples, Speaking, Transcript
from voxturn.runtime.protocols import SpeechToTextExecutor
from voxturn.runtime.text.language import is_auto
from voxturn.runtime.text.tokenizer import JsonTokenizer, Tokenizer


class WhisperRecogniser:
    """A `Recogniser`. `language`, `names` and `guard` as in `Whisper`."""

    def __init__(
        self,
        executor: SpeechToTextExecutor,
        tokenizer: Tokenizer,
        features: Features,
        lane: Lane,
        language: str | Sequence[str],
        names: Sequence[str] = (),
        guard: Guard | None = None,
    ) -> None:
        self.whisper = Whisper(executor, tokenizer, features, language, names, guard)
        self.lane = lane

    def using(self, options: HearingOptions) -> WhisperRecogniser:
        """The same engine with other options, as in `Whisper.using`."""
        other = copy(self)
        other.whisper = self.whisper.using(options)
        return other

    def hear(self, prior: str = "") -> WhisperHearing:
        """Begin an utterance. `prior` is the language that the dialogue was in; empty or "auto" if
        none was.

        Raises `UnsupportedLanguage` for one that the model has not.
        """
        known = (
            prior and not is_auto(prior) and not self.whisper.translates
        )  # what came was English
        return WhisperHearing(self, language_code(self.whisper.tokenizer, prior) if known else "")

    async def warm(self) -> None:
        """Run the encoder and the decoder once."""
        await self.hear().final(np.zeros(RATE, np.float32))


class WhisperHearing:
    """One utterance: its language, asked of the model once, and the words of it that are stable."""

    def __init__(self, recogniser: WhisperRecogniser, prior: str) -> None:
        self._recogniser = recogniser
        self._prior = prior
        self._language = recogniser.whisper.language
        self._agreement: Agreement[tuple[int, ...]] = Agreement()

    async def partial(self, speaking: Speaking) -> Partial | None:
        """What was said so far, in one attempt; None where it is not believed."""
        whisper, lane = self._recogniser.whisper, self._recogniser.lane
        samples = speaking.samples
        if samples.size > LONGEST_S * RATE:
            return None
        # two calls: whoever is more urgent waits for one at most
        window = await lane.run(whisper.encode, samples)
        if not self._language:
            self._language = await lane.run(whisper.language_of, window, self._prior)
        known = [token for word in self._agreement.stable for token in word]
        hypothesis = await lane.run(whisper.decode, window, self._language, known)
        if not hypothesis.believed or not hypothesis.text:
            return None
        words = words_of(hypothesis.ids, whisper.tokenizer, whisper.written(hypothesis.language))
        unstable = self._text(self._agreement.push(words))
        stable = self._text(self._agreement.stable).lstrip()
        unstable = unstable if stable else unstable.lstrip()
        return Partial(stable, unstable, whisper.written(self._language), speaking.start)

    async def final(self, samples: Samples, words: bool = False) -> Transcript:
        """The words in 16 kHz samples of any length, with their times if `words`."""
        whisper, lane = self._recogniser.whisper, self._recogniser.lane
        size = int(LONGEST_S * RATE)
        pieces: list[Hypothesis] = []
        begin, left_out = 0, False
        while begin < samples.size:
            piece = samples[begin : begin + size]
            hypothesis = await lane.run(
                whisper.recognise, piece, self._language, self._prior, words
            )
            self._language = hypothesis.language
            if hypothesis.believed or not left_out:  # a rest that is doubted may be no speech
                pieces.append(hypothesis.later(begin / RATE))
            left_out = hypothesis.rest_s is not None and not hypothesis.full
            begin += _heard(hypothesis, piece)
        spoken = [piece for piece in pieces if piece.text]
        return Transcript(
            " ".join(piece.text for piece in spoken),
            whisper.written(self._language),
            min((each.score for each in spoken or pieces), default=0.0),
            sum(piece.fallbacks for piece in pieces),
            words=tuple(word for piece in pieces for word in piece.words),
        )

    def _text(self, words: tuple[tuple[int, ...], ...]) -> str:
        tokenizer = self._recogniser.whisper.tokenizer
        return tokenizer.decode([token for word in words for token in word])


def _heard(hypothesis: Hypothesis, piece: Samples) -> int:
    """How many samples of a piece were heard: at least half a second, so that there is an end."""
    if hypothesis.rest_s is None:
        return piece.size
    return min(max(int(hypothesis.rest_s * RATE), RATE // 2), piece.size)


def as_whisper(recogniser: Recogniser) -> WhisperRecogniser:
    """A recogniser that is Whisper. Raises `UsageError` for another."""
    if not isinstance(recogniser, WhisperRecogniser):
        raise UsageError("this recogniser is not Whisper; name an artifact of Whisper")
    return recogniser


def log_mel(mels: int) -> Features:
    """Whisper's log-mel features, by faster-whisper's numpy implementation.

    Raises `ExecutorUnavailable`.
    """
    try:
        from faster_whisper.feature_extractor import FeatureExtractor
    except ImportError as exc:
        raise ExecutorUnavailable(
            "Whisper's features need faster-whisper; pip install 'voxturn[embedded]'"
        ) from exc
    extractor = FeatureExtractor(feature_size=mels)

    def features(samples: Samples) -> npt.NDArray[np.float32]:
        return np.asarray(extractor(samples, padding=0), np.float32)

    return features


def _make(parts: Parts) -> WhisperRecogniser:
    stage = parts.stage("transcribe")
    executor = stage.whisper()
    tokenizer = JsonTokenizer(stage.folder / "tokenizer.json")
    names = stage.settings.names
    features, languages = log_mel(executor.mels), str(parts.languages)
    return WhisperRecogniser(executor, tokenizer, features, stage.lane, languages, names)


def _check(candidate: Candidate) -> None:
    tokenizer = JsonTokenizer(candidate.folder / "tokenizer.json")
    for name in MARKS:
        mark(tokenizer, name)
    named(tokenizer, candidate.settings.names)
    if not is_auto(candidate.language):
        language_code(tokenizer, candidate.language)


FAMILY = Family(
    kind="whisper",
    task="speech-to-text",
    roles={"transcribe": ("whisper_encoder", "whisper_decoder")},
    make=_make,
    options={"transcribe": frozenset({"names"})},
    needs=(Need("faster_whisper", "Whisper's features are not installed", "embedded"),),
    served={"whisper_encoder": "whisper", "whisper_decoder": "whisper"},
    check=_check,
)
