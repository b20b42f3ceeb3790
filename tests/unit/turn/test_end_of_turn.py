"""Whether words sound finished, by language."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.messages import Transcript
from voxturn.runtime.turn.end_of_turn import (
    FINISHED,
    LIKELY,
    UNFINISHED,
    UNLIKELY,
    UNSURE,
    TextCompleteness,
)
from voxturn.runtime.turn.leading_words import LEADING

SILENCE = np.zeros(0, np.float32)


@pytest.mark.parametrize(
    ("language", "text", "chance"),
    [
        ("en", "What is the capital of France?", FINISHED),
        ("en", "What are you looking for?", UNSURE),
        ("en", "I am looking for.", UNFINISHED),
        ("en", "Please call me back at.", UNFINISHED),
        ("en", "Can you call me back at?", UNFINISHED),
        ("en", "The meeting is on.", UNFINISHED),
        ("en", "Which floor do you live on?", UNSURE),
        ("en", "Where does he live? Please write to?", UNFINISHED),
        ("en", "My number is 555.", UNFINISHED),
        ("en", "My number is 5, 5.", UNFINISHED),
        ("en", "It is five five.", UNFINISHED),
        ("en", "Is it 0175?", UNFINISHED),
        ("en", "It starts at 10:30.", UNFINISHED),
        ("en", "It costs 50%.", LIKELY),
        ("en", "It takes 5 minutes.", LIKELY),
        ("en", "I want this one.", LIKELY),
        ("en", "Two one.", UNFINISHED),
        ("en", "My name is S-M-I.", UNFINISHED),
        ("en", "My name is J. O. H.", UNFINISHED),
        ("en", "It is spelled K?", UNFINISHED),
        ("en", "He came in.", UNSURE),
        ("en", "“At.”", UNFINISHED),
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
        ("de", "Meine Nummer ist null eins.", UNFINISHED),
        ("de", "Mach bitte das Licht an.", UNSURE),
        ("de", "Das ist für.", UNFINISHED),
        ("fr", "Je voudrais un café et", UNFINISHED),
        ("fr", "Je voudrais aller à.", UNFINISHED),
        ("fr", "Il faut attendre jusqu'à.", UNFINISHED),
        ("es", "Mi número es seis, cinco.", UNFINISHED),
        ("es", "Vivo en.", UNFINISHED),
        ("ru", "Мой номер 8.", UNFINISHED),
        ("ru", "Позвоните мне в.", UNFINISHED),
        ("hi", "मुझे और।", UNFINISHED),
        ("hi", "मेरा नंबर ५ है।", LIKELY),
        ("hi", "मेरा नंबर है ५।", UNFINISHED),
        ("tr", "Benim için.", UNFINISHED),
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
        ("ar", "اتصل بي على.", UNFINISHED),
        ("ar", "أريد أن أسافر إلى؟", UNFINISHED),
        ("ar", "أريد الشاي و.", UNFINISHED),
        ("ar", "رقمي هو ٥٥.", UNFINISHED),
        ("ar", "رقمي هو.", UNFINISHED),
        ("ar", "من هو؟", FINISHED),
        ("ar", "رقم الهاتف خمسة ثلاثة.", UNFINISHED),
        ("ar", "اسمي م.", UNFINISHED),
        ("ar", "ذهبت إلى السوق.", LIKELY),
        ("zh", "我想喝咖啡，", UNFINISHED),
        ("zh", "我想去但是", UNFINISHED),
        ("zh", "现在几点？", FINISHED),
        ("zh", "我的号码是三五。", UNFINISHED),
        ("zh", "今天星期五。", LIKELY),
        ("el", "Τι ώρα είναι;", UNSURE),
        ("el", "Πού πάμε;", FINISHED),
        ("ko", "제 번호는 공 일.", UNFINISHED),
        ("ko", "네.", LIKELY),
        ("ja", "行きたいけど", UNFINISHED),
        ("xx", "anything and.", LIKELY),
        ("xx", "anything 5.", UNFINISHED),
        ("xx", "anything K.", UNFINISHED),
    ],
)
def test_how_likely_words_are_all_that_will_be_said(
    language: str, text: str, chance: float
) -> None:
    assert TextCompleteness().chance(Transcript(text, language), SILENCE) == chance


@pytest.mark.parametrize("mark", ["", ".", "!", "?", "...", ",", "…", ". ", '."'])
@pytest.mark.parametrize("language", sorted(LEADING))
def test_no_mark_ends_what_ends_in_a_number(language: str, mark: str) -> None:
    for text in ("07", "٥", "५", "10:30", "+49 171", "A B", "x 5 5"):
        assert TextCompleteness().chance(Transcript(text + mark, language), SILENCE) == UNFINISHED


@given(st.sampled_from(sorted(LEADING)), st.sampled_from([".", "!", "?", ""]), st.data())
@settings(max_examples=150)
def test_no_mark_ends_what_ends_in_a_word_that_always_leads_on(
    language: str, mark: str, data: st.DataObject
) -> None:
    word = data.draw(st.sampled_from(sorted(LEADING[language].always)))
    chance = TextCompleteness().chance(Transcript(f"x {word}{mark}", language), SILENCE)
    assert chance == UNFINISHED


@given(st.text(max_size=40), st.sampled_from([*LEADING, "xx"]))
@settings(max_examples=200)
def test_any_text_has_a_chance(text: str, language: str) -> None:
    assert 0 <= TextCompleteness().chance(Transcript(text, language), SILENCE) <= 1
