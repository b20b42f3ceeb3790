"""Both sides of a conversation in one recording, each where it sounded."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from voxturn.runtime.client.recorder import Recorder
from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.messages import Samples

from tests.conftest import fed, tone


async def test_what_was_played_lies_beside_what_was_heard_meanwhile() -> None:
    written: list[Samples] = []
    recorder = Recorder(written.append, 24000)
    number = 0
    async for _ in recorder.heard(fed(tone(1.0))):
        number += 1
        recorder.played(np.full(480, 0.25 if number >= 25 else 0.0, np.float32))
    both = np.concatenate(written)
    assert both.shape == (16000, 2)
    late = 1600
    assert np.array_equal(both[late:, 0], tone(1.0)[:-late])
    assert np.abs(both[: late + 7600, 1]).max() < 0.01
    assert np.allclose(both[late + 7800 :, 1], 0.25, atol=0.01)


def test_without_soxr_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(ExecutorUnavailable, match="soxr"):
        Recorder(print, 24000)


async def test_what_was_played_before_the_microphone_opened_is_not_kept() -> None:
    written: list[Samples] = []
    recorder = Recorder(written.append, 16000)
    recorder.played(np.full(48000, 0.5, np.float32))  # three seconds
    async for _ in recorder.heard(fed(tone(1.0))):
        recorder.played(np.zeros(320, np.float32))
    both = np.concatenate(written)
    assert np.abs(both[4800:, 1]).max() < 0.01
