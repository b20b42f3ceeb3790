"""TensorRT 10, 11 or RTX: the library under its name, and engines from graphs, kept by what they
were made of.

Precision lies in the graph (`export … --for tensorrt`): networks are strongly typed. Profiles come
from the graph's contract and its role: a decoder has one for prefill and one for steps. An engine
is kept under the hash of the graph, the library's version, the GPU and the profiles, and built once
under a lock.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from voxturn.runtime.errors import CorruptModel, ExecutorUnavailable
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.lock import file_lock
from voxturn.runtime.models.manifest import Manifest, ModelContract, sha256_of
from voxturn.runtime.models.store import write_atomic

LIBRARIES = ("tensorrt", "tensorrt_rtx")
PREFILL, STEP = 0, 1
"""The numbers of a decoder's profiles."""

Range = tuple[int, int, int]
_SLOTS, _PIECE = 8, 256
_BUILD = 1  # of what `build` asks for: to be raised when engines of before would not do


@dataclass(frozen=True)
class Profile:
    """Least, usual and most: `sizes` of dimensions by their names in the contract, `values` of
    inputs that are sizes.

    `outputs`: the most of dimensions that only outputs have.
    """

    sizes: Mapping[str, Range] = field(default_factory=dict)
    values: Mapping[str, Range] = field(default_factory=dict)
    outputs: Mapping[str, int] = field(default_factory=dict)


