"""What `bench telephony` does to a clip, and what it counts."""

from __future__ import annotations

import numpy as np
import pytest
from voxturn.bench.corpus import Clip, Voice
from voxturn.bench.harness import Result
from voxturn.bench.telephony import companded, interval, over_the_line, report, through
from voxturn.runtime.frames import RATE

NOTHING = np.zeros(0, np.float32)


def tone(hertz: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)).astype(np.float32)


def level(samples: np.ndarray) -> float:
    return float(np.sqrt((samples[RATE // 4 : RATE * 3 // 4] ** 2).mean()))


def test_a_line_lets_speech_through_and_nothing_above_4_khz() -> None:
    assert level(over_the_line(tone(1000))) == pytest.approx(level(tone(1000)), rel=0.03)
    assert level(over_the_line(tone(6000))) < 0.01 * level(tone(6000))


def test_nothing_of_a_clip_is_lost() -> None:
    assert over_the_line(tone(1000)).size >= RATE


def test_a_lower_rate_takes_away_what_lies_above_it_alone() -> None:
    assert level(through(10000, tone(4400))) == pytest.approx(level(tone(4400)), rel=0.03)
    assert level(through(8000, tone(4400))) < 0.02 * level(tone(4400))


def test_the_code_alone_takes_away_no_band() -> None:
    assert level(companded(tone(6000))) == pytest.approx(level(tone(6000)), rel=0.03)
    assert not np.array_equal(companded(tone(6000)), tone(6000))


def clip(text: str, noise_db: float | None, voice: str = "joe") -> Clip:
    return Clip(text, NOTHING, Voice(voice), noise_db, "2s")


def test_errors_are_paired_by_clip() -> None:
    result = Result("telephony")
    made = [clip("Turn on the light.", None), clip("Go on.", 5.0, "en-us")]
    heard = {"16k": ["turn on the light", "go"], "8k": ["turn of the light", "go on"]}
    report(result, made, heard)
    values = {name: metric["value"] for name, metric in result.metrics.items()}
    assert values["telephony.16k.wer"] == values["telephony.8k.wer"] == pytest.approx(1 / 6, 1e-4)
    assert values["telephony.8k.wer_difference"] == 0
    assert values["telephony.8k.wer_difference.joe"] == 0.25
    assert values["telephony.8k.wer_difference.espeak"] == -0.5
    assert values["telephony.clips.worse"] == values["telephony.clips.better"] == 1
    assert values["telephony.16k.wer.clean"] == values["telephony.8k.wer.5db"] == 0
    assert values["telephony.8k.wer.clean"] == values["telephony.8k.wer.joe"] == 0.25
    assert values["telephony.words"] == 6
    assert result.notes["clips"][0]["8k"] == "turn of the light"


def test_the_interval_holds_the_difference() -> None:
    worse, words = np.array([1, 0, 0, 1] * 20), np.full(80, 5)
    low, high = interval(worse, words)
    assert low < 0.1 < high
    assert interval(np.zeros(9, int), np.full(9, 5)) == (0.0, 0.0)
