"""What requests to the served models carry, read and bounded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from voxturn.runtime.audio.encode import WavFile
from voxturn.runtime.errors import AudioTooLong, EmptyAudio, InvalidSamples, TextTooLong, UsageError
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import Message, Samples, ToolSpec
from voxturn.runtime.remote.contract import (
    LONGEST_AUDIO_S,
    LONGEST_NAME,
    LONGEST_TEXT,
    LONGEST_TOOLS,
    MOST_LATENTS,
    MOST_RATE,
)
from voxturn.runtime.remote.dialogue import read_tools
from voxturn.runtime.remote.sessions import to_messages
from voxturn.runtime.remote.table import json_value
from voxturn.runtime.remote.tensors import text_of
from voxturn.runtime.tomlfile import build

_LOUDEST = 1e6  # beyond any integer's scale, and far from where float32 overflows

T = TypeVar("T")
Inputs = Mapping[str, np.ndarray[Any, Any]]


def string(inputs: Inputs, name: str) -> str:
    """A text input; empty if it was left out. Raises `UsageError`."""
    return text_of(inputs[name], name) if name in inputs else ""


def name_of(inputs: Inputs, name: str) -> str:
    """A text input that names something; empty if it was left out. Raises `UsageError`."""
    text = string(inputs, name)
    if len(text) > LONGEST_NAME:
        raise UsageError(f"{name}: has {len(text)} characters; at most {LONGEST_NAME} name one")
    return text


def reference_of(inputs: Inputs, folder: Path) -> tuple[Path, ...]:
    """The recording to clone as a file in `folder`."""
    rate = int(inputs["reference_rate"][0]) if "reference_rate" in inputs else RATE
    if not 8000 <= rate <= MOST_RATE:
        raise UsageError(f"reference_rate {rate}: must be between 8000 and {MOST_RATE}")
    samples = audio_of(inputs, "reference", rate)
    with WavFile(folder / "reference.wav", rate) as sink:
        sink.write(samples)
    return (folder / "reference.wav",)


def spoken_text(inputs: Inputs) -> str:
    """The text to speak. Raises `TextTooLong`."""
    text = string(inputs, "text")
    if len(text) > LONGEST_TEXT:
        raise TextTooLong(
            f"text of {len(text)} characters: a request may have {LONGEST_TEXT}; send it in pieces"
        )
    return text


def audio_of(inputs: Inputs, name: str = "audio", rate: int = RATE) -> Samples:
    """Samples at a rate in Hz. Raises `EmptyAudio`, `AudioTooLong`, `InvalidSamples`."""
    samples = np.asarray(inputs[name], np.float32)
    if not samples.size:
        raise EmptyAudio(f"{name}: has no samples")
    if samples.size > LONGEST_AUDIO_S * rate:
        raise AudioTooLong(
            f"{name}: {samples.size / rate:.0f} s of audio; a request may have {LONGEST_AUDIO_S:.0f} s; send it in pieces"
        )
    if not (np.abs(samples) <= _LOUDEST).all():  # NaN is not either
        raise InvalidSamples(f"{name}: has NaN or samples beyond {_LOUDEST:g}; 1 is full scale")
    return samples


def check_latents(inputs: Inputs, most: int) -> None:
    """Raise `UsageError` or `InvalidSamples` for latents that are not one to `most` sequences with
    as many speakers."""
    sequences, count = inputs["latents"].shape[:2]
    if not 0 < count <= MOST_LATENTS:
        raise UsageError(f"latents: must be 1 to {MOST_LATENTS}, not {count}")
    if not 0 < sequences <= most:
        raise UsageError(f"latents: must be of 1 to {most} sequences, not {sequences}")
    if sequences * count > 2 * MOST_LATENTS:
        raise UsageError(
            f"latents: {sequences} sequences of {count} are too many at once; send fewer than {2 * MOST_LATENTS}"
        )
    if len(inputs["speaker"]) != sequences:
        raise UsageError(
            f"speaker: must be {sequences}, one for each sequence of latents, not {len(inputs['speaker'])}"
        )
    if not all(np.isfinite(inputs[name]).all() for name in ("latents", "speaker")):
        raise InvalidSamples("latents or speaker have NaN or infinite values")


def messages_of(inputs: Inputs) -> list[Message]:
    """The messages of a JSON list. Raises `UsageError`, `TextTooLong`."""
    return to_messages(json_value(string(inputs, "messages"), "messages"), "messages", least=1)


def tools_of(inputs: Inputs) -> list[ToolSpec]:
    """The tools of a JSON list; none if they were left out. Raises `UsageError`, `TextTooLong`."""
    text = string(inputs, "tools")
    if len(text) > LONGEST_TOOLS:
        raise TextTooLong(f"tools of {len(text)} characters; a request may have {LONGEST_TOOLS}")
    return read_tools(text, "tools") if text else []


def options_of(inputs: Inputs, kind: type[T]) -> T | None:
    """The options of a request, a JSON object; None if they were left out. Raises `UsageError`."""
    if "options" not in inputs:
        return None
    return build(kind, json_value(string(inputs, "options"), "options"), "options", UsageError)
