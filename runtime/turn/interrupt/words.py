"""Words cut the answer: so many that are neither its own nor a listener's "mhm"."""

from __future__ import annotations

from voxturn.runtime.turn.interrupt.base import Overheard


class AfterWords:
    """A `Strategy`: cuts after `words` words."""

    listens = True
    needs_words = True

    def __init__(self, words: int = 1, pause_ms: int = 100) -> None:
        self.words = words
        self.pause_ms = pause_ms
        self.too_little = f"fewer than {words} words"

    def reason(self, overheard: Overheard) -> str:
        """One as soon as there are enough words."""
        count = len(overheard.words or ())
        return f"{count} word{'s' * (count > 1)}" if count >= self.words else ""
