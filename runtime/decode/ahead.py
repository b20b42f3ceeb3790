"""Steps whose tokens are chosen by the executor: the next one is begun before what the last one
chose is known here.

On a GPU the token of a step is the input of the next one without leaving the device. The host gets
it one step later and finds out only then that a sequence is over; what the step in flight chose for
it is dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from voxturn.runtime.decode.cache import Slot
from voxturn.runtime.decode.generation import Follow, Generation
from voxturn.runtime.decode.sampler import Sampling

_IDLE = Sampling()


@dataclass(frozen=True)
class Chosen:
    """What a step chose for the sequences of its range of slots: tokens, and what went wrong by
    row.

    `hidden` `[B, width]` and `logits` `[B, vocabulary]`, if they were asked for, are the executor's
    own memory.
    """

    tokens: Sequence[int]
    problems: Mapping[int, str]
    hidden: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32] | None


class TokenChooser(Protocol):
    """Steps of a decoder whose tokens are chosen where they are computed, as `decode.sampler` says.

    Two may be in flight.
    """

    def can_choose(self, sampling: Sampling, history: int) -> bool:
        """Whether it has these settings, and room for a history of so many ids."""
        ...

    def start(
        self,
        slot: int,
        past: int,
        pending: int,
        history: Sequence[int],
        given: int,
        sampling: Sampling,
        follow: Follow,
    ) -> None:
        """Take over a sequence: its next input id is `pending`, after `past` positions; `given`
        tokens were chosen."""
        ...

    def choose(self, first: int, count: int, logits: bool) -> None:
        """Begin a step of the slots `first … first + count - 1`, each where the step before left
        it."""
        ...

    def chosen(self) -> Chosen:
        """Wait for the oldest step in flight."""
        ...

    def abandon(self) -> None:
        """Forget what is in flight."""
        ...


@runtime_checkable
class Choosing(Protocol):
    """A decoder executor that may have a chooser."""

    @property
    def chooser(self) -> TokenChooser | None: ...


@dataclass(frozen=True)
class Given:
    """A token for a sequence, and the row of `chosen` that it comes from."""

    sequence: Generation
    row: int
    chosen: Chosen


class StepsAhead:
    """Keeps one step in flight ahead of what is read."""

    def __init__(self, chooser: TokenChooser, slots: Sequence[Slot], capacity: int) -> None:
        self._chooser = chooser
        self._slots = slots
        self._capacity = capacity
        self._held: dict[
            int, Generation | int
        ] = {}  # by slot: who is on the device, or how much an idle slot keeps
        self._flying: deque[dict[int, Generation]] = deque()

    def takes(self, sequence: Generation) -> bool:
        """Whether the executor can choose a sequence's tokens."""
        request = sequence.request
        longest = len(sequence.history) + min(request.max_tokens, self._capacity)
        return not request.forced and self._chooser.can_choose(request.sampling, longest)

    @property
    def flying(self) -> bool:
        """Whether a step is in flight."""
        return bool(self._flying)

    def steps(self, going: Sequence[Generation]) -> Iterator[Given]:
        """Begin the next step of some sequences, and read the one before: its tokens, for all who
        still want them."""
        wanted = {s.slot.index: s for s in going if s.slot is not None}
        if not self._flying:
            self._begin(wanted)
        if self._flying[-1] == wanted and all(self._wants_more(s) for s in going):
            self._begin(wanted)
        return self.land()

    def land(self) -> Iterator[Given]:
        """Read the oldest step in flight."""
        flight = self._flying.popleft()
        chosen, first = self._chooser.chosen(), min(flight)
        for index, sequence in flight.items():
            if not sequence.done and not sequence.cancelled:
                yield Given(sequence, index - first, chosen)

    def abandon(self) -> None:
        """Forget what is in flight, and who is on the device: their next steps are someone else's."""
        self._chooser.abandon()
        self._flying.clear()
        self._held.clear()

    def _begin(self, wanted: dict[int, Generation]) -> None:
        first, last = min(wanted), max(wanted)
        for index in range(first, last + 1):
            sequence, ids = wanted.get(index), self._slots[index].ids
            if sequence is None:  # computed along, past what it keeps
                del ids[self._capacity - 1 :]
                if self._held.get(index) != len(ids):
                    self._chooser.start(index, len(ids), 0, (), 0, _IDLE, Follow())
                    self._held[index] = len(ids)
            elif self._held.get(index) is not sequence:
                s = sequence
                self._chooser.start(
                    index,
                    len(ids),
                    s.pending,
                    s.history,
                    s.given,
                    s.request.sampling,
                    s.request.follow,
                )
                self._held[index] = sequence
        watched = any(s.request.watch is not None for s in wanted.values())
        self._chooser.choose(first, last - first + 1, watched)
        self._flying.append(wanted)

    def _wants_more(self, sequence: Generation) -> bool:
        """Whether it will go on if the step in flight does not end it."""
        given = sequence.given + 1
        room = sequence.slot is not None and len(sequence.slot.ids) + 1 < self._capacity - 1
        return room and given < sequence.request.max_tokens and given < sequence.limit
