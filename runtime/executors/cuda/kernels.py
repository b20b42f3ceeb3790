"""The CUDA kernels of `native/kernels.cu` through ctypes: the sampler that keeps its token on the
device, and PCM.

`sample` is `decode.sampler`, for top-k from 1 to 1024 and greedy choice; its statuses say what it
refuses. On the CPU it gives the same tokens; on a GPU `exp` may differ in its last bit, as that
module's docstring allows. Arguments are device addresses; work goes into the given stream.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from voxturn.runtime.decode.generation import Follow
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.errors import ExecutorUnavailable, InferenceFailed

MOST_CANDIDATES, MOST_VOCABULARY = (
    1024,
    163840,
)  # of the sampler: `kMostCandidates`, `kMostVocabulary`
ROOM, MOST_PRUNED = 1280, 400
"""A vocabulary that fits `kRoom` is ordered at once. Of a larger one pruning leaves more than that
beyond some 450 candidates of 512 threads' greatest, and each candidate is then a pass over all of
it: the host is faster."""
STATUSES = (
    "done",
    "logits hold NaN",
    "no logit is finite",
    "history holds an id outside the vocabulary",
    "not for the kernel: without top-k, more than 1024 candidates, or no room in the history",
)


class CSampling(ctypes.Structure):
    """How one sequence's tokens are chosen, and where its input ids lie: `Sampling` in kernels.cuh."""

    _fields_ = (
        *(
            (name, ctypes.c_double)
            for name in ("temperature", "top_p", "min_p", "repetition_penalty")
        ),
        *((name, ctypes.c_int64) for name in ("top_k", "follow_first", "follow_stride")),
        ("seed", ctypes.c_uint64),
    )

    @classmethod
    def of(cls, sampling: Sampling, follow: Follow) -> CSampling:
        """The kernel's form of the settings."""
        s = sampling
        settings = (
            s.temperature,
            s.top_p,
            s.min_p,
            s.repetition_penalty,
            s.top_k,
            follow.first,
            follow.stride,
            s.seed,
        )
        return cls(*settings)


class CStep(ctypes.Structure):
    """What a step reads and writes for every sequence: `Step` in kernels.cuh, where the shapes are."""

    _fields_ = (
        *(
            (n, ctypes.c_void_p)
            for n in ("logits", "history", "history_count", "counter", "stops", "token")
        ),
        *((n, ctypes.c_void_p) for n in ("input_id", "stopped", "status")),
        *((n, ctypes.c_int64) for n in ("vocabulary", "history_room", "stop_count")),
    )


class CPlace(ctypes.Structure):
    """Where every sequence's next token goes: `Place` in kernels.cuh, where the shapes are."""

    _fields_ = (
        *((n, ctypes.c_void_p) for n in ("write_index", "positions", "mask")),
        *((n, ctypes.c_int64) for n in ("capacity", "item")),
    )


def _built() -> Path:
    """Where the installation put the library: beside the other native part, which an editable one
    has elsewhere, too."""
    spec = importlib.util.find_spec("voxturn.runtime._native")
    beside = Path(spec.origin) if spec is not None and spec.origin else Path(__file__).parent
    return beside.parent / "native/libvoxturn_cuda.so"


class CudaKernels:
    """The library that the installation built where nvcc was.

    Raises `ExecutorUnavailable` where it was not.
    """

    def __init__(self, path: Path | None = None) -> None:
        path = path or _built()
        try:
            self._library = ctypes.CDLL(str(path))
            for name in ("sample", "advance", "pcm16"):
                getattr(self._library, f"voxturn_{name}")
        except (OSError, AttributeError) as exc:
            raise ExecutorUnavailable(
                f"the CUDA kernels are not here ({exc}); install voxturn from source where nvcc is on the path"
            ) from exc

    def sample(self, step: CStep, samplings: int, batch: int, stream: int) -> None:
        """Choose a token for each of `batch` sequences.

        `samplings` is the device address of as many `CSampling`.
        """
        arguments = ctypes.c_void_p(samplings), ctypes.c_uint(batch), ctypes.c_void_p(stream)
        self._check(self._library.voxturn_sample(ctypes.byref(step), *arguments), "sample")

    def advance(self, place: CPlace, batch: int, stream: int) -> None:
        """Make room for the tokens that `sample` chose: each of `batch` sequences goes one position
        on."""
        arguments = ctypes.c_uint(batch), ctypes.c_void_p(stream)
        self._check(self._library.voxturn_advance(ctypes.byref(place), *arguments), "advance")

    def pcm16(self, samples: int, before: int, out: int, size: int, fade: int, stream: int) -> None:
        """float32 samples to int16; the first `fade` are mixed with those of `before`, linearly."""
        addresses: Sequence[ctypes.c_void_p] = [ctypes.c_void_p(a) for a in (samples, before, out)]
        done = self._library.voxturn_pcm16(
            *addresses, ctypes.c_int64(size), ctypes.c_int64(fade), ctypes.c_void_p(stream)
        )
        self._check(done, "pcm16")

    def _check(self, error: int, name: str) -> None:
        if error:
            raise InferenceFailed(f"CUDA: kernel {name} failed with error {error}")
