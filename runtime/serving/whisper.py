"""The served Whisper: whole recordings, utterances piece by piece, and the calls of an engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from voxturn.runtime.errors import (
    AudioTooLong,
    ForgottenSequence,
    TooManyStreams,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.families.options import HearingOptions
from voxturn.runtime.families.whisper.hearing import as_whisper
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import Samples, Speaking, Transcript
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Profile
from voxturn.runtime.remote.contract import END, LONGEST_AUDIO_S, REQUEST, SEQUENCE, START
from voxturn.runtime.remote.tensors import Tensors, of_event, text_tensor
from voxturn.runtime.serving.calls import WhisperCalls
from voxturn.runtime.serving.inputs import Inputs, audio_of, name_of, options_of
from voxturn.runtime.serving.kept import Kept
from voxturn.runtime.turn.recognise import FilteredHearing, FilteredRecogniser

_SEQUENCES, _IDLE_S = 128, 10.0
_MOST_HELD_S = 3600.0
"""Seconds of all utterances together that have not ended: 230 MB."""


class WhisperHandler:
    """`audio` to `text`, `language` and `confidence`, all of it in `event`. `words` asks for their
    times. An empty `language` is the profile's, "auto" asks the model, nudged towards `prior`;
    `options` are those of `families.options`.

    Pieces of one sequence (`correlation`) are one utterance, whose first piece says so: each is
    answered with what was said so far, of which `stable` is not taken back; the last one with the
    final transcript. One that nobody has sent a piece of for ten seconds may have to make room for
    others, after ten minutes it is forgotten: a piece that comes later is refused. `request` asks
    the engine itself (`calls`).
    """

    engine = None

    def __init__(self, profile: Profile) -> None:
        self._parts = LoadedParts(profile)
        try:
            self._whisper = as_whisper(self._parts.recogniser())
            self._filter = self._parts.content_filter()
            self._recogniser = FilteredRecogniser(self._whisper, self._filter)
        except BaseException:
            self._parts.close()
            raise
        self._calls = WhisperCalls(self._whisper)
        self._utterances = Kept(
            "utterances", lambda: _Utterance(self._recogniser.hear()), _SEQUENCES, _IDLE_S
        )

    async def warm(self) -> None:
        await self._recogniser.warm()

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        if REQUEST in inputs:
            yield await self._calls(inputs)
        elif SEQUENCE in inputs:
            yield await self._piece(inputs)
        else:
            recogniser, words = self._recogniser, "words" in inputs and bool(inputs["words"][0])
            options = options_of(inputs, HearingOptions) or HearingOptions()
            if language := name_of(inputs, "language"):
                options = replace(options, language=language)
            recogniser = recogniser.using(options)
            prior = name_of(inputs, "prior")
            yield _heard(await recogniser.transcribe(audio_of(inputs), prior, words))

    def forget(self, sequence: str) -> None:
        """Forget an utterance of the client: later pieces of it are refused."""
        self._utterances.forget(sequence)

    def describe(self) -> dict[str, Any]:
        executor = self._whisper.whisper.executor
        return asdict(self._parts.info["transcribe"]) | {
            "multilingual": executor.multilingual,
            "aligns": executor.aligns,
            "mels": executor.mels,
            "takes_options": True,
        }

    def close(self) -> None:
        self._parts.close()

    async def _piece(self, inputs: Inputs) -> Tensors:
        """The next piece of an utterance.

        Once one of its pieces is missing, the others are refused.
        """
        name = name_of(inputs, SEQUENCE)
        self._check_whole(name, START in inputs)
        with self._utterances.use(name) as utterance:
            try:
                piece = audio_of(inputs)
                self._check_room(piece)
                utterance.add(piece)
            except VoxturnError:
                self._utterances.forget(name)
                raise
            samples = np.concatenate(utterance.pieces)
            if END in inputs:
                self._utterances.forget(name)
                return _heard(await utterance.hearing.final(samples))
            found = await utterance.hearing.partial(Speaking((samples,), RATE, 0))
        if found is None:
            return {"text": text_tensor(""), "stable": text_tensor("")}
        return {
            "text": text_tensor(found.stable + found.unstable),
            "stable": text_tensor(found.stable),
            "language": text_tensor(found.language),
            **of_event(found),
        }

    def _check_room(self, piece: Samples) -> None:
        held = sum(
            each.size for utterance in self._utterances.values() for each in utterance.pieces
        )
        if held + piece.size > _MOST_HELD_S * RATE:
            raise TooManyStreams(
                f"the utterances that have not ended hold {_MOST_HELD_S:.0f} s of audio; try again later"
            )

    def _check_whole(self, name: str, start: bool) -> None:
        """Raise for a first piece of an utterance that is there already, and for a later one of one
        that is not."""
        if start and name in self._utterances:
            raise UsageError(f"sequence {name}: has begun already; choose another sequence id")
        if not start and name not in self._utterances:
            raise ForgottenSequence(
                f"sequence {name}: its earlier pieces are not here (any more), so its transcript would not be whole; "
                "send it again from its beginning, whose piece says that it starts the sequence"
            )


@dataclass
class _Utterance:
    """The pieces of an utterance that have come, and what hears them."""

    hearing: FilteredHearing
    pieces: list[Samples] = field(default_factory=list)

    def add(self, piece: Samples) -> None:
        """The next piece. Raises `AudioTooLong`."""
        if sum(each.size for each in self.pieces) + piece.size > LONGEST_AUDIO_S * RATE:
            raise AudioTooLong(
                f"a sequence may have {LONGEST_AUDIO_S:.0f} s of audio; end it and begin another"
            )
        self.pieces.append(piece)


def _heard(found: Transcript) -> Tensors:
    return {
        "text": text_tensor(found.text),
        "stable": text_tensor(found.text),
        "language": text_tensor(found.language),
        "confidence": np.array([found.confidence], np.float32),
        **of_event(found),
    }
