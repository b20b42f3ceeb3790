"""The short-window guard: what is believed, what is tried again, what is silence."""

from __future__ import annotations

import numpy as np
import pytest
from voxturn.runtime.errors import UnsupportedLanguage
from voxturn.runtime.executors.fake import FakeWhisper
from voxturn.runtime.handoff import Lane
from voxturn.runtime.messages import Transcript
from voxturn.runtime.protocols import Generated
from voxturn.runtime.stages.transcribe import Transcribe, repeats
from voxturn.runtime.text.filter import Filtered, PassAll

from tests.conftest import CharTokenizer, mel

TOKENS = CharTokenizer()


def result(text: str, score: float = -0.2, no_speech: float = 0.0) -> Generated:
    return Generated(tuple(TOKENS.encode(text)), score, no_speech)


async def transcribed(results: list[Generated], seconds: float, language: str = "en") -> tuple[Transcript, list[int]]:
    whisper = FakeWhisper(results, "ar")
    lane = Lane("transcribe")
    stage = Transcribe(whisper, TOKENS, mel, lane, language, PassAll())
    transcript = await stage.transcribe(np.zeros(int(16000 * seconds), np.float32))
    lane.close()
    return transcript, whisper.encoded_frames


async def test_a_good_result_takes_one_short_window() -> None:
    transcript, frames = await transcribed([result("Good morning.")], 3.0)
    assert transcript == Transcript("Good morning.", "en", -0.2, 0)
    assert frames == [600]
    _, frames = await transcribed([result("Good morning.")], 7.0)
    assert frames == [900]


async def test_repetition_is_tried_again_on_a_longer_window() -> None:
    runaway = result("turn on the light turn on the light")
    transcript, frames = await transcribed([runaway, result("Turn on the light.")], 4.0)
    assert (transcript.text, transcript.fallbacks) == ("Turn on the light.", 1)
    assert frames == [600, 1000]


async def test_low_confidence_is_tried_up_to_the_full_window() -> None:
    transcript, frames = await transcribed([result("a", -3.0), result("b", -3.0), result("c", -3.0)], 2.0)
    assert (transcript.text, transcript.fallbacks) == ("c", 2)
    assert frames == [600, 1000, 3000]


async def test_a_runaway_on_every_window_is_no_text() -> None:
    transcript, _ = await transcribed([result("no no no no " * 20)], 20.0)
    assert transcript.text == ""


async def test_length_is_capped_by_the_duration() -> None:
    transcript, _ = await transcribed([result("x" * 400)], 1.0)
    assert len(transcript.text) <= 20


async def test_no_speech_is_silence() -> None:
    transcript, frames = await transcribed([result("Thanks for watching!", -1.5, 0.9)], 2.0)
    assert transcript.text == ""
    assert len(frames) == 1


async def test_no_samples_are_silence_without_a_call() -> None:
    transcript, frames = await transcribed([result("?")], 0.0)
    assert (transcript.text, frames) == ("", [])


async def test_long_audio_is_taken_in_pieces() -> None:
    transcript, frames = await transcribed([result("one"), result("two")], 40.0)
    assert transcript.text == "one two"
    assert frames == [3000, 1400]


async def test_auto_asks_the_model_for_the_language() -> None:
    transcript, _ = await transcribed([result("مرحبا")], 2.0, "auto")
    assert (transcript.language, transcript.text) == ("ar", "مرحبا")


def test_an_unknown_language_is_refused_when_it_is_made() -> None:
    lane = Lane("transcribe")
    with pytest.raises(UnsupportedLanguage, match="'xx'"):
        Transcribe(FakeWhisper([result("")]), TOKENS, mel, lane, "xx", PassAll())
    lane.close()


async def test_the_filter_sees_what_was_heard() -> None:
    class Upper:
        name = "upper"

        def check(self, text: str, direction: str) -> Filtered:
            return Filtered(text.upper(), (direction,))

    lane = Lane("transcribe")
    stage = Transcribe(FakeWhisper([result("quiet")]), TOKENS, mel, lane, "en", Upper())
    transcript = await stage.transcribe(np.zeros(16000, np.float32))
    lane.close()
    assert (transcript.text, transcript.filtered) == ("QUIET", ("in",))


def test_repeats_finds_a_run_of_words_that_comes_twice() -> None:
    assert repeats("We spent the whole summer by the sea. We spent the whole summer", 4)
    assert not repeats("No, no, no. I said no.", 4)
    assert not repeats("", 4)
