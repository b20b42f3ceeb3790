"""The arrows of the design, checked on the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from voxturn.runtime.profile import SHIPPED

ROOT = Path(__file__).parents[2]
VENDORS = {"onnxruntime", "ctranslate2", "openvino", "tensorrt"}
LAYERS = (
    "errors",
    "messages",
    "protocols",
    "models.manifest",
    "flow.clock",
    "flow.handoff",
    "flow.lane",
    "flow.observe",
    "flow.portal",
    "flow.scheduling",
)


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def modules(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return found


def test_the_runtime_imports_neither_export_nor_bench() -> None:
    for path in modules("runtime"):
        assert not [
            n for n in imports(path) if n.startswith(("voxturn.export", "voxturn.bench"))
        ], path


def test_nobody_imports_bench_and_only_it_may_import_both() -> None:
    for path in modules("runtime") + modules("export"):
        assert not [n for n in imports(path) if n.startswith("voxturn.bench")], path


def test_errors_imports_nothing() -> None:
    assert imports(ROOT / "runtime/errors.py") == set()


def test_only_executors_import_inference_libraries() -> None:
    for path in modules("runtime"):
        if "executors" not in path.parts:
            assert not {n.split(".")[0] for n in imports(path)} & VENDORS, path


def test_the_foundation_imports_only_the_foundation() -> None:
    for name in LAYERS:
        for module in imports(ROOT / f"runtime/{name.replace('.', '/')}.py"):
            if module.startswith("voxturn."):
                assert module.removeprefix("voxturn.runtime.") in LAYERS, f"{name} imports {module}"


ROOMS = {
    "flow": {"errors"},
    "text": {"errors", "messages", "tomlfile"},
    "audio": {"errors", "messages"},
    "models": {"errors", "audio", "tomlfile"},
    "decode": {"errors", "flow", "protocols"},
    "remote": {"errors", "flow", "messages", "models", "decode"},
    "executors": {"errors", "flow", "protocols", "models", "decode", "remote"},
    "families": {
        "errors", "flow", "messages", "protocols", "models", "audio", "text", "decode"
    },
    "turn": {"errors", "flow", "messages", "audio", "text", "families"},
}  # fmt: skip
"""Which rooms each room of the runtime may import: docs/architecture.md."""


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room: str) -> None:
    for path in modules(f"runtime/{room}"):
        for module in imports(path):
            if module.startswith("voxturn.runtime."):
                assert module.split(".")[2] in ROOMS[room] | {room}, f"{path} imports {module}"


def _is_library(path: Path) -> bool:
    """Whether a module of the runtime may be another program's: not the command line and what it alone uses."""
    inside = path.relative_to(ROOT / "runtime")
    return inside.parts[0] != "commands" and str(inside) not in ("cli.py", "progress.py")


@pytest.mark.parametrize(
    "path", [path for path in modules("runtime") if _is_library(path)], ids=str
)
def test_the_library_neither_prints_nor_writes_to_the_standard_streams(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{path}:{node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            written = node.value.id == "sys" and node.attr in ("stdout", "stderr")
            assert not written, f"{path}:{node.lineno}"


BLOCKED = """
import importlib, pkgutil, sys
class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in sys.stdlib_module_names | {"numpy", "voxturn", "_voxturn_editable"}:
            raise ModuleNotFoundError(f"blocked {name}", name=top)
sys.meta_path.insert(0, Only())
import voxturn.runtime
for module in pkgutil.walk_packages(voxturn.runtime.__path__, "voxturn.runtime."):
    if not module.name.endswith("_native"):
        importlib.import_module(module.name)
print(sorted(m for m in sys.modules if m in ("torch", "onnxruntime", "av", "tokenizers", "ctranslate2")))
print(voxturn.runtime.Assistant.__name__)
"""


def test_the_whole_runtime_imports_with_numpy_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", BLOCKED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["[]", "Assistant"]


@pytest.mark.parametrize("profile", SHIPPED)
def test_every_model_of_a_shipped_profile_is_in_the_registry(profile: str) -> None:
    from voxturn.runtime.models.registry import Registry
    from voxturn.runtime.profile import load_profile

    registry = Registry.read()
    for engine in load_profile(profile).engines().values():
        model, _ = registry.resolve(engine.model)
        assert engine.precision in model.precisions
