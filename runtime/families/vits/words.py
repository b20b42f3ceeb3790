"""When the words of a sentence are said, of how long each of its symbols is. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from voxturn.runtime.messages import Word
from voxturn.runtime.text.reading import ReadText


def word_times(
    text: str, read: ReadText, durations: npt.NDArray[np.float32], frame_s: float
) -> tuple[Word, ...]:
    """The words in seconds since the first symbol, of `durations` `[ids]` in frames of `frame_s`
    seconds; none where it is not known which ids are which word."""
    if not read.words or durations.size != len(read.ids):
        return ()
    ends = np.concatenate([[0.0], np.cumsum(durations, dtype=np.float64)]) * frame_s
    return tuple(
        Word(word, float(ends[begin]), float(ends[end]))
        for word, (begin, end) in zip(text.split(), read.words, strict=True)
    )
