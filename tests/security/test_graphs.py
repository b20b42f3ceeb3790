"""ONNX graphs whose weights are not where they may be, or that ask for more memory than such a file
needs: every library that loads graphs refuses them, and the error is one line."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from voxturn.runtime.errors import CorruptModel, InferenceFailed
from voxturn.runtime.executors.onnx import OnnxGraph
from voxturn.runtime.executors.openvino import OpenVinoGraph
from voxturn.runtime.flow.scheduling import Cores, EngineBudget
from voxturn.runtime.models.manifest import ModelContract, TensorSpec

from tests.security.onnx_graphs import OPERATORS, constant, graph

Load = Callable[[Path, ModelContract, EngineBudget], OnnxGraph | OpenVinoGraph]
LOADS: dict[str, Load] = {
    "ONNX Runtime": OnnxGraph,
    "OpenVINO": lambda *given: OpenVinoGraph(*given, compute="fp32"),
}
CONTRACT = ModelContract(
    "graph.onnx",
    (TensorSpec("in", "float32", ("n",)),),
    (TensorSpec("out", "float32", ("n",)),),
)
PLACES: dict[str, Callable[[Path], None]] = {
    "above the folder": lambda path: graph(path, "../secret"),
    "at the root": lambda path: graph(path, str(path.parents[1] / "secret")),
    "through a link": lambda path: graph(path, "link"),
    "beyond the file": lambda path: graph(path, "weights", 10**12),
    "more than the file": lambda path: graph(path, "weights", 0, 10**12),
    "nowhere": lambda path: graph(path, "nothing"),
    "in a graph cut short": lambda path: (graph(path, "weights"), os.truncate(path, 50))[1],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(bytes(64))
    made = tmp_path / "artifact"
    made.mkdir()
    (made / "weights").write_bytes(bytes(64))
    (made / "link").symlink_to(tmp_path / "secret")
    return made


@pytest.mark.parametrize("library", LOADS)
@pytest.mark.parametrize("place", PLACES)
def test_weights_come_from_their_folder(place: str, library: str, folder: Path) -> None:
    path, budget = folder / "graph.onnx", Cores(2).budget("speak", 1)
    graph(path, "weights")
    LOADS[library](path, CONTRACT, budget).close()
    PLACES[place](path)
    with pytest.raises(CorruptModel) as caught:
        LOADS[library](path, CONTRACT, budget)
    assert str(caught.value).startswith(f"{path}: {library} cannot load it (")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("library", LOADS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_a_constant_takes_no_more_memory_than_its_file_is_worth(
    operator: str, library: str, tmp_path: Path
) -> None:
    path, budget = tmp_path / "graph.onnx", Cores(2).budget("speak", 1)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    constant(path, operator, 3 * 10**9)
    with pytest.raises((CorruptModel, InferenceFailed)) as caught:
        LOADS[library](path, CONTRACT, budget).run({"in": np.zeros(1, np.float32)})
    assert "graph.onnx: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.parametrize("library", LOADS)
def test_a_constant_that_its_file_is_worth_is_made(library: str, tmp_path: Path) -> None:
    path, budget = tmp_path / "graph.onnx", Cores(2).budget("speak", 1)
    constant(path, "Expand", 4_000_000)
    graph = LOADS[library](path, CONTRACT, budget)
    (out,) = graph.run({"in": np.zeros(1, np.float32)}).values()
    assert out.tolist() == [1.0]
    graph.close()
