"""A checkpoint's parameters: read, counted, checked as a whole."""

from __future__ import annotations

import re

import numpy as np
import pytest
from voxturn.export.weights import Weights
from voxturn.runtime.errors import CorruptModel, ExportFailed

ONES = np.ones((2, 3, 1), np.float32)


def test_numbered_modules_are_counted_from_nothing_on() -> None:
    names = ("a.0.x", "a.1.x", "a.1.y", "a.10.x", "a.b.0", "ab.2.x")
    weights = Weights(dict.fromkeys(names, ONES))
    assert weights.count("a") == 2
    assert weights.count("a.b") == 1
    assert weights.count("c") == 0


@pytest.mark.parametrize(
    ("length", "direction"),
    [
        ("x.weight_g", "x.weight_v"),
        ("x.parametrizations.weight.original0", "x.parametrizations.weight.original1"),
    ],
)
def test_a_weight_norm_is_the_weight_that_it_stands_for(length: str, direction: str) -> None:
    lengths = np.array([3.0, 5.0], np.float32).reshape(2, 1, 1)
    weights = Weights({length: lengths, direction: 7 * ONES})
    norms = np.sqrt((weights.weight("x") ** 2).sum((1, 2)))
    np.testing.assert_allclose(norms, [3.0, 5.0], rtol=1e-6)
    assert weights.weight_shape("x") == (2, 3, 1)
    assert weights.weight_shapes("x", 2, 3, 1) == {length: (2, 1, 1), direction: (2, 3, 1)}


def test_a_plain_weight_has_its_own_shape() -> None:
    weights = Weights({"x.weight": ONES})
    assert weights.weight_shape("x") == (2, 3, 1)
    assert weights.weight_shapes("x", 4, 3) == {"x.weight": (4, 3)}
    with pytest.raises(KeyError):
        weights.weight_shape("y")


def test_all_that_is_wrong_is_told_at_once() -> None:
    weights = Weights({"a": ONES, "b": ONES, "t.x": ONES}, "f.pth", "a voice", re.compile(r"t\."))
    says = (
        r"not a voice: missing \['c'\], left over \['b'\], .* \['a is \[2, 3, 1\] and not \[2\]'\]"
    )
    with pytest.raises(ExportFailed, match=says):
        weights.check({"a": (2,), "c": (1,)})


def test_values_that_are_no_numbers_are_told_with_the_file() -> None:
    weights = Weights({"a": np.array([np.nan], np.float32)}, "f.pth")
    with pytest.raises(CorruptModel, match=r"f\.pth: holds NaN or infinite values in \['a'\]"):
        weights.check({"a": (1,)})


def test_each_parameter_is_taken_once() -> None:
    weights = Weights({"a": ONES, "b": ONES})
    weights.take("a")
    with pytest.raises(ExportFailed, match="'b': 0"):
        weights.check_taken({"a": (2, 3, 1), "b": (2, 3, 1)})
