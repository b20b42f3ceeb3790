"""Whisper by CTranslate2 on a GPU, as far as it can be known without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.executors.ctranslate2 import Ct2Whisper
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.profile import load_profile

BUDGET = Cores().budget("transcribe", 1)


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 0)
    with pytest.raises(ExecutorUnavailable, match="ctranslate2-cuda' finds no GPU, or no driver"):
        Ct2Whisper(tmp_path, "fp16", BUDGET, device="cuda")


def test_the_gpu_s_profile_hears_on_the_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(
        ctranslate2, "get_supported_compute_types", lambda device: {"cuda": {"float16"}}[device]
    )
    monkeypatch.setattr(
        ctranslate2.models, "Whisper", lambda folder, **options: made.update(options)
    )
    assert load_profile("gpu").transcribe.executor == "ctranslate2-cuda"
    Ct2Whisper(tmp_path, "fp16", BUDGET, device="cuda")
    assert (made["device"], made["compute_type"]) == ("cuda", "float16")
    with pytest.raises(ExecutorUnavailable, match="does not compute in int8"):
        Ct2Whisper(tmp_path, "int8", BUDGET, device="cuda")


def test_a_longer_window_s_silence_is_fetched_from_the_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`extend` reads encoder outputs that may lie on the GPU: only `to_device` may be asked of
    them."""
    monkeypatch.setattr(ctranslate2.models, "Whisper", lambda folder, **options: None)
    whisper = Ct2Whisper(tmp_path, "fp32", BUDGET)

    class OnDevice:
        def __init__(self, values: np.ndarray[Any, Any]) -> None:
            self.values = values

        def to_device(self, device: Any) -> Any:
            assert device == ctranslate2.Device.cpu
            return ctranslate2.StorageView.from_array(self.values)

        def __array__(self, *_: Any) -> Any:
            raise AssertionError("memory of the device was read on the host")

    own, other = (np.random.default_rng(n).standard_normal((1, n, 4), np.float32) for n in (3, 8))
    whole = np.asarray(whisper.extend(OnDevice(own), OnDevice(other), 6))
    np.testing.assert_array_equal(whole, np.concatenate([own, other[:, 3:6]], axis=1))
