"""The models of the Triton repository and their tensors; `config.pbtxt` is made from this. Pure.

Source of the format: Triton's `model_config.proto`; of its Python backend:
triton-inference-server/python_backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.errors import AudioTooLong, UsageError
from voxturn.runtime.models.manifest import TensorSpec

CANARY = "canary"
"""An input that every model has: a request with it is answered at once, without the engine."""

CANCEL = "cancel"
"""An input that every model has: the id of its client's requests that are to end now. Of a piece of a
sequence: that utterance is forgotten, without a transcript. Answered as a canary."""

CLIENT = "client"
"""An input that every model has: a name that a client gives itself. Its streams at once are counted
by it, `MOST_STREAMS` at most; conversations, sequences, Whisper's windows and request ids are found
again under it alone. Of places for them a client has half at most, and where others find none, not
more than they. Those without a name are one client."""

MOST_STREAMS = 16
"""Requests at once that a model takes of one client that gives its name."""

INFO = "info"
"""An input that every model has: a request with it is answered with what runs here, as JSON, in the
output `answer`."""

UP_S = "up_s"
"""Of that JSON: for how many seconds the model's process has been there."""

LONGEST_TEXT = 10_000
"""Characters that a request may have, of a text or of all messages."""

LONGEST_NAME = 256
"""Characters of what names a client, a conversation, a voice or a language."""

MOST_MESSAGES = 1000
"""Messages that a request may have."""

MOST_TOOLS = 64
"""Tools that a request may have."""

MOST_CALLS = 64
"""Calls that a message of a request may have."""

LONGEST_TOOLS = 30_000
"""Characters that the tools of a request may have, as JSON."""

LONGEST_JSON = 1_000_000
"""Characters that the JSON of a request may have."""

LONGEST_AUDIO_S = 300.0
"""Seconds of audio that a request may have."""

MOST_RATE = 192_000
"""In Hz, of a recording to clone."""

LONGEST_SPEECH_S = 1800.0
"""Seconds of audio that a request is answered with: the longest text, read slowly."""

LONGEST_REQUEST_S = 1800.0
"""Seconds that a request may take in the server, its waiting for others included."""

LONGEST_SESSION_S = 86_400.0
"""Seconds that a session may be open, and that all its answers may have."""

LONGEST_PIECE_S = 10.0
"""Seconds of audio that a request to a session may have."""

MOST_LATENTS = 605
"""Latents that a sequence of XTTS's may have."""

MOST_FRAMES = 3000
"""Frames of features that a window of Whisper's may have: 30 s."""

MOST_ROWS = 33
"""Rows that a request to an engine may have: a zero row and a voice's latents."""

MOST_SEQUENCES = 8
"""How many sequences of latents `xtts_hifigan` vocodes at once."""

_MOST = {
    "samples": int(LONGEST_AUDIO_S * 16_000),
    "recorded": int(LONGEST_AUDIO_S * MOST_RATE),
    "mels": 128,
    "frames": MOST_FRAMES,
    "rows": MOST_ROWS,
    "sequences": MOST_SEQUENCES,
    "latents": MOST_LATENTS,
    "width": 4096,
    "speaker": 4096,
}
"""How large the dimensions of inputs may be that the contract leaves open, of any artifact."""

