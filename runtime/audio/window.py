"""Windowed decoding of latents: the streamed samples equal the full decode's. Pure; the decoder is an argument.

Each window is decoded with `margin` frames of context on both sides, at least the decoder's receptive field, and the
context's samples are dropped. At the ends of the sequence there is none, as in the full decode.
"""

from __future__ import annotations

from collections.abc import Iterator

FIRST_FRAMES, LARGEST_FRAMES, GROWTH = 20, 160, 2.0


def schedule(
    total: int, first: int = FIRST_FRAMES, largest: int = LARGEST_FRAMES, growth: float = GROWTH
) -> Iterator[tuple[int, int]]:
    """Windows `[begin, end)` over `total` frames: the first small, for an early start, then growing."""
    begin, size = 0, float(first)
    while begin < total:
        end = begin + int(size)
        if total - end < first:  # no crumb at the end
            end = total
        yield begin, min(end, total)
        begin, size = end, min(size * growth, float(largest))


def with_margin(begin: int, end: int, total: int, margin: int) -> tuple[int, int, int]:
    """The frames to decode for a window, `[low, high)`, and how many of them come before it."""
    low, high = max(0, begin - margin), min(total, end + margin)
    return low, high, begin - low
