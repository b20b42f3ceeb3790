"""espeak-ng's own voices, out of the library that piper-tts carries: more speakers for the benches.

Source: espeak-ng's `speak_lib.h`.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import soxr
from voxturn.runtime.errors import ExecutorUnavailable, UnsupportedLanguage
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import Samples

_SYNCHRONOUS, _UTF8, _RATE_PARAMETER = 2, 1, 1
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Espeak:
    """Text to speech by formants: a voice is a language, as en-us or ar, and perhaps a speaker:
    en-us+f3."""

    def __init__(self) -> None:
        try:
            import piper
        except ImportError as exc:
            raise ExecutorUnavailable(
                "espeak-ng comes with piper-tts; pip install 'voxturn[vits]'"
            ) from exc
        folder = Path(piper.__file__).parent
        self._library = ctypes.CDLL(str(folder / "espeakbridge.so"))
        self._rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(folder).encode(), 0))
        self._parts: list[Samples] = []
        self._callback = _Callback(self._take)

    def say(self, text: str, voice: str, words_per_minute: int = 165) -> Samples:
        """The text's audio at 16 kHz. Raises `UnsupportedLanguage`."""
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise UnsupportedLanguage(
                f"espeak-ng has no voice {voice!r}; use its codes, as en-us or ar"
            )
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_SetParameter(_RATE_PARAMETER, words_per_minute, 0)
        self._parts.clear()
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 0, 0, _UTF8, None, None)
        return np.asarray(soxr.resample(np.concatenate(self._parts), self._rate, RATE), np.float32)

    def _take(
        self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: int | None
    ) -> int:
        if samples and count > 0:
            self._parts.append(
                (np.ctypeslib.as_array(samples, (count,)) / 32768).astype(np.float32)
            )
        return 0
