"""The executors: one row each. Whatever asks something of an executor asks its row.

A new executor is a file of this folder with a `Backend`, and a row here; or, from another package,
an entry point of the group `voxturn.executors` that names a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from voxturn.runtime.errors import InvalidProfile
from voxturn.runtime.models.manifest import (
    CTRANSLATE2,
    FAKE,
    ONNX,
    ONNX_CONTRIB,
    ONNX_SCATTER_ELEMENTS,
    ONNX_TENSOR_SCATTER,
)
from voxturn.runtime.models.plugins import importable, rows

if TYPE_CHECKING:
    from voxturn.runtime.executors.backend import Backend

EXECUTORS_GROUP = "voxturn.executors"
CPU, CUDA, REMOTE = "cpu", "cuda", "remote"

_ALL_ONNX = frozenset({ONNX, ONNX_CONTRIB, ONNX_TENSOR_SCATTER, ONNX_SCATTER_ELEMENTS})
_FIXED_ONNX = frozenset({ONNX, ONNX_TENSOR_SCATTER})
_NOT_FOR_A_GPU = "was not exported for a GPU; export it with --for tensorrt"


def _nothing(_: Any) -> str:
    """No conflict."""
    return ""


def _top_p_alone(settings: Any) -> str:
    """CTranslate2 narrows a choice to `top_p` among `top_k` only."""
    top_p = getattr(settings, "top_p", None)
    if top_p is not None and top_p < 1 and not getattr(settings, "top_k", None):
        return "CTranslate2 takes a top_p among the top_k alone: set top_k as well"
    return ""


@dataclass(frozen=True)
class Executor:
    """What an executor is.

    `device` is `cpu`, `cuda` or `remote`. `packages`: one of these modules has to be importable, if
    any is named; `extra` of ours brings it, empty where none does. `dialects` of `models.manifest`
    that it reads; a remote one reads none, its server does. `stages` of a profile that it may run.
    `options`: keys of a profile's stage that only such executors have. `lacks`: keys that the stage
    has and this executor has not, with the reason. `advice` ends the sentence "the artifact …"
    where it cannot read one. `gpu_needs`: items of `cuda.report` that it needs; of a tuple within,
    one. `preferred`: stages in which it is taken before others of its device where nobody names
    one. `conflict` tells which keys of a stage's table do not go together; empty if they do.
    `whole`: its server runs the whole stage, so that `model` is a served model's name and no
    artifact is needed here. `backend` is `module:class`.
    """

    name: str
    device: str
    packages: tuple[str, ...]
    extra: str
    dialects: frozenset[str]
    stages: tuple[str, ...]
    backend: str
    advice: str
    options: frozenset[str] = frozenset()
    lacks: Mapping[str, str] = field(default_factory=dict)
    gpu_needs: tuple[str | tuple[str, ...], ...] = ()
    preferred: tuple[str, ...] = ()
    conflict: Callable[[Any], str] = _nothing
    whole: bool = False

    @property
    def on_gpu(self) -> bool:
        """Whether it computes on a GPU of this machine."""
        return self.device == CUDA

    @property
    def remote(self) -> bool:
        """Whether a server computes for it."""
        return self.device == REMOTE

    def installed(self) -> bool:
        """Whether one of its packages is importable here."""
        return not self.packages or any(importable(package) for package in self.packages)

    def load(self) -> type[Backend]:
        """The class that makes its engines.

        Importing it needs no vendor's library; making an engine does.
        """
        module, _, name = self.backend.partition(":")
        return cast("type[Backend]", getattr(import_module(module), name))


_HERE = "voxturn.runtime.executors"
ROWS = (
    Executor(
        name="onnx",
        device=CPU,
        packages=("onnxruntime",),
        extra="embedded",
        dialects=_ALL_ONNX,
        stages=("listen", "end_of_turn", "transcribe", "reply", "speak", "vocode", "convert"),
        backend=f"{_HERE}.onnx:OnnxBackend",
        advice="has no graph for ONNX Runtime; export it with --for onnx",
    ),
    Executor(
        name="openvino",
        device=CPU,
        packages=("openvino",),
        extra="openvino",
        dialects=frozenset({ONNX}),
        stages=("end_of_turn", "vocode"),
        backend=f"{_HERE}.openvino:OpenVinoBackend",
        advice="has no graph for OpenVINO; export it again with this version",
        options=frozenset({"compute"}),
        preferred=("vocode",),
    ),
    Executor(
        name="ctranslate2",
        device=CPU,
        packages=("ctranslate2",),
        extra="embedded",
        dialects=frozenset({CTRANSLATE2}),
        stages=("transcribe",),
        backend=f"{_HERE}.ctranslate2:Ct2Backend",
        advice="is not in CTranslate2's format; export it with --for ctranslate2",
    ),
    Executor(
        name="ctranslate2-cuda",
        device=CUDA,
        packages=("ctranslate2",),
        extra="embedded",
        dialects=frozenset({CTRANSLATE2}),
        stages=("transcribe", "reply"),
        backend=f"{_HERE}.ctranslate2:Ct2CudaBackend",
        advice=(
            "is no text model for CTranslate2; "
            "name the folder of one that was exported with --for ctranslate2"
        ),
        lacks={
            "seed": "CTranslate2 samples by itself and has no seed",
            "slots": "CTranslate2 answers one dialogue at a time",
            "min_p": "CTranslate2 has no min_p",
        },
        gpu_needs=("driver", "device", "ctranslate2"),
        conflict=_top_p_alone,
    ),
    Executor(
        name="onnx-cuda",
        device=CUDA,
        packages=("onnxruntime",),
        extra="gpu",
        dialects=_FIXED_ONNX,
        stages=("reply", "speak", "vocode"),
        backend=f"{_HERE}.cuda.gpu:OnnxCudaBackend",
        advice=_NOT_FOR_A_GPU,
        gpu_needs=("driver", "device", "cuda-bindings", "onnxruntime-gpu", "onnx"),
    ),
    Executor(
        name="tensorrt",
        device=CUDA,
        packages=("tensorrt", "tensorrt_rtx"),
        extra="gpu",
        dialects=_FIXED_ONNX,
        stages=("reply", "speak", "vocode"),
        backend=f"{_HERE}.cuda.gpu:TensorRtBackend",
        advice=_NOT_FOR_A_GPU,
        gpu_needs=("driver", "device", "cuda-bindings", ("tensorrt", "tensorrt-rtx")),
    ),
    Executor(
        name="triton",
        device=REMOTE,
        packages=("tritonclient",),
        extra="triton",
        dialects=frozenset(),
        stages=("transcribe", "reply", "speak", "vocode"),
        backend=f"{_HERE}.triton:TritonBackend",
        advice="is served by no model; name another executor",
        options=frozenset({"server"}),
        lacks=dict.fromkeys(
            ("threads", "slots", "context", "compute"), "the server's own profile says it"
        ),
    ),
    Executor(
        name="remote",
        device=REMOTE,
        packages=("tritonclient",),
        extra="triton",
        dialects=frozenset(),
        stages=("transcribe", "reply", "speak"),
        backend=f"{_HERE}.remote:RemoteBackend",
        advice="is served by no model; name another executor",
        options=frozenset({"server"}),
        lacks=dict.fromkeys(
            ("precision", "threads", "slots", "context", "compute", "max_tokens"),
            "the server's own profile says it",
        ),
        whole=True,
    ),
    Executor(
        name="fake",
        device=CPU,
        packages=(),
        extra="",
        dialects=frozenset({FAKE}),
        stages=("listen", "transcribe", "reply", "speak"),
        backend=f"{_HERE}.fake:FakeBackend",
        advice="is a model; the executor fake runs stages without models",
    ),
)


@cache
def catalogue() -> Mapping[str, Executor]:
    """Every executor by its name: ours, then those of installed packages."""
    return rows(EXECUTORS_GROUP, Executor, lambda row: row.name, ROWS)


def executor_of(name: str) -> Executor:
    """The row of that name. Raises `InvalidProfile`."""
    try:
        return catalogue()[name]
    except KeyError:
        raise InvalidProfile(
            f"there is no executor {name!r}; known: {', '.join(catalogue())}"
        ) from None


def names_for(stage: str) -> tuple[str, ...]:
    """Which executors a profile may name for a stage."""
    return tuple(row.name for row in catalogue().values() if stage in row.stages)


def on_gpu() -> tuple[Executor, ...]:
    """The executors that compute on a GPU of this machine."""
    return tuple(row for row in catalogue().values() if row.on_gpu)
