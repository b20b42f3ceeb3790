"""Tacotron 2's usual attention: additive, aware of where it was, and its variants at inference.

Variants: forward attention with or without its agent and mask, a window, sigmoids in place of a
softmax. Source: coqui-tts 0.28, `OriginalAttention` of `layers/tacotron/attentions.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from voxturn.export.checkpoint import Shapes
from voxturn.export.coqui.layers import FLOAT, biased
from voxturn.export.coqui.tacotron.attention import PREFIX, Shape, State, context_of
from voxturn.export.coqui.tacotron.layers import column, first_of, positions, zeros
from voxturn.export.net import Net
from voxturn.export.weights import Weights

_NORMS = ("softmax", "sigmoid")
_QUERY, _KEYS, _SCORE = (f"{PREFIX}.{name}" for name in ("query_layer", "inputs_layer", "v"))
_PLACES, _AGENT = f"{PREFIX}.location_layer", f"{PREFIX}.ta"
_BACK, _FRONT = 2.0, 6.0
"""Symbols that a window reaches back, and to the front."""
_START = -1.0
"""The window's place before the first step."""
_LEAST, _NEXT_TO_NONE = 1e-7, 1e-8


@dataclass(frozen=True)
class AdditiveAttention:
    """`filters` of `kernel` symbols over where it was, or none; `agent`: says itself how likely it
    moves on. `masked`: it moves on by three symbols at most."""

    query: int
    memory: int
    width: int
    filters: int
    kernel: int
    norm: str
    windowed: bool
    forward: bool
    masked: bool
    agent: bool

    @classmethod
    def of(cls, w: Weights, config: Mapping[str, Any]) -> AdditiveAttention:
        """Raises `LookupError` or `ValueError` where it is none."""
        width, query = w.shape(f"{_QUERY}.linear_layer.weight")
        places = f"{_PLACES}.location_conv1d.weight"
        filters, _, kernel = w.shape(places) if places in w else (0, 0, 0)
        norm = str(config.get("attention_norm", "sigmoid"))
        if norm not in _NORMS:
            raise ValueError(f"attention_norm {norm[:80]!r} is none of {', '.join(_NORMS)}")
        return cls(
            query=query,
            memory=w.shape(f"{_KEYS}.linear_layer.weight")[1],
            width=width,
            filters=filters,
            kernel=kernel,
            norm=norm,
            windowed=bool(config.get("attention_win", False)),
            forward=bool(config.get("use_forward_attn", False)),
            masked=bool(config.get("forward_attn_mask", False)),
            agent=f"{_AGENT}.weight" in w,
        )

    def __post_init__(self) -> None:
        """Raise `ValueError` for an agent that nothing asks."""
        if self.agent and not self.forward:
            raise ValueError("a transition agent without forward attention")

    def shapes(self) -> Shapes:
        shapes: Shapes = {
            f"{_QUERY}.linear_layer.weight": (self.width, self.query),
            f"{_KEYS}.linear_layer.weight": (self.width, self.memory),
            **biased(f"{_SCORE}.linear_layer", 1, self.width),
        }
        if self.kernel:
            shapes[f"{_PLACES}.location_conv1d.weight"] = (self.filters, 2, self.kernel)
            shapes[f"{_PLACES}.location_dense.linear_layer.weight"] = (self.width, self.filters)
        return shapes | (biased(_AGENT, 1, self.query + self.memory) if self.agent else {})

    def states(self) -> dict[str, Shape]:
        row: Shape = [1, "phonemes"]
        states: dict[str, Shape] = {"keys": [1, "phonemes", self.width]}
        states |= {"weights": row, "cumulative": row} if self.kernel else {}
        states |= {"window": [1, 1]} if self.windowed else {}
        states |= {"alpha": row} if self.forward else {}
        return states | ({"moves": [1, 1]} if self.agent else {})

    def start(self, n: Net, memory: str, count: str) -> State:
        starts = {
            "keys": lambda: n.linear(memory, f"{_KEYS}.linear_layer", bias=False),
            "weights": lambda: zeros(n, count),
            "cumulative": lambda: zeros(n, count),
            "window": lambda: _single(n, _START),
            "alpha": lambda: first_of(n, count, _LEAST),
            "moves": lambda: _single(n, 0.5),
        }
        return {name: starts[name]() for name in self.states()}

    def attend(self, n: Net, query: str, memory: str, states: State) -> tuple[str, State]:
        energies, changed = self._energies(n, query, states), dict[str, str]()
        if self.windowed:
            energies = _windowed(n, energies, states["window"], memory)
            place = n.op("ArgMax", energies, axis=1, keepdims=1)
            changed["window"] = n.op("Cast", place, to=FLOAT)
        if self.norm == "softmax":
            alignment = n.op("Softmax", energies, axis=-1)
        else:
            alignment = _share(n, n.op("Sigmoid", energies))
        if self.kernel:
            changed["cumulative"] = n.op("Add", states["cumulative"], alignment)
        if self.forward:
            alignment = changed["alpha"] = self._forward(n, alignment, states, memory)
        if self.kernel:
            changed["weights"] = alignment
        if self.agent:
            asked = n.op("Concat", context_of(n, alignment, memory), query, axis=1)
            changed["moves"] = n.op("Sigmoid", n.linear(asked, _AGENT))
        return alignment, changed

    def _energies(self, n: Net, query: str, states: State) -> str:
        asked = column(n, n.linear(query, f"{_QUERY}.linear_layer", bias=False))
        if self.kernel:
            was = n.op("Concat", *(column(n, states[k]) for k in ("weights", "cumulative")), axis=1)
            half = self.kernel // 2
            places = n.conv(was, f"{_PLACES}.location_conv1d", pad=half, bias=False)
            places = n.op("Transpose", places, perm=[0, 2, 1])
            dense = f"{_PLACES}.location_dense.linear_layer"
            asked = n.op("Add", asked, n.linear(places, dense, bias=False))
        hidden = n.op("Tanh", n.op("Add", asked, states["keys"]))
        return n.reshape(n.linear(hidden, f"{_SCORE}.linear_layer"), 1, -1)

    def _forward(self, n: Net, alignment: str, states: State, memory: str) -> str:
        """What is read where every symbol was reached from itself or from the one before."""
        alpha = states["alpha"]
        shifted = n.slice(n.pad(alpha, 1, 0, axis=1), 0, -1, axis=1)
        moves = states["moves"] if self.agent else n.const(0.5)
        stays = n.op("Sub", n.const(1.0), moves)
        reached = n.op("Add", n.op("Mul", stays, alpha), n.op("Mul", moves, shifted))
        reached = n.op("Mul", n.op("Add", reached, n.const(_NEXT_TO_NONE)), alignment)
        if self.masked:
            reached = _masked(n, reached, shifted, memory)
        return _share(n, reached)


