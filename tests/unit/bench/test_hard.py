"""What `bench stt --hard` counts: words that are lost, loops, and words of sounds that have none."""

from __future__ import annotations

import numpy as np
import pytest
from voxturn.bench.hard import SURE, Case, Heard, deletions, loops, paragraphs, report
from voxturn.bench.harness import Result

NOTHING = np.zeros(0, np.float32)


@pytest.mark.parametrize(
    ("first", "text", "lost"),
    [
        ("", "", 0),
        ("Turn on the light.", "turn on the light", 0),
        ("Turn on the light.", "", 4),
        ("No. No. No.", "No.", 2),
        ("Turn on the light.", "Turn off the light.", 0),
    ],
)
def test_words_that_a_transcript_lacks(first: str, text: str, lost: int) -> None:
    assert deletions(first, text) == lost


def test_a_loop_says_more_often_what_was_said() -> None:
    assert loops("Whatever they were.", "Whatever they were whatever they were.")
    assert loops("A human. A human.", "A human. A human. A human.")
    assert not loops("At six. At six.", "At 6. At 6.")
    assert not loops("A human. A human.", "A human. A human.")
    assert not loops("A human. A human.", "A human.")
    assert not loops("I sing and I dance", "I sing and I dance")
    assert not loops("Mama mea", "mă mă mea")  # misheard: no longer than what was said
    assert loops("Wake me at six. Wake me at six.", "Wake me at 6. Wake me at 6. Wake me at 6.")
    assert loops("Doctor", "Dakārākārākārākārākārākārākārā")
    assert not loops("Hahahahahahaha", "Hahahahahahaha")


def heard(text: str, said: str, first: str, score: float) -> Heard:
    return Heard(Case("read", "en", said, NOTHING), first, score, text, 0, 10.0)


def test_only_what_the_model_was_sure_of_can_be_lost() -> None:
    assert heard("", "Go on.", "Go on.", SURE + 0.1).lost == 2
    assert heard("", "Go on.", "Go on.", SURE - 0.1).lost == 0
    assert heard("Go on.", "Go on.", "Go on go on", -0.1).lost == 0  # the first one loops
    assert heard("", "", "Thank you.", -0.1).lost == 0  # a sound without words


def test_counts_by_group_and_a_row_for_every_clip() -> None:
    result = Result("stt-hard")
    sound = Heard(Case("sound", "en", "", NOTHING), "", -2.0, "Oh.", 2, 20.0)
    report(result, [heard("Go.", "Go on.", "Go on.", -0.1), sound])
    values = {name: metric.get("value") for name, metric in result.metrics.items()}
    assert values["stt.hard.read.lost_words"] == values["stt.hard.lost"] == 1
    assert values["stt.hard.sound.invented"] == values["stt.hard.invented"] == 1
    assert values["stt.hard.read.english_wer"] == 0.5
    assert values["stt.hard.clips"] == 2
    assert [row["heard"] for row in result.notes["clips"]] == ["Go.", "Oh."]
    assert result.notes["clips"][0]["first"] == "Go on."


def test_there_are_paragraphs_in_many_languages() -> None:
    rows = list(paragraphs())
    assert len({language for language, _, _ in rows}) == len(rows) >= 30
