"""Windows of XTTS's vocoder in frames of 10.7 ms: docs/performance.md says how they were chosen."""

from __future__ import annotations

from dataclasses import replace

from voxturn.runtime.audio.window import Plan

_EARLIEST = Plan(first=9, largest=96, growth=1.25, steady=2, rounds=16)
ALONE = (
    _EARLIEST,
    replace(_EARLIEST, first=12, growth=1.2),
    replace(_EARLIEST, first=16, growth=1.15),
    replace(_EARLIEST, first=20, growth=1.1),
    replace(_EARLIEST, first=28, growth=1.1),
)
"""For a voice that has the cores to itself, from the earliest-starting plan to the safest."""

IN_TURN = (replace(_EARLIEST, first=16, growth=1.1), *ALONE[3:])
"""In a turn the reply is written on the same cores: a longer first window, so that the voice has
more in hand."""

FEW_SHAPES = (Plan(first=9, largest=72, growth=2.0, steady=2, rounds=24),)
"""Where each new shape takes half a second once, and a window 1 to 3 ms."""
