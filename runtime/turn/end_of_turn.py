"""Whether what was said so far sounds finished. Pluggable; the default looks at how the transcript
ends.

A speech model writes a full stop after many a sentence that was only interrupted, so the last word
counts more than the mark: nobody ends with "and the", and of a number that is dictated the next
digits may come after a pause.
"""

from __future__ import annotations

import re
import unicodedata

from voxturn.runtime.messages import Samples, Transcript
from voxturn.runtime.text.scripts import script_of
from voxturn.runtime.turn.leading_words import LEADING, LETTERS, NO_WORDS, LeadingWords

FINISHED, LIKELY, UNSURE, UNLIKELY, UNFINISHED = 1.0, 0.8, 0.5, 0.25, 0.0
_LEADS_ON = 0.1  # of sound


def together(words: float, sound: float) -> float:
    """What words and sound say together, each from 0 (goes on) to 1 (is done).

    Each may say that somebody goes on: words that lead on, digits and spelled letters however they
    sound, and a melody that leads on whatever the words. Sound that says less than that says
    nothing: it was measured to be worth no more (docs/decisions/0025).
    """
    return UNFINISHED if sound < _LEADS_ON else words


def judged(
    by_words: bool, words: float | None, by_sound: bool, sound: float | None
) -> float | None:
    """How likely the speaker is done, of what is known by now; None where nothing judges that.

    Until the words are known, or the sound where it judges alone, he is not. Nobody waits for sound
    that is known after the words.
    """
    if by_words:
        if words is None or sound is None or not by_sound:
            return UNFINISHED if words is None else words
        return together(words, sound)
    if by_sound:
        return UNFINISHED if sound is None else sound
    return None


class TextCompleteness:
    """An `EndOfTurn` that looks at the words alone.

    A question is finished, a sentence likely so. After a comma, a dash, an ellipsis, digits, a
    spelled letter or a word that leads on it is not, whatever mark the speech model wrote
    (`LeadingWords` names the few exceptions). Languages without a list of words are judged by their
    marks, digits and letters.
    """

    def chance(self, transcript: Transcript, samples: Samples) -> float:
        """From 0 (goes on) to 1 (is done); the samples are not looked at."""
        text, language = transcript.text, transcript.language
        bare = text.rstrip(_CLOSERS)
        questions = _GREEK_QUESTIONS if language == "el" else _QUESTIONS
        question, sentence = bare.endswith(questions), bare.endswith(_SENTENCES)
        if not bare:
            return UNLIKELY
        if not question and bare.endswith(_PAUSES):
            return UNFINISHED
        last = _SENTENCE_END.split(bare.rstrip(_CLOSERS + "".join(questions + _SENTENCES)))[-1]
        leading, words = LEADING.get(language, NO_WORDS), _words_of(last)
        if last[-1:].isalnum() and _dictates(words, language, leading):
            return UNFINISHED
        by_word = _by_last_word(words, language, leading, question, sentence)
        if by_word is not None:
            return by_word
        return FINISHED if question else LIKELY if sentence else UNLIKELY


def _by_last_word(
    words: list[str], language: str, leading: LeadingWords, question: bool, sentence: bool
) -> float | None:
    """How likely the text is complete where its last word decides; None where it does not."""
    lower = [word.lower() for word in words]
    if _last_is(lower, language, leading.always):
        return UNFINISHED
    if _last_is(lower, language, leading.statements):
        return None if question else UNFINISHED
    if _last_is(lower, language, leading.stranded):
        return UNSURE if question and leading.questions.intersection(lower) else UNFINISHED
    if _last_is(lower, language, leading.particles):
        asked = question and leading.questions.intersection(lower)
        phrasal = (question or sentence) and leading.phrasal.intersection(lower)
        return UNSURE if asked or phrasal else UNFINISHED
    if _last_is(lower, language, leading.seldom):
        return UNSURE if question or sentence else UNFINISHED
    return None


def _dictates(words: list[str], language: str, leading: LeadingWords) -> bool:
    """Whether a number or a spelled word may go on: digits, words of digits or single letters come
    last."""
    if not words:
        return False
    last = words[-1]
    before = words[-2] if len(words) > 1 else ""
    if last[-1].isnumeric() and not _is_han(last[-1]):
        return True
    if _is_letter(last):
        return last not in LETTERS.get(language, ()) or _is_letter(before)
    if language in _UNSPACED:
        digits = tuple(leading.digits)
        if not last.endswith(digits):
            return False
        return not last.endswith(tuple(leading.ones)) or last[:-1].endswith(digits)
    if last.lower() not in leading.digits:
        return False
    return last.lower() not in leading.ones or before.lower() in leading.digits


def _is_letter(word: str) -> bool:
    """Whether a word is one letter of an alphabet, in capitals where there are any: it is spelled."""
    if len(word) != 1 or not word.isalpha():
        return False
    return word.isupper() if word.lower() != word.upper() else script_of(word) in _ALPHABETS


def _is_han(char: str) -> bool:
    """Whether a numeral is one of Chinese, which stand in words, too."""
    return unicodedata.category(char) == "Lo"


def _last_is(words: list[str], language: str, of: frozenset[str]) -> bool:
    """Whether the last word is one of these; where words are not spaced, whether it ends with one."""
    if not words or not of:
        return False
    if language in _UNSPACED:
        return words[-1].endswith(tuple(of))
    return words[-1] in of or words[-1].rpartition("'")[2] in of  # as in jusqu'à


def _words_of(text: str) -> list[str]:
    """The words of a text without its marks.

    Vowel signs belong to their letters; Arabic's optional ones are dropped.
    """
    chars = []
    for char in text.replace("’", "'"):
        if char in _OPTIONAL:
            continue
        kept = char == "'" or unicodedata.category(char)[0] in "LMN"
        chars.append(char if kept else " ")
    return [word for part in "".join(chars).split() if (word := part.strip("'"))]


_OPTIONAL = "".join(map(chr, [*range(0x64B, 0x653), 0x670, 0x640]))  # Arabic's vowel marks, tatweel
_CLOSERS = " \n\"'”’»)]}」』"
_QUESTIONS, _SENTENCES = ("?", "؟", "？", "፧"), (".", "!", "。", "！", "۔", "।", "።", "။", "։", "។")
_GREEK_QUESTIONS = ("?", ";", "\u037e")
_SENTENCE_END = re.compile(r"[.!?؟。！？۔।]\s+")
_PAUSES = (",", ";", ":", "،", "؛", "、", "，", "；", "：", "-", "–", "—", "…", "...")
_UNSPACED = ("zh", "ja", "yue", "th", "lo", "my", "km")
_ALPHABETS = {
    "Arabic",
    "Bengali",
    "Devanagari",
    "Georgian",
    "Gujarati",
    "Gurmukhi",
    "Hebrew",
    "Kannada",
    "Malayalam",
    "Oriya",
    "Sinhala",
    "Tamil",
    "Telugu",
}
"""Scripts without capitals of which a letter alone is hardly ever a word."""
