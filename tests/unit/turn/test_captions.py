"""Captions, whatever a sentence holds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.messages import PcmChunk, Sentence, Transcript, Word
from voxturn.runtime.turn.captions import Cue, cues_of, srt, webvtt
from voxturn.runtime.turn.recording import Passage


def chunk(text: str, index: int, start_s: float, length_s: float) -> PcmChunk:
    samples = np.zeros(int(length_s * 1000), np.float32)
    return PcmChunk(samples, 1000, int(start_s * 1000), Sentence(text, index))


def test_a_cue_lasts_from_a_sentences_first_sample_to_its_last() -> None:
    chunks = [chunk("One.", 0, 0, 1.5), chunk("One.", 0, 1.5, 0.25), chunk("Two.", 1, 3661.75, 1)]
    assert webvtt(chunks) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.750\nOne.\n\n01:01:01.750 --> 01:01:02.750\nTwo.\n"
    )


def test_line_breaks_and_marks_in_a_sentence_do_not_end_its_cue() -> None:
    text = webvtt([chunk("a\n\nb --> <c> & d", 0, 0, 1)])
    assert text == "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na b --&gt; &lt;c&gt; &amp; d\n"


def passage(text: str, *ends_s: float) -> Passage:
    """Words that follow each other without a pause."""
    words = text.split()
    begins = [10.0, *ends_s]
    timed = tuple(
        Word(word, begin, end) for word, begin, end in zip(words, begins, ends_s, strict=False)
    )
    return Passage(9.8, 40.0, Transcript(text, "en", words=timed))


def test_a_passage_is_cut_at_its_sentences() -> None:
    text = 'He said "No." Then he left.'
    assert cues_of(passage(text, 11, 12, 13, 14, 15, 16)) == [
        Cue('He said "No."', 10, 13),
        Cue("Then he left.", 13, 16),
    ]


def test_what_is_long_is_cut_between_words() -> None:
    text = " ".join(["word"] * 30)
    cues = cues_of(passage(text, *(10 + (i + 1) / 4 for i in range(30))))
    assert [len(cue.text) for cue in cues] == [84, 64]
    assert " ".join(cue.text for cue in cues) == text
    cues = cues_of(passage(text, *(11.0 + i for i in range(30))))
    assert max(cue.end_s - cue.begin_s for cue in cues) <= 7
    assert [cue.begin_s for cue in cues[1:]] == [cue.end_s for cue in cues[:-1]]


def test_without_times_a_passage_is_one_cue() -> None:
    assert cues_of(passage("One. Two.")) == [Cue("One. Two.", 9.8, 40.0)]


def test_subrip_is_numbered_and_has_commas() -> None:
    cues = [Cue("One\n\ntwo", 0.0, 1.5), Cue("<b> & c", 3661.0, 3662.001)]
    assert srt(cues) == (
        "1\n00:00:00,000 --> 00:00:01,500\nOne two\n\n2\n01:01:01,000 --> 01:01:02,001\n<b> & c\n"
    )


@given(st.lists(st.text("ab .!?\n", min_size=1, max_size=30), max_size=8))
def test_cues_lose_no_word(texts: list[str]) -> None:
    text = " ".join(" ".join(texts).split())
    ends = [10.0 + i for i in range(1, len(text.split()) + 1)]
    cues = cues_of(passage(text, *ends))
    assert " ".join(" ".join(cue.text for cue in cues).split()) == text
    assert all(cue.begin_s <= cue.end_s for cue in cues)
