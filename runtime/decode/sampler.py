"""The sampler: logits, history and a counter in, one token id out. The specification of every
sampler we have.

The numpy twin here, the C++ in `native/sampler.cpp` (and a CUDA one) give the same token for the
same input:

1. Logits are float32, converted to double; all arithmetic is double. NaN is an error; so is no
   finite logit.
2. Repetition penalty r (CTRL, Keskar et al. 2019, as in transformers' processor): each id of the
   history once, logit < 0 → logit * r, else logit / r.
3. Order: by logit, greatest first; ties to the lower id. Temperature 0 → the first.
4. Top-k keeps the first k (0: all).
5. Weights w = exp((logit - greatest logit) / temperature), summed in that order: prefix sums S.
6. Top-p keeps i while S[i-1] < p * S[last] (the first always); min-p keeps i while w[i] >= min_p.
7. u = (x0 >> 5) * 2^26 + (x1 >> 6) over 2^53, with x of Philox4x32-10 (Salmon et al. 2011), key the
   seed, counter (counter's low word, high word, 0, 0). The token is the first with S[i] > u *
   S[last kept].

`exp` may differ between libraries in the last bit: a token could then differ where u falls within
1e-16 of an edge.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from voxturn.runtime.errors import InferenceFailed, UsageError

Logits = npt.NDArray[np.float32]
_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Temperature 0 is greedy; `top_k` 0, `top_p` 1 and `min_p` 0 are off.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if (
            not 0 <= self.temperature < math.inf
            or self.top_k < 0
            or not 0 < self.top_p <= 1
            or not 0 <= self.min_p <= 1
        ):
            raise UsageError(
                f"sampling out of range: {self}; temperature ≥ 0, top_k ≥ 0, 0 < top_p ≤ 1, 0 ≤ min_p ≤ 1"
            )
        if not 0 < self.repetition_penalty < math.inf or not 0 <= self.seed < 1 << 64:
            raise UsageError(
                f"sampling out of range: {self}; repetition_penalty > 0, 0 ≤ seed < 2^64"
            )

    def with_seed(self, seed: int) -> Sampling:
        """The same settings with another seed."""
        return replace(self, seed=seed)


def uniform(seed: int, counter: int) -> float:
    """The counter-th number of the seed's stream, in [0, 1): point 7 of the specification."""
    x0, x1, x2, x3 = philox4x32((counter & _MASK, counter >> 32, 0, 0), (seed & _MASK, seed >> 32))
    del x2, x3
    return float((x0 >> 5) * 67108864 + (x1 >> 6)) / 9007199254740992.0


def philox4x32(
    counter: tuple[int, int, int, int], key: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Ten rounds of Philox4x32."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (b >> 32) ^ x1 ^ k0, b & _MASK, (a >> 32) ^ x3 ^ k1, a & _MASK
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return x0, x1, x2, x3


@np.errstate(
    over="ignore"
)  # an extreme penalty or temperature: infinity is what the arithmetic gives
def sample_numpy(
    logits: Logits, history: npt.NDArray[np.int64], sampling: Sampling, counter: int
) -> int:
    """The numpy twin.

    Raises ValueError for NaN, for no finite logit, for a history id outside the vocabulary.
    """
    values = logits.astype(np.float64)
    if np.isnan(values).any():
        raise ValueError("logits hold NaN")
    if sampling.repetition_penalty != 1.0 and history.size:
        if history.min() < 0 or history.max() >= values.size:
            raise ValueError("history holds an id outside the vocabulary")
        seen = values[history]
        values[history] = np.where(
            seen < 0, seen * sampling.repetition_penalty, seen / sampling.repetition_penalty
        )
    best = int(np.argmax(values)) if values.size else 0
    if not values.size or np.isinf(values[best]):
        raise ValueError("no logit is finite")
    if sampling.temperature == 0.0:
        return best
    order = _first(values, sampling.top_k or values.size)
    weights = np.exp((values[order] - values[best]) / sampling.temperature)
    sums = np.cumsum(weights)
    dropped = (sums[:-1] >= sampling.top_p * sums[-1]) | (weights[1:] < sampling.min_p)
    count = 1 + int(np.argmax(dropped)) if dropped.any() else sums.size
    target = uniform(sampling.seed, counter) * sums[count - 1]
    return int(order[min(int(np.searchsorted(sums[:count], target, side="right")), count - 1)])


def _first(values: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    """Indices of the `count` greatest values, greatest first, ties to the lower index."""
    if count >= values.size:
        return np.argsort(-values, kind="stable")
    edge = np.partition(values, values.size - count)[values.size - count]
    near = np.flatnonzero(values >= edge)
    return near[np.argsort(-values[near], kind="stable")][:count]


def _load_native() -> Callable[..., int] | None:
    try:
        module = importlib.import_module("voxturn.runtime._native")
    except ImportError:
        return None
    native: Callable[..., int] = module.sample
    return native


_native = _load_native()
BACKEND = "native" if _native is not None else "numpy"
"""Which sampler `sample` uses; `voxturn doctor` and the trace say it."""


def sample(logits: Logits, history: Sequence[int], sampling: Sampling, counter: int) -> int:
    """Choose a token id from float32 logits `[vocabulary]`.

    Raises `InferenceFailed` if the logits are unusable.
    """
    seen = np.asarray(history, np.int64)
    try:
        if _native is None:
            return sample_numpy(logits, seen, sampling, counter)
        s = sampling
        top_k = min(s.top_k, logits.size)  # it may be any integer
        return _native(
            logits,
            seen,
            s.temperature,
            top_k,
            s.top_p,
            s.min_p,
            s.repetition_penalty,
            s.seed,
            counter,
        )
    except ValueError as exc:
        raise InferenceFailed(f"sampler: {exc}; the model's output is damaged") from exc
