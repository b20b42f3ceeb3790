"""When each token was said: dynamic time warping over the cross-attention of the heads that follow
the audio.

Source: whisper's `timing.py`, in CTranslate2's form (`compute_alignments`, `negative_dtw`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
_MEDIAN = 7


def follow(scores: Float) -> Float:
    """How much each token looks at each position, `[tokens, positions]`, of scores `[heads, tokens,
    positions]`."""
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    weights = (weights - weights.mean(1, keepdims=True)) / weights.std(1, keepdims=True)
    half = _MEDIAN // 2
    if weights.shape[-1] > half:
        padded = np.pad(weights, ((0, 0), (0, 0), (half, half)), mode="reflect")
        weights = np.median(
            np.lib.stride_tricks.sliding_window_view(padded, _MEDIAN, axis=-1), axis=-1
        )
    return np.asarray(weights.mean(0), np.float32)


def begins(weights: Float) -> list[int]:
    """The first position of every row of `weights` `[rows, positions]`, on the path that gathers
    the most of them."""
    rows, columns = weights.shape
    cost = np.full((rows + 1, columns + 1), np.inf, np.float32)
    cost[0, 0] = 0
    step = np.zeros((rows + 1, columns + 1), np.int8)
    for diagonal in range(2, rows + columns + 1):
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        both, down, right = cost[i - 1, j - 1], cost[i - 1, j], cost[i, j - 1]
        is_both, is_down = (both < down) & (both < right), (down < both) & (down < right)
        step[i, j] = np.where(is_both, 0, np.where(is_down, 1, 2))
        cost[i, j] = np.where(is_both, both, np.where(is_down, down, right)) - weights[i - 1, j - 1]
    out = [0] * rows
    row, column = rows, columns
    while row > 0 and column > 0:
        out[row - 1] = column - 1
        taken = step[row, column]
        row, column = row - (taken != 2), column - (taken != 1)
    return out
