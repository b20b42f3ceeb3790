"""A TensorRT engine on one stream: its contexts, its memory, its captured graphs. See
`executors.tensorrt`.

Memory is planned once: pinned host memory for what crosses, one scratch memory for all contexts of
an engine, which never run at the same time. Every return value is checked: TensorRT says False or
None where others raise.
"""

from __future__ import annotations

from typing import Any

from voxturn.runtime.errors import CorruptModel, InferenceFailed
from voxturn.runtime.executors.cuda.device_decoder import DecoderEngine
from voxturn.runtime.executors.cuda.library import Cuda
from voxturn.runtime.executors.cuda.streams import StageStream
from voxturn.runtime.executors.cuda.tensorrt_build import Log

_LINES = 50  # of what TensorRT says while an engine lives


class CorruptEngine(CorruptModel):
    """TensorRT does not take an engine: it is another version's, or not whole."""


class Engine(DecoderEngine):
    """An engine with its contexts on one stream, and all their memory. Close it when done."""

    name = "tensorrt"

    def __init__(self, trt: Any, cuda: Cuda, stream: StageStream, serialized: bytes) -> None:
        super().__init__(cuda, stream)
        self._trt = trt
        self._log = Log(keep=_LINES)
        runtime = trt.Runtime(self._log.for_library(trt))
        plan = runtime.deserialize_cuda_engine(serialized)
        if plan is None:
            raise CorruptEngine(
                f"the engine is not one for this GPU and TensorRT {trt.__version__} ({self._said()})"
            )
        self.plan = plan
        self._runtime = runtime
        self._contexts: dict[tuple[int, int, int], Any] = {}
        try:
            self._scratch_size = int(plan.device_memory_size_v2)
            self._scratch = self.allocate(self._scratch_size)
        except BaseException:
            self.close()
            raise

    def context(self, profile: int, batch: int, length: int = 0) -> Any:
        """The context of a profile for these shapes, made when it is first asked for.

        One for each: a CUDA graph that was captured from a context holds what that context set up
        for its shapes. Graphs of several slots are captured from one context, whose addresses
        change in between; not run on a GPU yet.
        """
        key = profile, batch, length
        if key not in self._contexts:
            context = self.plan.create_execution_context(
                self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
            )
            if context is None:
                raise InferenceFailed(f"TensorRT gives no context ({self._said()})")
            context.set_device_memory(self._scratch, self._scratch_size)
            self.checked(
                context.set_optimization_profile_async(profile, self.stream.handle),
                "set_optimization_profile",
            )
            self.cuda.synchronize(
                self.stream.handle
            )  # the switch must be over before its first use
            self._contexts[key] = context
        return self._contexts[key]

    def checked(self, ok: bool, what: str) -> None:
        """Raise `InferenceFailed` for a call of TensorRT's that says no."""
        if not ok:
            raise InferenceFailed(f"TensorRT: {what} failed ({self._said()})")

    def in_place(self, past: str, present: str) -> bool:
        """Whether the output `present` is the input `past`, updated."""
        return bool(self.plan.get_aliased_input_tensor(present) == past)

    def bind_input(self, context: Any, name: str, address: int, shape: tuple[int, ...]) -> None:
        """Where an input lies, and its shape."""
        self.checked(context.set_input_shape(name, shape), f"the shape {list(shape)} of {name}")
        self.checked(context.set_tensor_address(name, address), f"the address of {name}")

    def bind_output(
        self, context: Any, name: str, address: int, shape: tuple[int, ...] | None = None
    ) -> None:
        """Where an output goes; its shape is the engine's to know."""
        del shape
        self.checked(context.set_tensor_address(name, address), f"the address of {name}")

    def execute(self, context: Any) -> None:
        """Run, in the stream."""
        self.checked(context.execute_async_v3(self.stream.handle), "the run")

    def close(self) -> None:
        """Let the stream run empty, then free contexts, memory and engine, in this order; safe to
        call twice."""
        if self.plan is None:
            return
        try:
            self.cuda.synchronize(self.stream.handle)
        finally:
            self._contexts = {}
            super().close()
            self.plan = self._runtime = None

    def _said(self) -> str:
        return " ".join(" ".join([*self._log.errors][-2:]).split())[:300] or "it does not say why"
