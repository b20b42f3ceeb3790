from __future__ import annotations

from dataclasses import replace

import numpy as np
from voxturn.runtime.gateway.streams.words import WordTimes
from voxturn.runtime.messages import PcmChunk, Sentence, Word

RATE = 1000


def chunk(text: str, index: int, start: int, size: int, final: bool = False) -> PcmChunk:
    samples = np.zeros(size, np.float32)
    return PcmChunk(samples, RATE, start, Sentence(text, index), final=final)


def test_words_share_a_sentence_by_their_letters() -> None:
    found = WordTimes().add(chunk("a abc", 0, 0, 600, final=True))
    assert [(word.text, word.begin_s, word.end_s) for word in found] == [
        ("a", 0.0, 0.2),
        ("abc", 0.2, 0.6),
    ]


def test_a_word_is_given_once_its_end_is_there_and_times_only_grow() -> None:
    times, text = WordTimes(), "one two three four five"  # likely 1.64 s
    first = times.add(chunk(text, 0, 0, 500))
    assert 0 < len(first) < 5
    assert first[-1].end_s <= 0.5
    rest = times.add(chunk(text, 0, 500, 200, final=True))
    both = [*first, *rest]
    assert [word.text for word in both] == text.split()
    assert both[-1].end_s == 0.7
    ends = [word.end_s for word in both]
    assert ends == sorted(set(ends))
    assert [word.begin_s for word in both] == [0.0, *ends[:-1]]


def test_the_next_sentence_begins_where_its_audio_does() -> None:
    times = WordTimes()
    times.add(chunk("One.", 0, 0, 400, final=True))
    found = times.add(chunk("Two.", 1, 400, 300, final=True))
    assert [(word.begin_s, word.end_s) for word in found] == [(0.4, 0.7)]


def test_words_that_the_voice_knows_are_given_as_soon_as_their_end_is_there() -> None:
    times = WordTimes()
    times.add(chunk("Before.", 0, 0, 1000, final=True))
    known = (Word("One", 0.1, 0.3), Word("two.", 0.5, 0.9))
    first = times.add(replace(chunk("One two.", 1, 1000, 400), words=known))
    assert [(word.text, word.begin_s, word.end_s) for word in first] == [("One", 1.1, 1.3)]
    rest = times.add(chunk("One two.", 1, 1400, 300, final=True))  # was cut before its end
    assert [(word.text, word.begin_s, word.end_s) for word in rest] == [("two.", 1.5, 1.7)]
    after = times.add(chunk("Next.", 2, 1700, 100, final=True))
    assert [(word.text, word.begin_s) for word in after] == [("Next.", 1.7)]
