"""Windows of a stream: every frame once, in order, with its context."""

from __future__ import annotations

import numpy as np
import pytest
from voxturn.runtime.audio.window import Plan
from voxturn.runtime.families.convert.windows import Windows


@pytest.mark.parametrize("piece", [1, 7, 100])
@pytest.mark.parametrize("total", [1, 9, 10, 64, 65])
@pytest.mark.parametrize("margin", [1, 5, 30])
def test_every_frame_comes_once_with_its_context(piece: int, total: int, margin: int) -> None:
    frames = np.arange(total, dtype=np.float32)[:, None]
    windows, found, ends = Windows(Plan(first=4, largest=10), margin), [], []
    for begin in range(0, total, piece):
        windows.push(frames[begin : begin + piece])
        ended = begin + piece >= total
        while (window := windows.next(ended)) is not None:
            first = len(found)
            last = first + window.count
            low, high = max(0, first - margin), min(total, last + margin)
            np.testing.assert_array_equal(window.frames, frames[low:high])
            assert window.before == first - low
            found += range(first, last)
            ends.append(window.final)
    assert found == list(range(total))
    assert ends == [False] * (len(ends) - 1) + [True]


def test_an_empty_stream_has_no_window() -> None:
    windows = Windows(Plan(), 3)
    windows.push(np.zeros((0, 2), np.float32))
    assert windows.next(ended=True) is None
