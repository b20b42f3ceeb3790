"""Where the words of a spoken text lie in its audio. Pure."""

from __future__ import annotations

from voxturn.runtime.gateway.voice.messages import Word
from voxturn.runtime.messages import PcmChunk

_LETTERS_A_SECOND = 14
"""How long a sentence is taken to be whose last chunk was not made yet."""


class WordTimes:
    """The words of a text whose chunks come one after the other.

    Voices do not tell where their words lie: those of a sentence share its audio by their letters.
    Where a sentence begins and ends is exact. Each word begins where the one before it ends.
    """

    def __init__(self) -> None:
        self._index = -1
        self._words: list[str] = []
        self._begin_s = 0.0
        self._end_s = 0.0
        self._likely_s = 0.0

    def add(self, chunk: PcmChunk) -> list[Word]:
        """The words that end within the audio so far and were not given yet, in seconds since the
        text's first sample."""
        if chunk.sentence.index != self._index:
            self._open(chunk)
        spoken_s = (chunk.start + chunk.samples.size) / chunk.rate
        whole_s = spoken_s if chunk.final else max(spoken_s, self._begin_s + self._likely_s)
        found: list[Word] = []
        while self._words:
            share = _weight(self._words[0]) / sum(map(_weight, self._words))
            end_s = self._end_s + (whole_s - self._end_s) * share
            if end_s > spoken_s and not chunk.final:
                break
            end_s = min(end_s, spoken_s)
            found.append(Word(self._words.pop(0), round(self._end_s, 3), round(end_s, 3)))
            self._end_s = end_s
        return found

    def _open(self, chunk: PcmChunk) -> None:
        self._index = chunk.sentence.index
        self._words = chunk.sentence.text.split()
        self._begin_s = self._end_s = chunk.start / chunk.rate
        self._likely_s = len(chunk.sentence.text) / _LETTERS_A_SECOND


def _weight(word: str) -> int:
    return len(word) + 1
