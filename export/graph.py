"""A small builder for ONNX graphs: nodes by value, initialisers by array, one external data file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
IR_VERSION = 10
OPSET = 20

_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
}


class GraphBuilder:
    """Collects nodes, initialisers, inputs and outputs; values are their names."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declare a graph input and return its name."""
        self._inputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], list(shape)))
        return name

    def output(self, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Declare a graph output; a node must produce `name`."""
        self._outputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], list(shape)))

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Add an initialiser and return its name."""
        self._initializers.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        outputs: Sequence[str] | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node and return its first output; without `outputs` one is named for the operator."""
        number = self.fresh()
        names = list(outputs) if outputs is not None else [f"{op}_{number}"]
        self._nodes.append(
            helper.make_node(op, list(inputs), names, name=f"{op}_{number}", domain=domain, **attributes)
        )
        return names[0]

    def nodes(self, op: str, inputs: Sequence[str], count: int, **attributes: Any) -> tuple[str, ...]:
        """Add a node of the standard domain and return its `count` outputs."""
        names = [f"{op}_{self.fresh()}_{i}" for i in range(count)]
        self.node(op, inputs, names, **attributes)
        return tuple(names)

    def fresh(self) -> int:
        """A number that no other name of this graph has."""
        self._count += 1
        return self._count

    def save(self, path: Path) -> None:
        """Write `path` and, beside it, `path.data` with the weights. Files of these names are replaced."""
        data = path.with_name(path.name + ".data")
        for old in (path, data):
            old.unlink(missing_ok=True)  # onnx appends to a data file that exists
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        )
        model.ir_version = IR_VERSION
        model.producer_name = "voxturn"
        onnx.save(
            model,
            str(path),
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=data.name,
            size_threshold=1024,
        )
