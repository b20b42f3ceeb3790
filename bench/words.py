"""Word errors of transcripts, counted by jiwer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from voxturn.runtime.errors import ExecutorUnavailable

try:  # at import, so that a benchmark of twenty minutes does not end in this
    import jiwer
except ImportError as exc:
    raise ExecutorUnavailable(
        "word errors are counted by jiwer; pip install 'voxturn[bench]'"
    ) from exc

_MARKS = "".join(char for char in map(chr, range(0x1F000)) if unicodedata.category(char)[0] == "M")
"""Vowel signs and the like, which belong to their letters."""

_WORDS = jiwer.Compose(
    [
        jiwer.ToLowerCase(),
        jiwer.SubstituteRegexes({rf"[^\w'{re.escape(_MARKS)}]+": " "}),
        jiwer.Strip(),
        jiwer.ReduceToListOfListOfWords(),
    ]
)
"""Lower case; what is neither letter, mark, digit, underscore nor apostrophe separates words."""


def words(text: str) -> list[str]:
    """Lower-case words and numbers, without punctuation."""
    normalised: list[list[str]] = _WORDS([text])
    return normalised[0]


def errors(reference: str, transcript: str) -> tuple[int, int]:
    """Word errors (substitutions, deletions, insertions) and the number of reference words."""
    output = _compare([reference], [transcript])
    wrong: int = output.substitutions + output.deletions + output.insertions
    count: int = output.hits + output.substitutions + output.deletions
    return wrong, count


def error_rate(references: Sequence[str], transcripts: Sequence[str]) -> float:
    """Word errors of all pairs over the words of all references.

    Where no reference has a word it is the number of inserted words. Raises `ValueError` where the
    two sequences differ in length.
    """
    return float(_compare(references, transcripts).wer)


def runaway(reference: str, transcript: str) -> bool:
    """Whether a decoder did not stop in time: many more words than were spoken."""
    return len(words(transcript)) > 1.5 * len(words(reference)) + 4


def _compare(references: Sequence[str], transcripts: Sequence[str]) -> Any:
    return jiwer.process_words(
        list(references),
        list(transcripts),
        reference_transform=_WORDS,
        hypothesis_transform=_WORDS,
    )
