"""Which stage of a turn goes first where stages share the cores (docs/decisions/0008)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache

from voxturn.runtime.flow.scheduling import Gate, Pace

FIRST_AUDIO = 0
URGENCY = {"convert": 1, "vocode": 1, "speak": 2, "reply": 3}
"""Lower goes first; stages that are not here take no turns."""
_REPLY_GRACE_S = 0.005  # not between two steps of the voice,
_REPLY_PATIENCE_S = 0.5  # but a share of the cores,
_REPLY_LEAD_S = (
    0.3  # and all of them once the voice is so far ahead: the next clause has to be written in time
)


class SharedCores:
    """The turns that stages take at one set of cores, and how far the voice is ahead of its
    loudspeakers."""

    def __init__(self, gate: Gate | None = None, pace: Pace | None = None) -> None:
        self.gate = gate or Gate()
        self.pace = pace or Pace()

    def turns(self, stage: str) -> Callable[[bool], AbstractContextManager[object]]:
        """What a stage's lane enters for every call; it is told whether someone waits for an answer
        to begin."""
        if stage == "reply":
            return lambda _: self.gate.turn(URGENCY[stage], _REPLY_GRACE_S, self._reply_patience_s)
        return lambda urgent: self.gate.turn(FIRST_AUDIO if urgent else URGENCY[stage])

    def _reply_patience_s(self) -> float:
        return 0.0 if self.pace.lead_s > _REPLY_LEAD_S else _REPLY_PATIENCE_S


@cache
def process_cores() -> SharedCores:
    """This process's: it has one set of cores, however many profiles it has loaded."""
    return SharedCores()
