"""The stable beginning of what is being said: that in which successive hypotheses agree. Pure.

Source: LocalAgreement-2 of Macháček et al. 2023 ("Turning Whisper into Real-Time Transcription
System").
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import takewhile
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Agreement(Generic[T]):
    """Push hypotheses, as items that mean whole words; `stable` only grows, whatever comes."""

    def __init__(self) -> None:
        self.stable: tuple[T, ...] = ()
        self._last: tuple[T, ...] = ()

    def push(self, hypothesis: Sequence[T]) -> tuple[T, ...]:
        """What of the hypothesis lies beyond the stable items; none where it contradicts them."""
        pairs = zip(hypothesis, self._last, strict=False)
        agreed = tuple(item for item, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._last = tuple(hypothesis)
        if agreed[: len(self.stable)] == self.stable:
            self.stable = agreed
        return (
            self._last[len(self.stable) :] if self._last[: len(self.stable)] == self.stable else ()
        )
