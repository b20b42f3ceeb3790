"""Samples as 16 bits, and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.audio.encode import from_int16, to_int16


@given(st.lists(st.integers(-32768, 32767), max_size=50))
def test_sixteen_bits_come_back_as_they_were(values: list[int]) -> None:
    data = np.array(values, "<i2").tobytes()
    assert to_int16(from_int16(data)) == data


def test_what_is_over_full_scale_is_clipped() -> None:
    samples = np.array([1.5, -1.5, 1.0, -1.0], np.float32)
    assert np.frombuffer(to_int16(samples), "<i2").tolist() == [32767, -32768, 32767, -32768]