_LONGEST_BYTES = 4 * LONGEST_JSON
"""Of any text."""

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
    """A model of the repository. Its adapter asks for the inputs of `required`, unless the one that
    `instead` names is there; the server for none: a canary has no others. `streams`: answers come piece by piece. `task` as in `models.compatible.TASKS`, of
    models that run a whole stage of a profile."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    required: frozenset[str]
    streams: bool = True
    instead: str = ""
    task: str = ""

    def check_required(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Raise `UsageError` for what is missing."""
        missing = sorted(self.required - set(inputs))
        if missing and self.instead not in inputs:
            raise UsageError(f"{self.name}: needs input {', '.join(missing)}")

    def check_shapes(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Raise `UsageError` for an input of a shape, a type or a size that the model does not
        take, `AudioTooLong` for audio. Copies nothing."""
        for spec in (*self.inputs, *COMMON):
            value = inputs.get(spec.name)
            if value is None:
                continue
            if not _fits(spec.shape, value.shape):
                raise UsageError(
                    f"{self.name}: input {spec.name!r} must have shape {list(spec.shape)}"
                )
            if value.dtype.name != spec.dtype:
                raise UsageError(f"{self.name}: input {spec.name!r} must be {spec.dtype}")
            self._check_size(spec, value)

    def _check_size(self, spec: TensorSpec, value: np.ndarray[Any, Any]) -> None:
        for dimension, size in zip(spec.shape, value.shape, strict=True):
            if isinstance(dimension, str) and size > _MOST[dimension]:
                error = AudioTooLong if spec in _AUDIO else UsageError
                raise error(
                    f"{self.name}: input {spec.name!r} may have {_MOST[dimension]} {dimension}, "
                    f"not {size}; send fewer"
                )
        if spec.dtype == "object" and len(value[0]) > _LONGEST_BYTES:
            raise UsageError(
                f"{self.name}: input {spec.name!r} has {len(value[0])} bytes; "
                f"a text may have {_LONGEST_BYTES}"
            )


@dataclass(frozen=True)
class Piece:
    """A piece of an utterance that is sent piece by piece.

    `sequence`, not 0, names the utterance; 63 bits.
    """

    sequence: int
    start: bool
    end: bool = False

    def options(self) -> dict[str, Any]:
        """What Triton's client calls it."""
        return {
            "sequence_id": self.sequence,
            "sequence_start": self.start,
            "sequence_end": self.end,
        }


def _fits(wanted: tuple[int | str, ...], shape: tuple[int, ...]) -> bool:
    return len(wanted) == len(shape) and all(
        isinstance(w, str) or w == s for w, s in zip(wanted, shape, strict=True)
    )


def _text(name: str) -> TensorSpec:
    return TensorSpec(name, "object", (1,))


def _floats(name: str, dimension: str = "samples") -> TensorSpec:
    return TensorSpec(name, "float32", (dimension,))


_AUDIO = (_floats("audio"), _floats("reference", "recorded"))
_RATE = TensorSpec("reference_rate", "int32", (1,))
_LANGUAGE, _SEED, _SPEED = (
    _text("language"),
    TensorSpec("seed", "int64", (1,)),
    TensorSpec("speed", "float32", (1,)),
)
COMMON = (
    _text(CLIENT),
    _text(CANCEL),
    TensorSpec(CANARY, "bool", (1,)),
    TensorSpec(INFO, "bool", (1,)),
)
"""The inputs that every model has."""

REQUEST, SEQUENCE, START, END = "request", "sequence", "start", "end"
"""What is asked of an engine itself; the name of an utterance that is sent piece by piece: Triton's
sequence id, and whether a piece is the first or the last."""
SESSION, OPEN, NUMBER, COMMAND = "session", "open", "number", "command"
"""The name of a session; how it is opened, a request that is answered with its events until it ends;
which of its pieces of audio one is, counted from 1; what else is told to it (`sessions`)."""
_REQUEST, _ANSWER, _EVENT = _text(REQUEST), _text("answer"), _text("event")
_TOKENS = (_REQUEST, TensorSpec("rows", "float32", ("rows", "width")))
_STEP = (TensorSpec("hidden", "float32", ("width",)),)
_PCM = (
    _floats("pcm"),
    TensorSpec("rate", "int32", (1,)),
    TensorSpec("final", "bool", (1,)),
    _text("sentence"),
)

WINDOW = ("latent_offset", "frame_offset", "frames", "before", "after")
"""Inputs of the vocoder's graph that say which frames are wanted. Scalars there, `[1]` here."""


def _latents(sequences: int | str) -> tuple[TensorSpec, TensorSpec]:
    return (
        TensorSpec("latents", "float32", (sequences, "latents", "width")),
        TensorSpec("speaker", "float32", (sequences, "speaker", 1)),
    )


MODELS = {
    model.name: model
    for model in (
        Served(
            "whisper",
            (
                _floats("audio"),
                _LANGUAGE,
                _text("prior"),
                TensorSpec("words", "bool", (1,)),
                _text("options"),
                _REQUEST,
                TensorSpec("features", "float32", ("mels", "frames")),
            ),
            (
                _text("text"),
                _text("stable"),
                _LANGUAGE,
                TensorSpec("confidence", "float32", (1,)),
                _EVENT,
            ),
            frozenset({"audio"}),
            streams=False,
            instead=REQUEST,
            task="speech-to-text",
        ),
        Served(
            "qwen3",
            (
                _text("messages"),
                _text("tools"),
                _text("conversation"),
                _text("options"),
                *_TOKENS,
            ),
            (
                _text("text"),
                TensorSpec("ids", "int32", ("tokens",)),
                _text("calls"),
                _text("report"),
                *_STEP,
            ),
            frozenset({"messages"}),
            instead=REQUEST,
            task="text-generation",
        ),
        Served(
            "xtts",
            (
                _text("text"),
                _LANGUAGE,
                _text("voice"),
                _text("style"),
                _AUDIO[1],
                _RATE,
                _SPEED,
                _SEED,
                *_TOKENS,
            ),
            (*_PCM, *_STEP),
            frozenset({"text"}),
            instead=REQUEST,
            task="text-to-speech",
        ),
        Served(
            "xtts_vocoder",
            (*_latents(1), *(TensorSpec(name, "int64", (1,)) for name in WINDOW)),
            (TensorSpec("audio", "float32", (1, 1, "samples")),),
            frozenset({"latents", "speaker", *WINDOW}),
            streams=False,
        ),
        Served(
            "xtts_hifigan",
            _latents("sequences"),
            (TensorSpec("audio", "float32", ("sequences", 1, "samples")),),
            frozenset({"latents", "speaker"}),
            streams=False,
        ),
        Served("vits", (_text("text"),), _PCM, frozenset({"text"}), task="text-to-speech"),
        Served(
            "voice_turn",
            (
                _floats("audio"),
                _text("conversation"),
                _text(SESSION),
                _text(OPEN),
                TensorSpec(NUMBER, "int64", (1,)),
                _text(COMMAND),
            ),
            (_EVENT, *_PCM),
            frozenset({"audio"}),
            instead=SESSION,
        ),
    )
}
"""Audio in is float32 at 16 kHz; `reference` is a recording to clone, at `reference_rate` (16 kHz
if left out); `voice` a speaker's name or a mixture, as `families.mixture` reads it, `style` one of
its styles; `messages` is a JSON list of `{"role", "text"}`, an assistant's with `calls` where it
has any, a tool's with its `call_id`; `tools` one of `{"name", "description", "parameters"}`, `calls`
one of `{"id", "name", "arguments"}`, whose results the next request brings; `options` is a JSON object with what `families.options` has for
one request, `report` what an answer with options cost, in a last piece without text; `event` JSON as in
`events`."""


def config_pbtxt(model: Served) -> str:
    """The model's `config.pbtxt`."""
    inputs = (*model.inputs, *COMMON)
    lines = [
        "# made by `python -m voxturn.runtime.remote.contract`; do not edit",
        f'name: "{model.name}"',
        'backend: "python"',
        "max_batch_size: 0",
        f"model_transaction_policy {{ decoupled: {str(model.streams).lower()} }}",
        *(_tensor("input", spec, optional=True) for spec in inputs),
        *(_tensor("output", spec) for spec in (*model.outputs, _ANSWER)),
        "instance_group [{ kind: KIND_CPU count: 1 }]",
    ]
    return "\n".join(lines) + "\n"


def _tensor(kind: str, spec: TensorSpec, optional: bool = False, scalar: bool = False) -> str:
    dims = ", ".join(str(-1 if isinstance(size, str) else size) for size in spec.shape)
    type_name = "STRING" if spec.dtype == "object" else _TYPES[spec.dtype]
    return (
        f'{kind} [{{ name: "{spec.name}" data_type: TYPE_{type_name} dims: [ {dims} ]'
        f"{' optional: true' if optional else ''}{' reshape: { shape: [ ] }' if scalar else ''} }}]"
    )


def wire_type(value: np.ndarray[Any, Any]) -> str:
    """The name that Triton's protocol has for an array's type."""
    try:
        return _TYPES[value.dtype.name]
    except KeyError:
        raise UsageError(f"tensors of {value.dtype} cannot be sent") from None


_GRAPHS = {"xtts_vocoder": "vocoder.onnx", "xtts_hifigan": "vocoder_whole.onnx"}
"""The files of an artifact that the server runs by itself."""


def ngc_pbtxt(model: Served) -> str:
    """The variant for NVIDIA's container on a machine with a GPU, chosen by `--model-config-name
    ngc`.

    The vocoder's graphs run in the server's own ONNX Runtime backend there, whole sequences batched
    as they come; models with token loops stay Python.
    """
    if model.name not in _GRAPHS:
        return config_pbtxt(model).replace("KIND_CPU count: 1", "KIND_GPU count: 1 gpus: [ 0 ]")
    batched = model.name == "xtts_hifigan"
    inputs, outputs = (
        [replace(spec, shape=spec.shape[1:]) for spec in specs] if batched else specs
        for specs in (model.inputs, model.outputs)
    )
    lines = [
        "# made by `python -m voxturn.runtime.remote.contract`; do not edit",
        f'name: "{model.name}"',
        'backend: "onnxruntime"',
        f'default_model_filename: "{_GRAPHS[model.name]}"',
        f"max_batch_size: {MOST_SEQUENCES if batched else 0}",
        *(["dynamic_batching { max_queue_delay_microseconds: 1000 }"] if batched else []),
        *(_tensor("input", spec, scalar=spec.name in WINDOW) for spec in inputs),
        *(_tensor("output", spec) for spec in outputs),
        "instance_group [{ kind: KIND_GPU count: 1 gpus: [ 0 ] }]",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write every configuration of the repository in the current folder."""
    for model in MODELS.values():
        folder = Path("triton_models", model.name)
        (folder / "configs").mkdir(parents=True, exist_ok=True)
        (folder / "config.pbtxt").write_text(config_pbtxt(model), encoding="utf-8")
        (folder / "configs/ngc.pbtxt").write_text(ngc_pbtxt(model), encoding="utf-8")


if __name__ == "__main__":
    main()
