"""Phonemes from espeak-ng through the piper-tts package (GPL-3.0, the optional extra `vits`)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.text.reading import ReadText, words_of

ESPEAK = threading.Lock()
"""Held while espeak-ng works, which keeps its voice in a global."""
_BEGIN, _PAD = "^", "_"
"""Marks of every Piper voice."""


class EspeakPhonemizer:
    """Text to the phoneme ids of a Piper voice: `id_map` and the espeak-ng `voice` come from the
    voice's manifest."""

    def __init__(self, voice: str, id_map: Mapping[str, Sequence[int]]) -> None:
        try:
            from piper.phoneme_ids import phonemes_to_ids
            from piper.phonemize_espeak import EspeakPhonemizer as Loaded
        except ImportError as exc:
            raise ExecutorUnavailable(
                "this voice needs espeak-ng's phonemes; pip install 'voxturn[vits]'"
            ) from exc
        self._voice = voice
        self._id_map = {symbol: list(ids) for symbol, ids in id_map.items()}
        self._phonemizer = Loaded()
        self._to_ids = phonemes_to_ids

    def read(self, text: str, language: str = "") -> ReadText:
        """The ids of `text`, its sentences joined. The voice has one language."""
        with ESPEAK:
            sentences = self._phonemizer.phonemize(self._voice, text.replace("\0", " "))
        phonemes = [symbol for sentence in sentences for symbol in sentence]
        if not any(symbol.isalpha() for symbol in phonemes):
            return ReadText([])
        known = [symbol for symbol in phonemes if symbol in self._id_map]
        ids = [int(i) for i in self._to_ids(known, self._id_map)]
        return ReadText(ids, words_of(text, known, self._places(known)))

    def _places(self, known: Sequence[str]) -> list[tuple[int, int]]:
        """The ids `[begin, end)` of each symbol: behind the mark of the beginning, a pad after each."""
        pad, places = len(self._id_map[_PAD]), list[tuple[int, int]]()
        begin = len(self._id_map[_BEGIN]) + pad
        for symbol in known:
            end = begin + len(self._id_map[symbol])
            places.append((begin, end))
            begin = end + pad
        return places
