"""Writes a profile on fakes whose voice is a tiny XTTS with random weights, which clones:
`python -m tests.tiny.cloning_profile FOLDER` prints where it is."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from voxturn.export.coqui import synthetic
from voxturn.runtime.families.fake import write_profile

from tests.tiny.conftest import exported, narrowed, shortened


def write(folder: Path) -> Path:
    """Returns the profile's file."""
    with warnings.catch_warnings(), narrowed():
        warnings.simplefilter("ignore")
        synthetic.make_checkpoint(folder / "checkpoint", "tiny", 1)
        exported(folder / "checkpoint", folder / "int8")
    shortened(folder / "int8", folder / "short")
    path = write_profile(folder / "fake")
    others, _, _ = path.read_text(encoding="utf-8").partition("[speak]")
    voice = f'model = "{folder / "short"}"\nexecutor = "onnx"\nprecision = "int8"\n'
    path.write_text(f"{others}[speak]\n{voice}seed = 1\n\n[vocode]\n{voice}", encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.stdout.write(f"{write(Path(sys.argv[1]))}\n")
