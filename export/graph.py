"""A small builder for ONNX graphs: nodes by value, initialisers by array, one external data file.

Large initialisers go to the data file as they are given, so that a model needs little more memory
than its largest weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
OPSET = 20
"""Operators of the standard domain that graphs for ONNX Runtime on the CPU are made of; OpenVINO
reads them too."""
_IR_VERSIONS = {20: 9, 23: 11, 24: 12}
_INLINE_BYTES, _ALIGNMENT = 1024, 4096

_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
}


def _packed(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """An array as it lies in a data file: two numbers of 4 bits a byte, the first in the low half."""
    if value.dtype != ml_dtypes.int4:
        return value
    numbers = (
        np.append(value.reshape(-1).astype(np.int8), np.zeros(value.size % 2, np.int8)).view(
            np.uint8
        )
        & 15
    )
    return numbers[0::2] | (numbers[1::2] << 4)


class GraphBuilder:
    """Collects nodes, initialisers, inputs and outputs; values are their names.

    Writes `path` and `path.data`.
    """

    def __init__(self, name: str, path: Path, opset: int = OPSET) -> None:
        self.name = name
        self.path = path
        self.opset = opset
        self._data = path.with_name(path.name + ".data")
        for old in (path, self._data):
            old.unlink(missing_ok=True)
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
        """Add an initialiser and return its name.

        A large one is in the data file when this returns.
        """
        value = np.asarray(value, order="C")
        self._initializers.append(
            numpy_helper.from_array(value, name)
            if value.nbytes <= _INLINE_BYTES
            else self._external(value, name)
        )
        return name

    def _external(self, value: npt.NDArray[Any], name: str) -> TensorProto:
        with self._data.open("ab") as file:
            file.write(bytes(-file.tell() % _ALIGNMENT))
            offset = file.tell()
            (packed := _packed(value)).tofile(file)
        tensor = TensorProto(
            name=name,
            dims=value.shape,
            data_type=helper.np_dtype_to_tensor_dtype(value.dtype),
            data_location=1,
        )
        for key, entry in (
            ("location", self._data.name),
            ("offset", offset),
            ("length", packed.nbytes),
        ):
            tensor.external_data.add(key=key, value=str(entry))
        return tensor

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
            helper.make_node(
                op, list(inputs), names, name=f"{op}_{number}", domain=domain, **attributes
            )
        )
        return names[0]

    def nodes(
        self, op: str, inputs: Sequence[str], count: int, **attributes: Any
    ) -> tuple[str, ...]:
        """Add a node of the standard domain and return its `count` outputs."""
        names = [f"{op}_{self.fresh()}_{i}" for i in range(count)]
        self.node(op, inputs, names, **attributes)
        return tuple(names)

    def fresh(self) -> int:
        """A number that no other name of this graph has."""
        self._count += 1
        return self._count

    def save(self) -> None:
        """Write the graph itself; its large weights are written already."""
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, self._initializers
        )
        domains = {node.domain for node in self._nodes} | {""}
        imports = [
            helper.make_opsetid(domain, self.opset if not domain else 1)
            for domain in sorted(domains)
        ]
        model = helper.make_model(graph, opset_imports=imports)
        model.ir_version = _IR_VERSIONS[self.opset]
        model.producer_name = "voxturn"
        onnx.save(model, str(self.path))
