"""A Tacotron's loop over one text, and its frames made finer window by window.

The states of a step are whatever the graph that encodes the text gives: the loop hands them from one
step to the next and knows none of them by name. Source: coqui-tts 0.28,
`layers/tacotron/tacotron2.py` (`Decoder.inference`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
from voxturn.runtime.audio.window import Plan, with_margin
from voxturn.runtime.protocols import GraphExecutor, Tensor

_STOPS, _NEXT = 0.5, "next_"
Float = npt.NDArray[np.float32]


class Guard(Protocol):
    """Sees each step's alignment and says when nothing more is wanted."""

    def ends(self, alignment: Float) -> bool: ...


class NoGuard:
    """Ends nothing."""

    def ends(self, alignment: Float) -> bool:
        return False


class Loop:
    """Steps over one encoded text. `keep` draws what the prenet keeps, where it drops some; `most`
    steps are made.

    `over`: the last step was made; `cut`: why, if the model itself did not end it.
    """

    def __init__(
        self,
        step: GraphExecutor,
        encoded: Mapping[str, Tensor],
        most: int,
        guard: Guard | None = None,
        keep: Callable[[], Float] | None = None,
    ) -> None:
        self._step = step
        self._inputs = dict(encoded)
        self._most = most
        self._guard = guard or NoGuard()
        self._keep = keep
        self.steps = 0
        self.over = False
        self.cut = ""

    def next(self) -> Float:
        """The frames `[frames, mels]` of the next step."""
        if self._keep is not None:
            self._inputs["keep"] = self._keep()
        outputs = self._step.run(self._inputs)
        for name, value in outputs.items():
            if name.startswith(_NEXT):
                self._inputs[name.removeprefix(_NEXT)] = value
        self.steps += 1
        if self.steps > 1 and float(outputs["stop"][0, 0]) > _STOPS:
            self.over = True
        elif self._guard.ends(outputs["alignment"][0]):
            self.over, self.cut = True, "attention"
        elif self.steps >= self._most:
            self.over, self.cut = True, "length"
        frames: Float = outputs["frames"][0]
        return frames


class FineMels:
    """The frames of one text through the postnet, which sees `margin` frames to either side, in
    windows of `size`; the first and the last mel are `repeated`, as upstream's vocoders do."""

    def __init__(self, post: GraphExecutor, size: int, margin: int, repeated: int) -> None:
        self._post = post
        self._plan = Plan(first=size, largest=size)
        self._margin = margin
        self._repeated = repeated
        self._frames: list[Float] = []
        self._count = 0
        self._begin = 0

    def add(self, frames: Float) -> None:
        """The next frames `[frames, mels]`."""
        self._frames.append(frames)
        self._count += len(frames)

    def ready(self, final: bool) -> Float | None:
        """The next mels `[frames, mels]`, all that are left where no frames follow (`final`); None
        while frames are missing."""
        total = self._count if final else None
        window = self._plan.next(0, self._begin, self._count, self._margin, total)
        if window is None:
            return None
        begin, end = window[0], self._count if final else window[1]
        low, high, before = with_margin(begin, end, self._count, self._margin)
        frames = np.concatenate(self._frames)
        self._frames = [frames]
        mels = np.ascontiguousarray(frames[low:high].T[None])
        fine = self._post.run({"mels": mels})["latents"][0].T[before : before + end - begin]
        self._begin = end
        repeats = (0 if begin else self._repeated, self._repeated if final else 0)
        return np.ascontiguousarray(np.pad(fine, (repeats, (0, 0)), mode="edge"))
