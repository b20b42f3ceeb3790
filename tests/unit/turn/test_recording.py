"""A recording's utterances, each with its words and its times."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.audio.container import ReadReport
from voxturn.runtime.errors import AudioTooLong, InferenceFailed
from voxturn.runtime.families.fake import FakeActivity, FakeRecogniser
from voxturn.runtime.frames import RATE, frames_from
from voxturn.runtime.messages import AudioFrame, Samples, Transcript, Word
from voxturn.runtime.text.filter import PassAll
from voxturn.runtime.turn.listen import Endpointing, Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser
from voxturn.runtime.turn.recording import Passage, for_files, passages


def audio(*seconds: float) -> Samples:
    """Sound of so many seconds, silence for the next, and so on."""
    return np.concatenate(
        [np.full(round(s * RATE), 0.0 if i % 2 else 0.3, np.float32) for i, s in enumerate(seconds)]
    )


def listen() -> Listen:
    return Listen(FakeActivity(), for_files(Endpointing()))


class Counting(FakeRecogniser):
    """Remembers in which language each utterance was expected."""

    def __init__(self) -> None:
        super().__init__("two words", "de")
        self.priors: list[str] = []

    def hear(self, prior: str = "") -> Any:
        self.priors.append(prior)
        return super().hear(prior)


async def heard(
    recogniser: Any, samples: Samples, words: bool = False, begin_s: float = 0.0
) -> list[Passage]:
    frames = frames_from(samples)
    report = ReadReport()
    report.begin_s = begin_s
    filtered = FilteredRecogniser(recogniser, PassAll())
    found = passages(listen(), filtered, frames, report, words)
    return [each async for each in found if each is not None]


async def test_each_utterance_is_a_passage_at_its_time() -> None:
    recogniser = Counting()
    first, second = await heard(recogniser, audio(1.0, 3.0, 2.0), words=True)
    assert first.transcript.text == second.transcript.text == "two words"
    assert first.begin_s == 0.0
    assert second.begin_s == pytest.approx(3.8, abs=0.1)  # a little before it
    assert [word.text for word in second.transcript.words] == ["two", "words"]
    assert second.transcript.words[0].begin_s == second.begin_s
    assert second.transcript.words[-1].end_s == pytest.approx(second.end_s, abs=0.1)
    assert recogniser.priors == ["", "de"]


async def test_silence_is_none() -> None:
    assert await heard(FakeRecogniser("words"), audio(0.0, 5.0)) == []


async def test_nothing_begins_before_the_sound_does() -> None:
    (passage,) = await heard(FakeRecogniser("one two"), audio(1.0), words=True, begin_s=0.7)
    assert passage.begin_s == 0.7
    first, second = passage.transcript.words
    assert first == Word("one", 0.7, 0.7)
    assert second.begin_s == 0.7
    assert second.end_s > 0.9


async def test_what_has_no_words_is_left_out() -> None:
    class Deaf(FakeRecogniser):
        def hear(self, prior: str = "") -> Any:
            class Hearing:
                async def final(self, samples: Samples, words: bool = False) -> Transcript:
                    return Transcript("", "en")

            return Hearing()

    assert await heard(Deaf("words"), audio(1.0)) == []


class Frames:
    """Frames that tell whether they were closed; `error` comes after the first."""

    def __init__(self, error: Exception | None = None) -> None:
        self.closed = False
        self.error = error

    async def __call__(self) -> AsyncGenerator[AudioFrame, None]:
        try:
            sound = audio(1.0, 3.0)
            yield AudioFrame(sound, RATE, 0, 0.0)
            if self.error is not None:
                raise self.error
            while True:
                yield AudioFrame(sound, RATE, 0, 0.0)
        finally:
            self.closed = True


async def test_closing_it_closes_the_frames() -> None:
    frames = Frames()
    filtered = FilteredRecogniser(FakeRecogniser("words"), PassAll())
    found = passages(listen(), filtered, frames(), ReadReport())
    assert (await anext(found)).transcript.text == "words"
    await found.aclose()
    assert frames.closed


async def test_an_error_of_reading_comes_after_what_was_heard() -> None:
    frames = Frames(AudioTooLong("too long"))
    filtered = FilteredRecogniser(FakeRecogniser("words"), PassAll())
    found = passages(listen(), filtered, frames(), ReadReport())
    assert (await anext(found)).transcript.text == "words"
    with pytest.raises(AudioTooLong):
        await anext(found)
    assert frames.closed


async def test_an_error_of_the_recogniser_closes_the_frames() -> None:
    class Broken(FakeRecogniser):
        def hear(self, prior: str = "") -> Any:
            raise InferenceFailed("broken")

    frames = Frames()
    filtered = FilteredRecogniser(Broken("words"), PassAll())
    with pytest.raises(InferenceFailed):
        await anext(passages(listen(), filtered, frames(), ReadReport()))
    assert frames.closed
