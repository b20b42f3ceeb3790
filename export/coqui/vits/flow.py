"""The flow between the latents of two voices, or of a text and a voice (Dinh et al. 2017), as nodes of
a graph.

Source: coqui-tts 0.28, `layers/vits/networks.py`, `vc/models/freevc.py`.
"""

from __future__ import annotations

from voxturn.export.coqui.layers import coupled, uncoupled, wavenet
from voxturn.export.coqui.vits.sizes import FLOW, FlowSizes
from voxturn.export.net import Net


def flow_forwards(n: Net, s: FlowSizes, x: str, channels: int, voice: str) -> str:
    """`x` `[1, channels, T]` through the blocks; channels change their order behind each."""
    half = channels // 2
    for i in range(s.blocks):
        still, moved = n.split(x, [half, half], axis=1)
        x = _reversed(n, coupled(n, still, moved, _stats(n, s, still, i, voice), half, s.scales))
    return x


def flow_backwards(n: Net, s: FlowSizes, x: str, channels: int, voice: str) -> str:
    """The blocks backwards; channels change their order before each."""
    half = channels // 2
    for i in range(s.blocks - 1, -1, -1):
        still, moved = n.split(_reversed(n, x), [half, half], axis=1)
        x = uncoupled(n, still, moved, _stats(n, s, still, i, voice), half, s.scales)
    return x


def _reversed(n: Net, x: str) -> str:
    """`x` with its channels from the last to the first."""
    last, beyond, axis, step = (n.const([v]) for v in (-1, -(1 << 31), 1, -1))
    return n.op("Slice", x, last, beyond, axis, step)


def _stats(n: Net, s: FlowSizes, still: str, number: int, voice: str) -> str:
    """What a block tells the moved half of the one that stays."""
    block = f"{FLOW}.{number}"
    hidden = wavenet(n, s.wavenet, n.conv(still, f"{block}.pre"), f"{block}.enc", voice)
    return n.conv(hidden, f"{block}.post")
