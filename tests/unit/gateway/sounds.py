"""Recordings as clients send them."""

from __future__ import annotations

import io
import wave

import numpy as np


def wav(*seconds: float, rate: int = 16_000) -> bytes:
    """A WAV file: a tone of so many seconds, silence for the next, and so on."""
    pieces = []
    for number, length in enumerate(seconds):
        times = np.arange(round(length * rate)) / rate
        level = 0.3 if number % 2 == 0 else 0.0
        pieces.append(level * np.sin(2 * np.pi * 220 * times))
    samples = np.concatenate(pieces) if pieces else np.zeros(0)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((32767 * samples).astype("<i2").tobytes())
    return buffer.getvalue()
