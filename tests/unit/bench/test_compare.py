"""Result files of two versions as one."""

from __future__ import annotations

from voxturn.bench.compare import compare, pooled


def test_samples_are_joined_and_ratios_say_how_many_times_smaller_the_later_is() -> None:
    before = [
        {"metrics": {"a.ms": {"unit": "ms", "samples": [4.0, 8.0]}}},
        {"metrics": {"a.ms": {"unit": "ms", "samples": [6.0]}, "gone": {"unit": "s", "value": 1}}},
    ]
    after = [
        {"metrics": {"a.ms": {"unit": "ms", "samples": [3.0]}, "b": {"unit": "s", "value": 2}}}
    ]
    result = compare(pooled(before), pooled(after))
    assert result.metrics["before.a.ms"]["samples"] == [4.0, 8.0, 6.0]
    assert result.metrics["after.a.ms"]["p50"] == 3.0
    assert result.metrics["a.ms_ratio"] == {"unit": "ratio", "value": 2.0}
    assert not [name for name in result.metrics if "gone" in name or name.endswith(".b")]
