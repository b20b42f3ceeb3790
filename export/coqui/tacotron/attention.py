"""The attentions of Tacotron 2 that no text moves backwards by itself: which symbol a step says.

An attention adds to the graph that encodes the text the state that it begins with, and to the step
one that reads this state and gives the next. Source: coqui-tts 0.28, `layers/tacotron/attentions.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from voxturn.export.checkpoint import Shapes
from voxturn.export.coqui.layers import biased
from voxturn.export.coqui.tacotron.layers import column, first_of, positions
from voxturn.export.net import Net
from voxturn.export.weights import Weights

PREFIX = "decoder.attention"
Shape = list[int | str]
State = dict[str, str]
"""Values by the name of the state that they are."""
_EPSILON, _NEAR_ZERO = 1e-5, 1e-8


class Attention(Protocol):
    """Sizes of an attention, and its nodes."""

    def shapes(self) -> Shapes:
        """Every parameter of it."""
        ...

    def states(self) -> dict[str, Shape]:
        """The shapes of what a step reads besides the memory."""
        ...

    def start(self, n: Net, memory: str, count: str) -> State:
        """The states before the first step, of a text of `count` symbols."""
        ...

    def attend(self, n: Net, query: str, memory: str, states: State) -> tuple[str, State]:
        """How much of each symbol `[1, T]` a step reads, and the states that it changes."""
        ...


def context_of(n: Net, alignment: str, memory: str) -> str:
    """What is read `[1, width]` of the memory `[1, T, width]`."""
    return n.op("Squeeze", n.op("MatMul", column(n, alignment), memory), n.const([1]))


@dataclass(frozen=True)
class GravesAttention:
    """A mixture of `heads` steps that move on by themselves."""

    query: int
    heads: int

    @classmethod
    def of(cls, w: Weights) -> GravesAttention:
        """Raises `LookupError` or `ValueError` where it is none."""
        outputs, query = w.shape(f"{PREFIX}.N_a.2.weight")
        return cls(query, outputs // 3)

    def shapes(self) -> Shapes:
        inner, last = f"{PREFIX}.N_a.0", f"{PREFIX}.N_a.2"
        return biased(inner, self.query, self.query) | biased(last, 3 * self.heads, self.query)

    def states(self) -> dict[str, Shape]:
        return {"means": [1, self.heads]}

    def start(self, n: Net, memory: str, count: str) -> State:
        return {"means": n.const(np.zeros((1, self.heads), np.float32), np.float32)}

    def attend(self, n: Net, query: str, memory: str, states: State) -> tuple[str, State]:
        inner = n.op("Relu", n.linear(query, f"{PREFIX}.N_a.0"))
        values = n.linear(inner, f"{PREFIX}.N_a.2")
        weight, width, step = n.split(values, [self.heads] * 3, axis=1)
        means = n.op("Add", states["means"], n.op("Softplus", step))
        weight = n.op("Add", n.op("Softmax", weight, axis=-1), n.const(_EPSILON))
        width = n.op("Add", n.op("Softplus", width), n.const(_EPSILON))
        ends = n.op("Add", positions(n, memory, more=1), n.const(0.5))
        rows = [n.op("Unsqueeze", each, n.const([2])) for each in (means, width, weight)]
        passed = n.op("Sigmoid", n.op("Div", n.op("Sub", rows[0], ends), rows[1]))
        share = n.op("Div", rows[2], n.op("Add", passed, n.const(1.0)))
        total = n.op("ReduceSum", share, n.const([1]), keepdims=0)
        end, largest = n.const([1]), 1 << 62
        after = n.op("Slice", total, end, n.const([largest]), n.const([1]))
        before = n.slice(total, 0, -1, axis=1)
        alignment = n.op("Sub", after, before)
        none = n.op("Equal", alignment, n.const(0.0))
        return n.op("Where", none, n.const(_NEAR_ZERO), alignment), {"means": means}


@dataclass(frozen=True)
class DynamicConvolutionAttention:
    """Battenberg et al. 2020: moves on by fixed and by asked filters over where it was."""

    query: int
    width: int
    fixed: int
    fixed_kernel: int
    asked: int
    asked_kernel: int
    prior: int

    @classmethod
    def of(cls, w: Weights) -> DynamicConvolutionAttention:
        """Raises `LookupError` or `ValueError` where it is none."""
        width, query = w.shape(f"{PREFIX}.query_layer.weight")
        fixed, _, fixed_kernel = w.shape(f"{PREFIX}.static_filter_conv.weight")
        asked = w.shape(f"{PREFIX}.dynamic_filter_layer.weight")[1]
        kernel = w.shape(f"{PREFIX}.key_layer.weight")[0] // asked
        prior = w.shape(f"{PREFIX}.prior")[0]
        return cls(query, width, fixed, fixed_kernel, asked, kernel, prior)

    def shapes(self) -> Shapes:
        return {
            **biased(f"{PREFIX}.query_layer", self.width, self.query),
            f"{PREFIX}.key_layer.weight": (self.asked * self.asked_kernel, self.width),
            f"{PREFIX}.static_filter_conv.weight": (self.fixed, 1, self.fixed_kernel),
            f"{PREFIX}.static_filter_layer.weight": (self.width, self.fixed),
            **biased(f"{PREFIX}.dynamic_filter_layer", self.width, self.asked),
            f"{PREFIX}.v.weight": (1, self.width),
            f"{PREFIX}.prior": (self.prior,),
        }

    def states(self) -> dict[str, Shape]:
        return {"weights": [1, "phonemes"]}

    def start(self, n: Net, memory: str, count: str) -> State:
        return {"weights": first_of(n, count, 0.0)}

    def attend(self, n: Net, query: str, memory: str, states: State) -> tuple[str, State]:
        weights = column(n, states["weights"])
        keys = n.op("Tanh", n.linear(query, f"{PREFIX}.query_layer"))
        filters = n.linear(keys, f"{PREFIX}.key_layer", bias=False)
        filters = n.reshape(filters, 1, self.asked, self.asked_kernel)
        asked = n.op("MatMul", filters, self._around(n, weights))
        asked = n.op("Transpose", asked, perm=[0, 2, 1])
        fixed = n.conv(
            weights, f"{PREFIX}.static_filter_conv", pad=self.fixed_kernel // 2, bias=False
        )
        fixed = n.op("Transpose", fixed, perm=[0, 2, 1])
        hidden = n.op(
            "Add",
            n.linear(fixed, f"{PREFIX}.static_filter_layer", bias=False),
            n.linear(asked, f"{PREFIX}.dynamic_filter_layer"),
        )
        energies = n.reshape(n.linear(n.op("Tanh", hidden), f"{PREFIX}.v", bias=False), 1, -1)
        alignment = n.op("Softmax", n.op("Add", energies, self._prior(n, weights)), axis=-1)
        return alignment, {"weights": alignment}

    def _around(self, n: Net, weights: str) -> str:
        """The weights about each symbol `[1, kernel, T]`."""
        pick = np.eye(self.asked_kernel, dtype=np.float32)[:, None]
        half = self.asked_kernel // 2
        return n.op("Conv", weights, n.const(pick, np.float32), pads=[half, half])

    def _prior(self, n: Net, weights: str) -> str:
        """The logarithm of what the way so far makes likely `[1, T]`."""
        prior = n.weight(f"{PREFIX}.prior", n.w.take(f"{PREFIX}.prior")[None, None])
        likely = n.op("Conv", weights, prior, pads=[self.prior - 1, 0])
        return n.reshape(n.op("Log", n.op("Max", likely, n.const(1e-6))), 1, -1)
