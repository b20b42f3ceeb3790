"""What `bench turn` asks."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from voxturn.bench.turn import recorded
from voxturn.runtime.errors import AudioNotFound
from voxturn.runtime.frames import RATE


def test_recordings_ask_by_their_names(tmp_path: Path) -> None:
    for name, rate in (("b", RATE), ("a", 2 * RATE)):
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(np.full(rate, 1000, np.int16).tobytes())
    questions = recorded(tmp_path)
    assert list(questions) == ["a", "b"]
    assert all(abs(samples.size - RATE) < 100 for samples in questions.values())


def test_a_folder_without_recordings_is_said(tmp_path: Path) -> None:
    with pytest.raises(AudioNotFound, match=r"holds no \.wav files"):
        recorded(tmp_path)