_DECODER = (
    Profile({"B": (1, 1, 1), "S": (1, 64, _PIECE), "R": (1, 33, 33), "T": (1, 400, 1500)}),
    Profile({"B": (1, 1, _SLOTS), "S": (1, 1, 1), "R": (1, 33, 33), "T": (1, 400, 1500)}),
)
_WINDOW = {
    "latent_offset": (0, 40, 640), "frame_offset": (0, 160, 2700), "frames": (1, 40, 256), "before": (0, 13, 64),
    "after": (0, 13, 64),
}  # fmt: skip
PROFILES: dict[str, tuple[Profile, ...]] = {
    "token_decoder": _DECODER,
    "whisper_decoder": _DECODER,
    "whisper_encoder": (
        Profile({"B": (1, 1, 1), "frames": (100, 500, 3000)}, outputs={"T": 1500}),
    ),
    "windowed_waveform_decoder": (
        Profile({"N": (2, 12, 80)}, _WINDOW, {"samples": 256 * _WINDOW["frames"][2]}),
    ),
    "sequence_waveform_decoder": (
        Profile(
            {"B": (1, 1, 8), "N": (1, 86, 605)},
            outputs={"samples": 256 * (605 * 4 * 24000 // 22050)},
        ),
    ),
    "conditioning_encoder": (Profile({"T": (64, 520, 2600)}),),
    "speaker_encoder": (Profile({"T": (64, 600, 3100)}),),
}
"""By a graph's role."""


def load_library(names: Sequence[str] = LIBRARIES) -> Any:
    """TensorRT's module. Raises `ExecutorUnavailable`."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ExecutorUnavailable(
        f"executor 'tensorrt' needs one of {', '.join(names)}; pip install 'voxturn[gpu]' on a machine with an NVIDIA GPU"
    )


def shapes(
    contract: ModelContract, profile: Profile
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Least, usual and most shape of every input whose shape is free.

    Raises `CorruptModel` for a free size without one.
    """
    found = {}
    for spec in contract.inputs:
        free = [size for size in spec.shape if isinstance(size, str)]
        if unknown := [name for name in free if name not in profile.sizes]:
            raise CorruptModel(
                f"{contract.file}: no profile says how large {', '.join(unknown)} may be; export it again"
            )
        if free:
            found[spec.name] = tuple(
                tuple(
                    profile.sizes[size][i] if isinstance(size, str) else size for size in spec.shape
                )
                for i in range(3)
            )
    return found  # type: ignore[return-value]


class Log:
    """What the library says, or the last `keep` lines of it; a `tensorrt.ILogger` that writes here
    is `for_library`."""

    def __init__(self, keep: int | None = None) -> None:
        self.lines: deque[str] = deque(maxlen=keep)
        self.errors: deque[str] = deque(maxlen=20)

    def for_library(self, trt: Any) -> Any:
        """The library's logger that writes here."""
        log = self

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                log.lines.append(message)
                if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                    log.errors.append(message)

        return Logger()


def build(
    trt: Any,
    path: Path,
    contract: ModelContract,
    profiles: Sequence[Profile],
    log: Log,
    capabilities: Sequence[str] = (),
) -> bytes:
    """An engine of a graph. `capabilities` (as SM89): GPUs that need not be here, with
    TensorRT-RTX.

    Raises `CorruptModel` with what the library said if the graph, a profile or the build is
    refused.
    """

    def refused(what: str) -> CorruptModel:
        reasons = " ".join(" ".join([*log.errors][-3:]).split())[:500]
        return CorruptModel(
            f"{path}: TensorRT {trt.__version__} refuses {what} ({reasons or 'and does not say why'})"
        )

    logger = log.for_library(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        log.errors += [str(parser.get_error(i).desc()) for i in range(parser.num_errors)]
        raise refused("the graph")
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if (flag := getattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION", None)) is not None:
        config.set_flag(flag)  # of RTX: without it nothing can be captured
    if capabilities:
        config.num_compute_capabilities = len(capabilities)
        for number, name in enumerate(capabilities):
            if not config.set_compute_capability(getattr(trt.ComputeCapability, name), number):
                raise refused(f"the GPU {name}")
    for profile in profiles:
        optimization = builder.create_optimization_profile()
        ranges = shapes(contract, profile)
        for i in range(network.num_inputs):
            tensor = network.get_input(i)
            try:
                if tensor.name in ranges:
                    optimization.set_shape(tensor.name, *ranges[tensor.name])
                elif tensor.is_shape_tensor:
                    if tensor.name not in profile.values:
                        raise refused(
                            f"input {tensor.name}, whose values decide shapes and no profile names"
                        )
                    optimization.set_shape_input(
                        tensor.name, *([value] for value in profile.values[tensor.name])
                    )
            except (ValueError, RuntimeError) as exc:
                raise refused(f"the profile of {tensor.name}: {exc}") from exc
        if config.add_optimization_profile(optimization) < 0:
            raise refused("a profile")
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise refused("to build it")
    return bytes(engine)


@dataclass(frozen=True)
class EngineCache:
    """Engines in a folder. `gpu` names the device that they are for."""

    folder: Path
    gpu: str

    def engine(
        self,
        trt: Any,
        path: Path,
        contract: ModelContract,
        role: str,
        progress: Progress,
        again: bool = False,
    ) -> bytes:
        """The engine of a graph, built if none is kept for it, or `again`.

        Raises as `build`, and `CorruptModel` for a role without profiles.
        """
        if role not in PROFILES:
            raise CorruptModel(
                f"{path}: there are no TensorRT profiles for a graph that is a {role!r}"
            )
        file = self.folder / f"{self.key(trt, path, PROFILES[role])}.engine"
        with file_lock(file.with_suffix(".lock")):
            if file.exists() and not again:
                return file.read_bytes()
            what = f"build {path.name} for {self.gpu}"
            progress(what, 0, 1)
            made = build(trt, path, contract, PROFILES[role], Log())
            write_atomic(file, made)
            progress(what, 1, 1)
            return made

    def key(self, trt: Any, path: Path, profiles: Sequence[Profile]) -> str:
        """What an engine depends on, as a hash: the graph with its weights, the library, the GPU,
        the profiles.

        Of files that the artifact's manifest has, its hashes are taken: weights are gigabytes, read
        at every start otherwise.
        """
        weights, known = path.with_name(path.name + ".data"), Manifest.read(path.parent).files
        parts = {
            "graph": known.get(path.name) or sha256_of(path),
            "weights": known.get(weights.name) or (sha256_of(weights) if weights.exists() else ""),
            "library": f"{trt.__name__} {trt.__version__}",
            "gpu": self.gpu,
            "profiles": [asdict(profile) for profile in profiles],
            "build": _BUILD,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
