"""Which vocoder frames a growing row of latents can make, and which latents a window of frames needs. Pure.

A VITS's latents are frames. XTTS's are stretched twice by linear interpolation, in the coordinates of the whole
utterance: near the newest latent, frames may still change when the next one arrives.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

WHOLE_POSITIONS = "whole_positions"
"""Property of artifacts whose graph counts positions in whole numbers: in bf16 others lose them in a second of speech."""
Float = npt.NDArray[np.float32]


class FrameMap(Protocol):
    """Latents `[n, channels]` to frames. `drops_context`: the graph's audio is the window's alone."""

    @property
    def drops_context(self) -> bool: ...

    def count(self, latents: int) -> int:
        """Frames of a whole utterance of that many latents."""
        ...

    def certain(self, latents: int) -> int:
        """Frames that no further latent can change."""
        ...

    def latents_for(self, frames: int) -> int:
        """How many latents make that many frames certain."""
        ...

    def inputs(
        self, latents: Float, low: int, high: int, before: int, after: int
    ) -> dict[str, npt.NDArray[Any]]:
        """The graph's inputs for frames `[low, high)` of all latents so far; the outer ones are context."""
        ...


class SameFrames:
    """A latent is a frame: VITS. The graph takes `latents` `[1, channels, frames]` and gives the context's audio too."""

    drops_context = False

    def count(self, latents: int) -> int:
        return latents

    def certain(self, latents: int) -> int:
        return latents

    def latents_for(self, frames: int) -> int:
        return frames

    def inputs(
        self, latents: Float, low: int, high: int, before: int, after: int
    ) -> dict[str, npt.NDArray[Any]]:
        return {"latents": np.ascontiguousarray(latents[low:high].T[None])}


@dataclass(frozen=True)
class XttsFrames:
    """`repeat` steps a latent, then `ratio` frames a step: XTTS, 4 and 24000 / 22050. Source: `export.xtts_graphs`."""

    repeat: int
    ratio: float
    drops_context: bool = True

    def count(self, latents: int) -> int:
        return math.floor(float(latents * self.repeat) * self.ratio)

    def certain(self, latents: int) -> int:
        # a step needs the latent after its own: the last half latent's steps are open, and a frame needs the next step
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
        # one more on each side: a graph without whole positions counts in float32 and may round to the neighbour
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
