"""Long input is handled piece by piece: an hour costs the memory of a minute."""

from __future__ import annotations

import tracemalloc
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from voxturn.runtime import cli
from voxturn.runtime.messages import AudioFrame, Samples, Utterance
from voxturn.runtime.text.split import ClauseSplitter
from voxturn.runtime.turn.listen import WINDOW, Endpointing

from tests.cli_fakes import use_fakes
from tests.conftest import HOP, RATE, FakeTurn, tone

MINUTES = 20
OPTIONS = Endpointing()


@contextmanager
def peak_below(limit: int) -> Iterator[None]:
    """No more than `limit` bytes are held at once while this runs."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak / 1e6:.1f} MB"


async def minutes(block: Samples) -> AsyncIterator[AudioFrame]:
    """`block`, half a second at a time, until all minutes are over; nothing is kept."""
    size = 8000
    for start in range(0, MINUTES * 60 * 16000, size):
        at = start % block.size
        yield AudioFrame(block[at : at + size].copy(), 16000, start, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "texts"),
    [
        (np.zeros(16000 * 10, np.float32), 0),
        (tone(10.0), MINUTES * 60 / OPTIONS.max_s),  # never a pause: cut at the most that is held
        (tone(8.0, 2.0), MINUTES * 6),
    ],
    ids=["silence", "tone", "both"],
)
async def test_twenty_minutes_are_heard_in_the_memory_of_one_utterance(
    block: Samples, texts: float
) -> None:
    fake = FakeTurn(seconds=0.0)
    longest, count, covered = 0, 0, 0
    with peak_below(24_000_000):  # all of it would be 77 MB, one utterance's copies are 14
        async for heard in fake.stages.listen(minutes(block)):
            if isinstance(heard, Utterance) and heard.final:
                transcript = await fake.stages.recogniser.transcribe(heard.samples)
                assert (transcript.text == fake.heard) is bool(heard.samples.any())
                longest, count = max(longest, heard.samples.size), count + 1
                covered += heard.samples.size
    fake.close()
    assert count == pytest.approx(texts, abs=1)
    assert longest <= OPTIONS.max_s * 16000 + WINDOW
    if texts == MINUTES * 60 / OPTIONS.max_s:
        assert covered == pytest.approx(MINUTES * 60 * 16000, abs=16000)  # cut, but nothing is lost


def test_ten_thousand_characters_are_said_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(monkeypatch, tmp_path / "home")
    sentence = "The seventh train of the evening leaves from the other side. "
    text = (sentence * (10_000 // len(sentence) + 1))[:10_000]
    splitter = ClauseSplitter(max_chars=220)
    letters = sum(
        c.isalnum() for clause in [*splitter.push(text), *splitter.flush()] for c in clause
    )
    assert letters == sum(c.isalnum() for c in text)
    out = tmp_path / "long.wav"
    with peak_below(8_000_000):  # the audio is 41 MB, and twice that before it is 16 bits
        assert cli.main(["say", text, "-o", str(out)]) == 0
    with wave.open(str(out)) as file:
        assert file.getframerate() == RATE
        assert file.getnframes() == letters * 10 * HOP
