"""The vocoder of a voice that gives mels, from a folder of its own.

    latents float32 [1, mels, frames] → audio float32 [1, 1, samples]

Upstream repeats the first and the last frame before it computes; the graph before this one does so
(`framed`), once an utterance, so that windows need to know nothing of it. Source: coqui-tts 0.28,
`vocoder/models/gan.py` and the generators beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from voxturn.export import checkpoint, hifigan
from voxturn.export.checkpoint import Shapes
from voxturn.export.coqui import melgan
from voxturn.export.coqui.folder import CONFIG, CoquiFolder
from voxturn.export.coqui.mel import MelSettings, handed_over
from voxturn.export.net import Net
from voxturn.export.weights import Weights, reading_sizes
from voxturn.runtime.errors import ExportFailed

_PREFIX = "model_g"
_TRAINING_ONLY = re.compile(
    r"model_d\.|.*\.num_batches_tracked$|model_g\.pqmf_layer\.(H|updown_filter)$"
)
"""`H` takes bands apart; `updown_filter` is the number 1 and zeros."""


class Sizes(Protocol):
    """What a generator's tensors say: `channels` of a frame, `hop` samples of it."""

    @property
    def channels(self) -> int: ...

    @property
    def hop(self) -> int: ...

    def shapes(self, weights: Weights, /) -> Shapes:
        """Every parameter that it consumes."""


@dataclass(frozen=True)
class Generator:
    """A kind of vocoder: `model` is what errors call it, `repeated` the frames that upstream repeats
    on either side. `sizes` of its weights and its `generator_model_params`; `graph` writes it."""

    model: str
    repeated: int
    sizes: Callable[[Weights, Mapping[str, Any]], Sizes]
    graph: Callable[[Net, Any, str], None]


def _hifigan_sizes(weights: Weights, params: Mapping[str, Any]) -> Sizes:
    rates, dilations = params["upsample_factors"], params["resblock_dilation_sizes"]
    sizes = hifigan.HifiganSizes.of(weights, _PREFIX, rates, dilations)
    if sizes.voice:
        raise ExportFailed("the vocoder wants to know the speaker: it is a part of another model")
    return sizes


def _melgan(model: str) -> Generator:
    """Their sizes are in the tensors alone."""
    return Generator(model, 2, lambda w, _: melgan.MelganSizes.of(w, _PREFIX), melgan.generator)


GENERATORS: Mapping[str, Generator] = {
    "hifigan": Generator("a HiFiGAN", 5, _hifigan_sizes, hifigan.generator),
    "melgan": _melgan("a MelGAN"),
    "multiband_melgan": _melgan("a MultiBand-MelGAN"),
    "fullband_melgan": _melgan("a FullBand-MelGAN"),
}
"""Vocoders that are exported, by the name in `config.json` without `_generator`."""


@dataclass(frozen=True)
class Vocoder:
    """An opened folder."""

    where: Path
    mel: MelSettings
    weights: Weights
    generator: Generator
    sizes: Sizes

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
        generator = GENERATORS[name]
        tensors = folder.tensors()
        if not any(name.startswith(f"{_PREFIX}.") for name in tensors):  # before 0.0.15
            tensors = {f"{_PREFIX}.{name}": tensor for name, tensor in tensors.items()}
        file = folder.weights_file
        weights = Weights(tensors, file.name, generator.model, _TRAINING_ONLY)
        with checkpoint.settings_of(path / CONFIG):
            mel = MelSettings.of(folder.config["audio"], folder.path)
            params = dict(folder.config["generator_model_params"])
        with reading_sizes(file, generator.model):
            sizes = generator.sizes(weights, params)
        if sizes.channels != mel.num_mels or sizes.hop != mel.hop_length:
            raise ExportFailed(
                f"{path}: its vocoder makes {sizes.hop} samples of a frame of {sizes.channels} values, "
                f"its configuration says {mel.hop_length} of {mel.num_mels}; they do not belong together"
            )
        return cls(path, mel, weights, generator, sizes)

    def framed(self, n: Net, mel: str, voice: MelSettings) -> str:
        """`mel` `[1, mels, frames]` of a voice as this vocoder wants it, with its first and last
        frame repeated."""
        pads, axis = n.const([self.generator.repeated] * 2), n.const([2])
        return n.op("Pad", handed_over(n, mel, voice, self.mel), pads, "", axis, mode="edge")

    def write(self, target: Path, voice: int) -> None:
        """Write the graph, which takes the speaker of a voice that has several, and does not heed it.

        Raises `ExportFailed`, `CorruptModel` for other weights.
        """
        wanted = self.sizes.shapes(self.weights)
        self.weights.check(wanted)
        n = Net(target, self.weights)
        if voice:
            n.g.input("speaker", "float32", [1, voice, 1])
        x = n.g.input("latents", "float32", [1, self.sizes.channels, "frames"])
        self.generator.graph(n, self.sizes, x)
        n.g.save()
        self.weights.check_taken(wanted)
