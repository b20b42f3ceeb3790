"""Which tokens each slot's key/value buffers hold, so that a prompt pays only for what no slot has
seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Slot:
    """One sequence's place in the executor's buffers. `ids` are the tokens whose keys and values
    are there.

    Equal ids mean the same only within a `namespace`.
    """

    index: int
    ids: list[int] = field(default_factory=list)
    namespace: str = ""
    busy: bool = False
    used: int = 0


@dataclass(frozen=True)
class Placement:
    """Where a prompt goes: `slot`, of which `length` positions stay; copy them first from `donor`
    unless it is None."""

    slot: Slot
    length: int
    donor: Slot | None


class PrefixCache:
    """The slots of one executor.

    A slot keeps its tokens after its sequence ended, until another takes its place.
    """

    def __init__(self, slots: int) -> None:
        self.slots = [Slot(i) for i in range(slots)]
        self._time = 0

    def place(self, prompt: Sequence[int], namespace: str = "") -> Placement | None:
        """Take a free slot for `prompt`, or None if all are busy.

        At least one token is always left to compute.
        """
        free = [slot for slot in self.slots if not slot.busy]
        if not free:
            return None
        limit = len(prompt) - 1
        common = {
            slot.index: common_prefix(slot.ids[:limit], prompt)
            if slot.namespace == namespace
            else 0
            for slot in self.slots
        }
        donor = max(self.slots, key=lambda slot: common[slot.index])
        length = common[donor.index]
        # The slot whose loss is least: an unused one, the one that goes on with this prompt, or the
        # shortest.
        target = min(free, key=lambda s: (len(s.ids) - common[s.index], -common[s.index], s.used))
        if common[target.index] == length:
            donor = target
        self._time += 1
        target.busy, target.used = True, self._time
        target.ids, target.namespace = list(prompt[:length]), namespace
        return Placement(target, length, None if donor is target else donor)

    def release(self, slot: Slot) -> None:
        """The sequence ended; its tokens stay for whoever comes with the same beginning."""
        slot.busy = False


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences share at their beginning."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
