"""What OpenVINO's plugin does to the thread that loads it: nothing that a signal could find."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from voxturn.export.artifact import contract_of
from voxturn.runtime.executors.openvino import OpenVinoGraph, convolution_s
from voxturn.runtime.flow.scheduling import EngineBudget


class Stack(ctypes.Structure):
    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def signal_stack() -> tuple[int | None, int, int]:
    """The stack on which this thread gets signals (sigaltstack(2))."""
    stack = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return stack.sp, stack.flags, stack.size


def test_signals_keep_their_stack(tmp_path: Path) -> None:
    """A stack that the plugin brings is gone with it, and the next signal kills the process."""
    row = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", row[:1], row[1:])
    path = tmp_path / "graph.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    before = signal_stack()
    loaded = OpenVinoGraph(path, contract_of(path), EngineBudget(1, False, 0), "fp32")
    assert signal_stack() == before
    outputs = loaded.run({"x": np.ones((1, 4), np.float32)})
    assert outputs["y"].tolist() == [[-1.0] * 4]
    closing = threading.Thread(target=loaded.close)
    closing.start()
    closing.join()
    del loaded
    convolution_s(1)
    assert signal_stack() == before
