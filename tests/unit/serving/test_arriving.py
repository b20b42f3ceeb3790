"""Requests as they come: what the contract does not allow is refused before it is copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from voxturn.runtime.errors import AudioTooLong, UsageError, VoxturnError
from voxturn.runtime.remote.contract import CLIENT, END, MODELS, SEQUENCE
from voxturn.runtime.remote.tensors import text_tensor
from voxturn.runtime.serving.arriving import Arrived, arrived

from tests.triton_fakes import Asked, Utilities


def huge(*shape: int, dtype: type = np.float32) -> np.ndarray[Any, Any]:
    """Zeros in four bytes, whatever their shape: no machine has the memory for a copy."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def came(model: str, sequence: int = 0, flag: int = 0, **inputs: np.ndarray[Any, Any]) -> Arrived:
    return arrived(Utilities, MODELS[model], Asked(inputs, sequence=sequence, flag=flag, name="me"))


@pytest.mark.parametrize(
    ("model", "inputs", "error", "says"),
    [
        ("whisper", {"audio": huge(1 << 44)}, AudioTooLong, "'audio' may have 4800000 samples"),
        ("whisper", {"audio": huge(1 << 44, dtype=np.float64)}, UsageError, "must be float32"),
        ("whisper", {"audio": huge(1, 1 << 44)}, UsageError, "must have shape"),
        ("whisper", {"audio": np.ones(9, np.float32), "features": huge(80, 1 << 40)}, UsageError, "3000 frames"),
        ("voice_turn", {"audio": huge(1 << 44)}, AudioTooLong, "not 17592186044416; send fewer"),
        ("xtts", {"reference": huge(1 << 44)}, AudioTooLong, "'reference' may have 57600000"),
        ("xtts", {"rows": huge(1 << 40, 16)}, UsageError, "'rows' may have 33 rows"),
        ("qwen3", {"rows": huge(2, 1 << 40)}, UsageError, "'rows' may have 4096 width"),
        ("xtts_vocoder", {"latents": huge(1, 1 << 40, 8)}, UsageError, "605 latents"),
        ("xtts_hifigan", {"latents": huge(1 << 40, 9, 8)}, UsageError, "8 sequences"),
        ("vits", {"text": text_tensor("a" * 4_000_001)}, UsageError, "4000001 bytes"),
        ("vits", {CLIENT: huge(1 << 44)}, UsageError, "'client' must have shape"),
    ],
)  # fmt: skip
def test_what_no_request_may_have_is_not_copied(
    model: str, inputs: dict[str, Any], error: type[VoxturnError], says: str
) -> None:
    request = came(model, **inputs)
    assert request.inputs == {}
    assert type(request.refusal) is error
    assert says in str(request.refusal)
    assert str(request.refusal).startswith(f"{model}: ")


def test_what_is_allowed_is_copied_and_belongs_to_its_client() -> None:
    audio = np.ones(160, np.float32)
    request = came("whisper", audio=audio, **{CLIENT: text_tensor("you")})
    audio[:] = 0  # the server takes its memory back
    assert request.refusal is None
    assert request.inputs["audio"].tolist() == [1.0] * 160
    assert (request.client, request.name) == ("you", "me")


def test_of_a_piece_that_is_refused_it_is_known_of_which_utterance_it_is() -> None:
    request = came("whisper", 7, 2, audio=huge(1 << 44), **{CLIENT: text_tensor("you")})
    assert isinstance(request.refusal, AudioTooLong)
    assert request.client == "you"
    assert request.inputs.keys() == {SEQUENCE, END}
    assert request.inputs[SEQUENCE][0] == b"7"
