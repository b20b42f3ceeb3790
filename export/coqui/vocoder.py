"""The vocoder of a voice that gives mels: HiFiGAN, from a folder of its own.

    latents float32 [1, mels, frames] → audio float32 [1, 1, samples]

Upstream repeats the first and the last frame before it computes; the graph before this one does so
(`framed`), once an utterance, so that windows need to know nothing of it. Source: coqui-tts 0.28,
`vocoder/models/hifigan_generator.py`, `gan.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from voxturn.export import checkpoint
from voxturn.export.coqui.folder import CONFIG, CoquiFolder
from voxturn.export.coqui.mel import MelSettings
from voxturn.export.hifigan import HifiganSizes, generator
from voxturn.export.net import Net
from voxturn.export.weights import Weights, reading_sizes
from voxturn.runtime.errors import ExportFailed

GENERATORS = ("hifigan",)
"""Vocoders that are exported, by the name in `config.json` without `_generator`."""
REPEATED = 5
"""Frames that upstream repeats on either side."""
_PREFIX = "model_g"
_TRAINING_ONLY = re.compile(r"model_d\.|.*\.num_batches_tracked$")


@dataclass(frozen=True)
class Vocoder:
    """An opened folder."""

    where: Path
    mel: MelSettings
    weights: Weights
    sizes: HifiganSizes

    @classmethod
    def open(cls, path: Path) -> Vocoder:
        """Raises `ExportFailed` for what is no vocoder of `GENERATORS`, `CorruptModel`."""
        folder = CoquiFolder.open(path)
        name = str(folder.config.get("generator_model") or folder.config.get("model") or "")
        name = name.lower().removesuffix("_generator")
        if name not in GENERATORS:
            raise ExportFailed(
                f"{path / CONFIG}: is a vocoder {name[:80]!r}, which is not exported yet; "
                f"exported: {', '.join(GENERATORS)}"
            )
        tensors = folder.tensors()
        if not any(name.startswith(f"{_PREFIX}.") for name in tensors):  # before 0.0.15
            tensors = {f"{_PREFIX}.{name}": tensor for name, tensor in tensors.items()}
        file = folder.weights_file
        weights = Weights(tensors, file.name, "a HiFiGAN", _TRAINING_ONLY)
        with checkpoint.settings_of(path / CONFIG):
            mel = MelSettings.of(folder.config["audio"], folder.path)
            params = folder.config["generator_model_params"]
            rates, dilations = params["upsample_factors"], params["resblock_dilation_sizes"]
        with reading_sizes(file, "a HiFiGAN"):
            sizes = HifiganSizes.of(weights, _PREFIX, rates, dilations)
        if sizes.voice or sizes.channels != mel.num_mels or sizes.hop != mel.hop_length:
            raise ExportFailed(
                f"{path}: its vocoder makes {sizes.hop} samples of a frame of {sizes.channels} values, "
                f"its configuration says {mel.hop_length} of {mel.num_mels}; they do not belong together"
            )
        return cls(path, mel, weights, sizes)

    def write(self, target: Path, voice: int) -> None:
        """Write the graph, which takes the speaker of a voice that has several, and does not heed it.

        Raises `ExportFailed`, `CorruptModel` for other weights.
        """
        wanted = self.sizes.shapes(self.weights)
        self.weights.check(wanted)
        n = Net(target, self.weights)
        if voice:
            n.g.input("speaker", "float32", [1, voice, 1])
        generator(
            n, self.sizes, n.g.input("latents", "float32", [1, self.sizes.channels, "frames"])
        )
        n.g.save()
        self.weights.check_taken(wanted)


def framed(n: Net, mel: str) -> str:
    """`mel` `[1, mels, frames]` with its first and last frame repeated."""
    pads, axis = n.const([REPEATED, REPEATED]), n.const([2])
    return n.op("Pad", mel, pads, "", axis, mode="edge")
