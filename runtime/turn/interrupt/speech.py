"""Any speech cuts the answer at once: for a microphone that never hears the loudspeaker."""

from __future__ import annotations

from voxturn.runtime.turn.interrupt.base import Overheard


class AtOnce:
    """A `Strategy`.

    A cough that sounds like speech cuts as well, and so does the answer's own voice.
    """

    listens = True
    pause_ms = 0
    needs_words = False
    too_little = "no speech"

    def reason(self, overheard: Overheard) -> str:
        """Always one: there is speech."""
        return "speech"
