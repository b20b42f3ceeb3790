"""Word errors."""

from __future__ import annotations

import re
from collections.abc import Sequence


def words(text: str) -> list[str]:
    """Lower-case words and numbers, without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def errors(reference: str, heard: str) -> tuple[int, int]:
    """Word errors (Levenshtein) and words in the reference."""
    a, b = words(reference), words(heard)
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1], len(a)


def error_rate(references: Sequence[str], heard: Sequence[str]) -> float:
    """Word errors over words."""
    counts = [errors(a, b) for a, b in zip(references, heard, strict=True)]
    return sum(e for e, _ in counts) / sum(n for _, n in counts)


def runaway(reference: str, heard: str) -> bool:
    """Whether a decoder went on and on: many more words than were said."""
    return len(words(heard)) > 1.5 * len(words(reference)) + 4