def _masked(n: Net, reached: str, shifted: str, memory: str) -> str:
    """`reached` from one symbol before the likeliest to two behind it; the second before it has a
    hundredth of the likeliest. Upstream takes places before the first from the end."""
    place = n.op("Cast", n.op("ArgMax", shifted, axis=1, keepdims=1), to=FLOAT)
    where = positions(n, memory)
    low = n.op("Sub", place, n.const(1.0))
    high = n.op("Add", place, n.const(3.0))
    far = n.op("Or", n.op("Less", where, low), n.op("Not", n.op("Less", where, high)))
    count = n.op("Cast", n.op("Shape", memory, start=1, end=2), to=FLOAT)
    second = n.op("Sub", place, n.const(2.0))
    second = n.op("Where", n.op("Less", second, n.const(0.0)), n.op("Add", second, count), second)
    little = n.op("Mul", n.op("ReduceMax", reached, n.const([1]), keepdims=1), n.const(0.01))
    reached = n.op("Where", far, n.const(0.0), reached)
    return n.op("Where", n.op("Equal", where, second), little, reached)


def _windowed(n: Net, energies: str, window: str, memory: str) -> str:
    """`energies` about the window's place; in the first step the first symbol has the largest."""
    where = positions(n, memory)
    back = n.op("Less", where, n.op("Sub", window, n.const(_BACK)))
    front = n.op("Less", where, n.op("Add", window, n.const(_FRONT)))
    far = n.op("Or", back, n.op("Not", front))
    energies = n.op("Where", far, n.const(float("-inf")), energies)
    first = n.op("And", n.op("Less", window, n.const(0.0)), n.op("Less", where, n.const(1.0)))
    largest = n.op("ReduceMax", energies, n.const([1]), keepdims=1)
    return n.op("Where", first, largest, energies)


def _share(n: Net, x: str) -> str:
    return n.op("Div", x, n.op("ReduceSum", x, n.const([1]), keepdims=1))


def _single(n: Net, value: float) -> str:
    return n.const(np.full((1, 1), value, np.float32), np.float32)
