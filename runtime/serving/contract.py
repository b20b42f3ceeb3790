"""The models of the Triton repository and their tensors; `config.pbtxt` is made from this. Pure.

Source of the format: Triton's `model_config.proto`; of its Python backend: triton-inference-server/python_backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.contract import TensorSpec
from voxturn.runtime.errors import UsageError

CANARY = "canary"
"""An input that every model has: a request with it is answered at once, without the engine."""

_TYPES = {
    "float32": "FP32",
    "float16": "FP16",
    "int32": "INT32",
    "int64": "INT64",
    "bool": "BOOL",
    "object": "BYTES",
}


@dataclass(frozen=True)
class Served:
    """A model of the repository. Its adapter asks for the `required` inputs, the server for none: a canary has
    no others. `streams`: answers come piece by piece."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    required: frozenset[str]
    streams: bool = True

    def check(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Raise `UsageError` for what is missing, and for a shape that the server lets pass."""
        missing = sorted(self.required - set(inputs))
        if missing:
            raise UsageError(f"{self.name}: needs input {', '.join(missing)}")
        for spec in self.inputs:
            value = inputs.get(spec.name)
            if value is not None and (
                value.ndim != 1 or (isinstance(spec.shape[0], int) and value.size != spec.shape[0])
            ):
                raise UsageError(f"{self.name}: input {spec.name!r} must have shape {list(spec.shape)}")


def _text(name: str) -> TensorSpec:
    return TensorSpec(name, "object", (1,))


def _floats(name: str) -> TensorSpec:
    return TensorSpec(name, "float32", ("samples",))


_LANGUAGE, _SEED, _SPEED = _text("language"), TensorSpec("seed", "int64", (1,)), TensorSpec("speed", "float32", (1,))
_PCM = (_floats("pcm"), TensorSpec("rate", "int32", (1,)), TensorSpec("final", "bool", (1,)), _text("sentence"))

MODELS = {
    model.name: model
    for model in (
        Served(
            "whisper",
            (_floats("audio"), _LANGUAGE),
            (_text("text"), _LANGUAGE, TensorSpec("confidence", "float32", (1,))),
            frozenset({"audio"}),
            streams=False,
        ),
        Served(
            "qwen3",
            (_text("messages"), _text("conversation")),
            (_text("text"), TensorSpec("ids", "int32", ("tokens",))),
            frozenset({"messages"}),
        ),
        Served(
            "xtts",
            (_text("text"), _LANGUAGE, _text("voice"), _SPEED, _SEED),
            _PCM,
            frozenset({"text"}),
        ),
        Served("vits", (_text("text"),), _PCM, frozenset({"text"})),
        Served(
            "voice_turn",
            (_floats("audio"), _text("conversation")),
            (_text("event"), *_PCM),
            frozenset({"audio"}),
        ),
    )
}
"""Audio in is float32 at 16 kHz; `messages` is a JSON list of `{"role", "text"}`; `event` JSON as in `events`."""


def config_pbtxt(model: Served) -> str:
    """The model's `config.pbtxt`."""
    inputs = (*model.inputs, TensorSpec(CANARY, "bool", (1,)))
    lines = [
        "# made by `python -m voxturn.runtime.serving.contract`; do not edit",
        f'name: "{model.name}"',
        'backend: "python"',
        "max_batch_size: 0",
        f"model_transaction_policy {{ decoupled: {str(model.streams).lower()} }}",
        *(_tensor("input", spec, optional=True) for spec in inputs),
        *(_tensor("output", spec) for spec in model.outputs),
        "instance_group [{ kind: KIND_CPU count: 1 }]",
    ]
    return "\n".join(lines) + "\n"


def _tensor(kind: str, spec: TensorSpec, optional: bool = False) -> str:
    dims = ", ".join(str(-1 if isinstance(size, str) else size) for size in spec.shape)
    type_name = "STRING" if spec.dtype == "object" else _TYPES[spec.dtype]
    return (
        f'{kind} [{{ name: "{spec.name}" data_type: TYPE_{type_name} dims: [ {dims} ]'
        f"{' optional: true' if optional else ''} }}]"
    )


def wire_type(value: np.ndarray[Any, Any]) -> str:
    """The name that Triton's protocol has for an array's type."""
    try:
        return _TYPES[value.dtype.name]
    except KeyError:
        raise UsageError(f"tensors of {value.dtype} cannot be sent") from None


def main() -> None:
    """Write every `config.pbtxt` of the repository in the current folder."""
    for model in MODELS.values():
        Path("triton_models", model.name, "config.pbtxt").write_text(config_pbtxt(model), encoding="utf-8")


if __name__ == "__main__":
    main()
