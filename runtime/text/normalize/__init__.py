"""Text as XTTS v2 wants to read it: numbers, prices, dates and signs in words, lower case, Latin
letters for Chinese, Japanese and Korean.

The order and the words are those of coqui-tts 0.28's tokenizer, whose output the model was trained
on; where it misreads (dates, times, units, Arabic prices) or fails (Hindi numbers), this reads what
a speaker would say. Every such difference is listed with its reason in `tests/data/xtts_text`.

`in_words` is for every other voice: the same passes, but what they do not touch stays as it was
written.
"""

from voxturn.runtime.text.normalize.characters import spoken
from voxturn.runtime.text.normalize.lexicon import LANGUAGES, language_of
from voxturn.runtime.text.normalize.pipeline import in_words, normalize

__all__ = ["LANGUAGES", "in_words", "language_of", "normalize", "spoken"]
