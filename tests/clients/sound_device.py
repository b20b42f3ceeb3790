"""In place of the package sounddevice, for a process that talks: its microphone is a WAV file of
16 kHz and then silence; what its loudspeaker plays is kept in another.

Once an answer was played, the process is interrupted as by Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import threading
import wave
from collections.abc import Callable
from typing import Any, Self

import numpy as np

_BLOCK_S = 0.02
_SILENT_BLOCKS = 50
"""An answer is over after so many, a second."""


class _Stream:
    """Calls back at the pace of real time, in a thread of its own."""

    latency, active = 0.0, True

    def __init__(self, samplerate: int, callback: Callable[..., None], **options: Any) -> None:
        self._rate = samplerate
        self._callback = callback
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self) -> None:
        size = round(self._rate * _BLOCK_S)
        while not self._closed.wait(_BLOCK_S):
            self._block(size)

    def _block(self, size: int) -> None:
        raise NotImplementedError


class InputStream(_Stream):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        with wave.open(os.environ["MICROPHONE"]) as file:
            assert file.getframerate() == self._rate
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        self._samples = samples.astype(np.float32) / 32768

    def _block(self, size: int) -> None:
        block = self._samples[:size]
        self._samples = self._samples[size:]
        self._callback(np.pad(block, (0, size - block.size))[:, None], size, None, None)


class OutputStream(_Stream):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._played: list[bytes] = []
        self._silent = 0

    def _block(self, size: int) -> None:
        block = np.empty((size, 1), np.float32)
        self._callback(block, size, None, None)
        self._silent = 0 if block.any() else self._silent + 1
        if block.any() or self._played:
            self._played.append((block * 32767).astype("<i2").tobytes())
        if self._played and self._silent == _SILENT_BLOCKS:
            with wave.open(os.environ["LOUDSPEAKER"], "wb") as file:
                file.setparams((1, 2, self._rate, 0, "NONE", "not compressed"))
                file.writeframes(b"".join(self._played))
            os.kill(os.getpid(), signal.SIGINT)
