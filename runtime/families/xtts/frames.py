"""Which vocoder frames a growing row of XTTS's latents can make, and which latents a window of
frames needs. Pure.

Latents are stretched twice by linear interpolation, in the coordinates of the whole utterance: near
the newest latent, frames may still change when the next one arrives.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.models.manifest import whole

Float = npt.NDArray[np.float32]


@dataclass(frozen=True)
class XttsFrames:
    """`repeat` steps a latent, then `ratio` frames a step: XTTS, 4 and 24000 / 22050. Source:
    `export.xtts.graphs`."""

    repeat: int
    ratio: float
    drops_context: bool = True

    @classmethod
    def from_properties(cls, p: Mapping[str, Any]) -> XttsFrames:
        """Of an artifact's properties."""
        rate, hop = whole(p, "output_sample_rate"), whole(p, "output_hop_length")
        repeat = whole(p, "gpt_code_stride_len", hop) // hop
        return cls(repeat, rate / whole(p, "input_sample_rate"))

    def count(self, latents: int) -> int:
        return math.floor(float(latents * self.repeat) * self.ratio)

    def certain(self, latents: int) -> int:
        # a step needs the latent after its own: the last half latent's steps are open, and a frame
        # needs the next step
        steps = latents * self.repeat - self.repeat // 2
        return max(0, math.ceil((steps - 1 + 0.5) * self.ratio - 0.5))

    def latents_for(self, frames: int) -> int:
        """How many latents make that many frames certain."""
        return next(n for n in itertools.count() if self.certain(n) >= frames)

    def span(self, low: int, high: int) -> tuple[int, int]:
        """The latents `[first, last)` that frames `[low, high)` are made of, if there were no end."""
        return self._latent(self._step(low)), self._latent(self._step(high - 1) + 1) + 2

    def inputs(
        self, latents: Float, low: int, high: int, before: int, after: int
    ) -> dict[str, npt.NDArray[Any]]:
        # one more on each side: a graph without whole positions counts in float32 and may round to
        # the neighbour
        first = max(0, min(self.span(low, high)[0], len(latents)) - 1)
        count = self._most(high - low)
        held = latents[None, first : first + count]
        return {  # so many frames, so many latents: at the end the last one counts for more, as the graph has it anyway
            "latents": np.pad(held, ((0, 0), (0, count - held.shape[1]), (0, 0)), mode="edge"),
            "latent_offset": np.array(first, np.int64),
            "frame_offset": np.array(low, np.int64),
            "frames": np.array(high - low, np.int64),
            "before": np.array(before, np.int64),
            "after": np.array(after, np.int64),
        }

    def _most(self, frames: int) -> int:
        """How many latents `inputs` gives for so many frames, wherever they are."""
        return math.ceil(((frames - 1) / self.ratio + 1) / self.repeat) + 4

    def _step(self, frame: int) -> int:
        return int(max(0.0, (frame + 0.5) / self.ratio - 0.5))

    def _latent(self, step: int) -> int:
        return int(max(0.0, (step + 0.5) / self.repeat - 0.5))
