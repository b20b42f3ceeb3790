"""Where the words of a spoken text lie in its audio. Pure."""

from __future__ import annotations

from collections import deque

from voxturn.runtime.gateway.voice.messages import Word
from voxturn.runtime.messages import PcmChunk
from voxturn.runtime.messages import Word as Spoken

_LETTERS_A_SECOND = 14
"""How long a sentence is taken to be whose last chunk was not made yet."""


class WordTimes:
    """The words of a text whose chunks come one after the other.

    Where a voice does not tell where its words lie, those of a sentence share its audio by their
    letters: each begins where the one before it ends. Where a sentence begins and ends is exact.
    """

    def __init__(self) -> None:
        self._index = -1
        self._words: list[str] = []
        self._known: deque[Spoken] = deque()
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
        while self._known and (chunk.final or self._begin_s + self._known[0].end_s <= spoken_s):
            word = self._known.popleft()
            begin_s, end_s = (self._begin_s + each for each in (word.begin_s, word.end_s))
            found.append(Word(word.text, *(round(min(s, spoken_s), 3) for s in (begin_s, end_s))))
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
        self._known = deque(chunk.words)
        self._words = [] if self._known else chunk.sentence.text.split()
        self._begin_s = self._end_s = chunk.start / chunk.rate
        self._likely_s = len(chunk.sentence.text) / _LETTERS_A_SECOND


def _weight(word: str) -> int:
    return len(word) + 1
