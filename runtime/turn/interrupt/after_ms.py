"""Speech of a certain length cuts the answer, unless its words are known by then and excuse it."""

from __future__ import annotations

from voxturn.runtime.turn.interrupt.base import Overheard


class AfterMs:
    """A `Strategy`: cuts after `ms` of speech."""

    listens = True
    needs_words = True

    def __init__(self, ms: int = 600, pause_ms: int = 100) -> None:
        self.ms = ms
        self.pause_ms = pause_ms
        self.too_little = f"less than {ms} ms of speech"

    def reason(self, overheard: Overheard) -> str:
        """One as soon as the speech is long enough and not known to be excused."""
        excused = overheard.words is not None and not overheard.words
        return f"{self.ms} ms of speech" if overheard.ms >= self.ms and not excused else ""
