"""Captions are WebVTT whatever a sentence holds."""

from __future__ import annotations

import numpy as np
from voxturn.runtime.messages import PcmChunk, Sentence
from voxturn.runtime.turn.captions import webvtt


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
