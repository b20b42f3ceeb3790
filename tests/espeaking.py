"""What espeak-ng says first in a process: what it says later depends on what it said before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from voxturn.runtime.messages import Samples

_CODE = (
    "import sys, numpy; from voxturn.bench.espeak import Espeak; "
    "numpy.save(sys.argv[4], Espeak().say(sys.argv[1], sys.argv[2], int(sys.argv[3])))"
)


def said_afresh(text: str, voice: str, path: Path, words_per_minute: int = 165) -> Samples:
    """A text at 16 kHz; `path` is where a file may be left."""
    words = [text, voice, str(words_per_minute), str(path)]
    subprocess.run([sys.executable, "-P", "-c", _CODE, *words], check=True)
    samples: Samples = np.load(path)
    return samples
