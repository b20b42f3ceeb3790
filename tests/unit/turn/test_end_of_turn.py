"""Whether words sound finished, by language."""

from __future__ import annotations

import numpy as np
import pytest
from voxturn.runtime.messages import Transcript
from voxturn.runtime.turn.end_of_turn import (
    FINISHED,
    LIKELY,
    UNFINISHED,
    UNLIKELY,
    UNSURE,
    TextCompleteness,
)

SILENCE = np.zeros(0, np.float32)


@pytest.mark.parametrize(
    ("language", "text", "chance"),
    [
        ("en", "What is the capital of France?", FINISHED),
        ("en", "What are you looking for?", UNSURE),
        ("en", "I am looking for.", UNSURE),
        ("en", "I am looking for", UNFINISHED),
        ("en", "How is she?", FINISHED),
        ("en", "Where are we?", FINISHED),
        ("en", "That is where we are", UNFINISHED),
        ("en", "Turn the lights on.", UNSURE),
        ("en", "Turn on the lights.", LIKELY),
        ("en", "“Turn on the lights.”", LIKELY),
        ("en", "Turn on the lights and", UNFINISHED),
        ("en", "Turn on the lights and.", UNFINISHED),
        ("en", "What is the?", UNFINISHED),
        ("en", "Well, um...", UNFINISHED),
        ("en", "I would like,", UNFINISHED),
        ("en", "I'm", UNFINISHED),
        ("en", "turn on the lights", UNLIKELY),
        ("en", "", UNLIKELY),
        ("de", "Wie spät ist es?", FINISHED),
        ("de", "Ich komme, weil.", UNFINISHED),
        ("fr", "Je voudrais un café et", UNFINISHED),
        ("es", "¿Qué hora es?", FINISHED),
        ("it", "Che ore sono?", FINISHED),
        ("fr", "Quelle heure est-il ?", FINISHED),
        ("pt", "Que horas são?", FINISHED),
        ("nl", "Hoe laat is het?", FINISHED),
        ("nl", "Ik denk dat het", UNFINISHED),
        ("es", "¿Dónde está la estación?", FINISHED),
        ("ar", "ما هي عاصمة فرنسا؟", FINISHED),
        ("ar", "أريد أن أذهب إلى", UNFINISHED),
        ("ar", "أريد القهوة،", UNFINISHED),
        ("zh", "我想喝咖啡，", UNFINISHED),
        ("zh", "我想去但是", UNFINISHED),
        ("zh", "现在几点？", FINISHED),
        ("ja", "行きたいけど", UNFINISHED),
        ("xx", "anything and.", LIKELY),
    ],
)
def test_how_likely_words_are_all_that_will_be_said(
    language: str, text: str, chance: float
) -> None:
    assert TextCompleteness().chance(Transcript(text, language), SILENCE) == chance
