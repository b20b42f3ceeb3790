"""Nothing cuts the answer but the program: what is said over it is not heard."""

from __future__ import annotations

from voxturn.runtime.turn.interrupt.base import Overheard


class Never:
    """A `Strategy`."""

    listens = False
    pause_ms = 0
    needs_words = False
    too_little = "answers are not interrupted"

    def reason(self, overheard: Overheard) -> str:
        """Never one."""
        return ""
