"""Every name of TensorRT's that the code uses exists in 10.16, in 11.4 and in RTX, or its use is
listed here as guarded.

`tests/data/tensorrt_api.json` has the names of the three Python bindings.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
API = json.loads((ROOT / "tests/data/tensorrt_api.json").read_text())
FILES = ("tensorrt", "tensorrt_build", "tensorrt_engine")
CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "runtime": "Runtime",
    "context": "IExecutionContext",
    "tensor": "ITensor",
    "optimization": "IOptimizationProfile",
    "plan": "ICudaEngine",
}
"""What the code calls its objects, by their class; `self.plan` and `self._engine.plan` as well."""

GUARDED = {
    (
        "IBuilderConfig",
        "num_compute_capabilities",
    ),  # asked for with `capabilities`, which TensorRT-RTX alone has
    ("IBuilderConfig", "set_compute_capability"),
    ("BuilderFlag", "REQUIRE_USER_ALLOCATION"),  # by getattr
    ("", "ComputeCapability"),
}


def used(path: Path) -> set[tuple[str, str]]:
    """(class, member) pairs; the class is empty for names of the module."""
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value
        if isinstance(owner, ast.Name) and owner.id == "trt":
            found.add(("", node.attr))
        elif isinstance(owner, ast.Name) and owner.id in CLASSES:
            found.add((CLASSES[owner.id], node.attr))
        elif ast.unparse(owner) in ("self.plan", "self._engine.plan"):
            found.add(("ICudaEngine", node.attr))
        elif isinstance(owner, ast.Attribute) and ast.unparse(owner).startswith("trt."):
            found.add((owner.attr, node.attr))
    return found


@pytest.mark.parametrize("version", API)
@pytest.mark.parametrize("file", FILES)
def test_every_name_exists(file: str, version: str) -> None:
    api = API[version]
    names = {
        pair
        for pair in used(ROOT / f"runtime/executors/cuda/{file}.py")
        if not pair[1].startswith("__")
    }
    assert names
    for owner, member in names - GUARDED:
        if not owner:
            assert member in api["classes"], f"{version} has no trt.{member}"
        elif owner not in ("ILogger",):
            assert member in api["members"][owner], f"{version}: {owner} has no {member}"


def test_the_check_sees_what_is_used() -> None:
    names = set().union(*(used(ROOT / f"runtime/executors/cuda/{file}.py") for file in FILES))
    assert {
        ("IExecutionContext", "execute_async_v3"),
        ("ICudaEngine", "get_aliased_input_tensor"),
        ("Builder", "build_serialized_network"),
        ("OnnxParser", "parse_from_file"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("", "Runtime"),
        ("ICudaEngine", "device_memory_size_v2"),
        ("ICudaEngine", "create_execution_context"),
    } <= names
    for owner, member in GUARDED:
        assert any(member not in API[v]["members"].get(owner, API[v]["classes"]) for v in API), (
            "needs no guard"
        )


def test_names_that_are_gone_would_be_seen() -> None:
    assert "device_memory_size" in API["10.16.1.11"]["members"]["ICudaEngine"]
    assert "device_memory_size" not in API["11.4.0.106"]["members"]["ICudaEngine"]
