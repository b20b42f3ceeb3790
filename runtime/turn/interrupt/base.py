"""What a strategy is asked, and what it answers.

Pure: what was overheard so far in, a reason to cut the answer out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Overheard:
    """Speech over an answer, so far: how long it has gone on, and its words.

    `words` are None while they are not known, and empty where they are the answer's own or a
    listener's "mhm".
    """

    ms: float
    words: tuple[str, ...] | None


class Strategy(Protocol):
    """When speech over an answer cuts it.

    `listens`: whether what is said over the answer is heard at all. `pause_ms`: how much speech
    pauses the playback; 0: none does. `needs_words`: the recogniser is asked for the words, and
    what is the answer's own voice, a "mhm" or no words at all is no interruption. `too_little`: why
    speech that ended before there was a reason to cut is none.
    """

    listens: bool
    pause_ms: int
    needs_words: bool
    too_little: str

    def reason(self, overheard: Overheard) -> str:
        """Why the answer is cut now; empty while it is not."""
        ...
