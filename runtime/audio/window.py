"""Windowed decoding of latents: the streamed samples equal the full decode's. Pure; the decoder is
an argument.

Each window is decoded with `margin` frames of context on both sides, at least the decoder's
receptive field, and the context's samples are dropped. At the ends of the sequence there is none,
as in the full decode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

_LOOK_AHEAD = 24  # windows: by then they grow no more


@dataclass(frozen=True)
class Plan:
    """How windows grow, in frames: the first small, for an early start, then larger, for less
    context in all.

    After the first, `steady` windows more have its size: playback has only that much in hand.

    The last window decodes a multiple of `rounds` frames, some of them once more: executors that
    compile a kernel for every new shape then soon know them all.
    """

    first: int = 20
    largest: int = 160
    growth: float = 2.0
    steady: int = 0
    rounds: int = 1

    def size(self, number: int) -> int:
        """The size of the number-th window."""
        return int(min(self.first * self.growth ** max(0, number - self.steady), self.largest))

    def next(
        self, number: int, begin: int, certain: int, margin: int, total: int | None
    ) -> tuple[int, int] | None:
        """The number-th window, from `begin`, or None while it needs frames that are not certain
        yet.

        `total` is known once the sequence has ended. No crumb smaller than the first window or the
        margin is left for the end.
        """
        end = begin + self.size(number)
        if total is None:
            return (begin, end) if end + margin <= certain else None
        if begin >= total:
            return None
        return begin, total if total - end < max(self.first, margin) else end

    def grown(self) -> tuple[int, int]:
        """The first window from which on they grow no more."""
        number = begin = 0
        while number <= self.steady or self.size(number) < self.size(number + 1):
            begin, number = begin + self.size(number), number + 1
        return begin, begin + self.size(number)

    def decoded_from(self, begin: int, end: int, total: int) -> int:
        """The first frame that the window `[begin, end)` decodes, its context apart."""
        again = -(end - begin) % self.rounds if end == total else 0
        return max(0, begin - again)


@dataclass(frozen=True)
class Speed:
    """How fast a voice is made here: seconds a latent, and a window's `base_s` (may be negative)
    and `frame_s` a frame."""

    latent_s: float
    base_s: float
    frame_s: float

    def window_s(self, frames: int) -> float:
        """Seconds that a window of so many frames takes, its context included."""
        return self.base_s + self.frame_s * frames


def starves(
    plan: Plan, speed: Speed, margin: int, frame_s: float, latents_for: Callable[[int], int]
) -> bool:
    """Whether a loudspeaker that starts with the first window runs dry within the next seconds of a
    long sentence.

    Latents and windows are made one after the other, as on few cores. `frame_s`: what a frame
    lasts; `latents_for` says how many latents make that many frames certain.
    """
    begin, latents, now, dry = 0, 0, 0.0, 0.0
    for number in range(_LOOK_AHEAD):
        end = begin + plan.size(number)
        needed = latents_for(end + margin)
        now += (needed - latents) * speed.latent_s + speed.window_s(
            end - begin + (2 * margin if begin else margin)
        )
        if number and now > dry:
            return True
        dry = (dry if number else now) + (end - begin) * frame_s
        begin, latents = end, needed
    return False


def sustained(
    plans: Sequence[Plan],
    speed: Speed,
    margin: int,
    frame_s: float,
    latents_for: Callable[[int], int],
) -> Plan:
    """The first of `plans`, from the soonest to the safest, that does not starve at a speed; the
    last if all do."""
    steady = (plan for plan in plans if not starves(plan, speed, margin, frame_s, latents_for))
    return next(steady, plans[-1])


def schedule(total: int, plan: Plan | None = None) -> Iterator[tuple[int, int]]:
    """Windows `[begin, end)` over `total` frames."""
    plan, number, begin = plan or Plan(), 0, 0
    while (window := plan.next(number, begin, total, 0, total)) is not None:
        yield window
        number, begin = number + 1, window[1]


def with_margin(begin: int, end: int, total: int, margin: int) -> tuple[int, int, int]:
    """The frames to decode for a window, `[low, high)`, and how many of them come before it."""
    low, high = max(0, begin - margin), min(total, end + margin)
    return low, high, begin - low
