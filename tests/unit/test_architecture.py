"""The arrows of the design, checked on the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from voxturn.runtime.executors.catalogue import catalogue
from voxturn.runtime.families.base import families
from voxturn.runtime.profile import SHIPPED

ROOT = Path(__file__).parents[2]
VENDORS = {"onnxruntime", "ctranslate2", "openvino", "tensorrt"}
RANKS = {
    # ground: files that import no room
    "closing": 0,
    "errors": 0,
    "files": 1,
    "gateway_settings": 1,
    "memory": 1,
    "messages": 1,
    "progress": 1,
    "protocols": 1,
    "tomlfile": 1,
    # what a machine, sound and text are, whoever speaks
    "flow": 2,
    "audio": 2,
    "text": 2,
    # a file or a microphone as frames: it decodes (audio) and hands over (flow), so it lies above
    # them
    "frames": 3,
    # where artifacts lie; what cannot be written is told as sound's files tell it
    # (audio.encode.output_error)
    "models": 3,
    "decode": 3,
    # the wire's requests are those of the token engine
    "remote": 4,
    "executors": 5,
    "families": 6,
    "turn": 7,
    # strict tables; those of the end-pointer are the turn's own dataclass
    "profile": 8,
    "voices": 9,
    "parts": 10,
    "prepare": 11,
    "assistant": 11,
    "xtts": 11,
    "conversion": 11,
    "coqui": 12,
    # the package's own names, found when they are first asked for
    "": 12,
    # ways in
    "client": 13,
    "serving": 13,
    "gateway": 14,
    "plugins": 14,
    "commands": 15,
    "cli": 16,
    "__main__": 17,
}
"""Every room and file of `runtime/`. A module imports of its own room, and of rooms of a lower
rank: also within functions and for types alone, which are seen as well as others are."""


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


def room_of(module: str) -> str:
    """The folder or file of `runtime/` that a dotted name under `voxturn.runtime` is in."""
    return module.split(".")[0]


def runtime_imports(tree: ast.AST) -> set[str]:
    """The modules of the runtime that a module names anywhere, without `voxturn.runtime.`; names of
    the package itself as `from voxturn.runtime import NAME` gives them."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "voxturn.runtime":
            names |= {f"voxturn.runtime.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    start = "voxturn.runtime."
    named = {name.removeprefix(start) for name in names if name.startswith(start)}
    return {name if room_of(name) in RANKS else "" for name in named}


def upward(module: str, tree: ast.AST) -> list[str]:
    """What a module imports of rooms that are not below its own."""
    room = room_of(module)
    return [
        name
        for name in sorted(runtime_imports(tree))
        if room_of(name) != room and RANKS[room_of(name)] >= RANKS[room]
    ]


def name_of(path: Path) -> str:
    """A file's dotted name under `voxturn.runtime`."""
    parts = path.relative_to(ROOT / "runtime").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_every_room_has_its_rank() -> None:
    assert {room_of(name_of(path)) for path in modules("runtime")} == set(RANKS)


@pytest.mark.parametrize("path", modules("runtime"), ids=str)
def test_rooms_import_downwards_alone(path: Path) -> None:
    assert upward(name_of(path), parsed(path)) == []


@pytest.mark.parametrize(
    ("module", "line", "what"),
    [
        ("executors.onnx", "from voxturn.runtime.serving import handlers", "serving"),
        ("executors.onnx", "def f():\n    import voxturn.runtime.parts", "parts"),
        ("families.vits", "if TYPE_CHECKING:\n    from voxturn.runtime.turn import split", "turn"),
        ("flow.lane", "from voxturn.runtime.audio.window import Plan", "audio.window"),
        ("models.store", "from voxturn.runtime import Assistant", ""),
        ("client.voice", "from voxturn.runtime.serving.inputs import string", "serving.inputs"),
    ],
)
def test_an_import_upwards_is_seen(module: str, line: str, what: str) -> None:
    assert upward(module, ast.parse(line)) == [what]


def test_neither_imports_of_a_room_nor_of_lower_ones_are_upwards() -> None:
    lines = "from voxturn.runtime.executors.backend import Backend\nimport voxturn.runtime.errors"
    assert upward("executors.onnx", ast.parse(lines)) == []


NAMES = frozenset({*catalogue(), *families()})
"""Of every executor and every family."""

ASKS = ("runtime/families/", "runtime/executors/catalogue.py", "runtime/models/manifest.py")
"""Where names may be asked: the families, the catalogue, and manifests, which translate the names
of format 1."""

CONCRETE = ("voxturn.runtime.families.", "voxturn.runtime.executors.")
MEANING = ("voxturn.runtime.families.base", "voxturn.runtime.executors.backend")
"""Protocols of every family and executor, whose instances say nothing of which one it is."""


def questions(tree: ast.AST) -> list[int]:
    """The lines in which a module asks which family, kind of manifest or executor something is.

    A comparison with a name of one as a literal, or with a constant that holds it; with the `kind`
    of anything, but for two manifests' kinds with each other, which are compared as data (a vocoder
    is of its voice's kind, whatever that is), and for what no family is called; a `match` on such a
    name; `isinstance` and `issubclass` of a family's or an executor's own class.
    """
    constants = constants_of(tree) | {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in shared_constants()
    }
    classes = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(CONCRETE)
        if node.module not in MEANING
        for alias in node.names
    }
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and _asks([node.left, *node.comparators], constants):
            lines.append(node.lineno)
        if isinstance(node, ast.MatchValue) and _named(node.value):
            lines.append(node.lineno)
        if isinstance(node, ast.MatchClass) and _last(node.cls) in classes:
            lines.append(node.lineno)
        if isinstance(node, ast.Call) and _last(node.func) in ("isinstance", "issubclass"):
            asked = {_last(e) for e in ast.walk(node.args[1]) if isinstance(e, ast.expr)}
            lines += [node.lineno] if asked & classes else []
    return lines


def constants_of(tree: ast.AST) -> set[str]:
    """A module's own constants that hold a name of a family or an executor."""
    return {
        target.id
        for node in ast.iter_child_nodes(tree)
        if isinstance(node, ast.Assign) and _named(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


@cache
def shared_constants() -> frozenset[str]:
    """Those that other modules may import.

    The dialects of `models.manifest` say what a file is written in, not who runs it.
    """
    folders = [path for folder in ("runtime", "bench") for path in modules(folder)]
    files = [path for path in folders if path != ROOT / "runtime/models/manifest.py"]
    return frozenset().union(*(constants_of(parsed(path)) for path in files))


def _asks(sides: list[ast.expr], constants: set[str]) -> bool:
    """Whether a comparison of these is a question of a family, a kind or an executor."""
    if any(_named(side) or (isinstance(side, ast.Name) and side.id in constants) for side in sides):
        return True
    kinds = [side for side in sides if isinstance(side, ast.Attribute) and side.attr == "kind"]
    others = [side for side in sides if side not in kinds]
    of_manifests = all(_last(side.value) == "manifest" for side in kinds)
    return bool(kinds) and not (
        all(_literal(side) for side in others) if others else len(kinds) > 1 and of_manifests
    )


def _last(node: ast.expr) -> str:
    """The last word of a dotted name."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _literal(node: ast.expr) -> bool:
    """Whether it is a string, or a display of strings."""
    inner = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return all(isinstance(each, ast.Constant) and isinstance(each.value, str) for each in inner)


def _named(node: ast.expr) -> bool:
    """Whether it is a family's or an executor's name, or a display that has one."""
    inner = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return any(isinstance(each, ast.Constant) and each.value in NAMES for each in inner)


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in modules("runtime") + modules("bench") + modules("triton_models")
        if not str(path.relative_to(ROOT)).startswith(ASKS)
    ],
    ids=str,
)
def test_nobody_asks_which_family_or_executor_it_is(path: Path) -> None:
    assert questions(parsed(path)) == []


@pytest.mark.parametrize(
    "line",
    [
        'x = name != "triton"',
        'x = "xtts" == model',
        'x = executor in ("onnx-cuda", "tensorrt")',
        'x = kind not in {"vits"}',
        'HERE = "openvino"\nx = executor == HERE',
        "x = manifest.kind == FAMILY.kind",
        "from voxturn.runtime.families.vits.voice import VitsVoice\nmatch x:\n    case VitsVoice():\n        pass",
        "x = manifest.kind == wanted",
        'match kind:\n    case "decoder":\n        pass',
        "from voxturn.runtime.families.vits.voice import VitsVoice\nx = isinstance(voice, VitsVoice)",
        "from voxturn.runtime.executors.onnx import OnnxGraph as G\nx = issubclass(g, int | G)",
    ],
)
def test_a_question_is_seen(line: str) -> None:
    assert len(questions(ast.parse(line))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "x = self.manifest.kind == voice.manifest.kind",
        'x = settings.kind == "off"',
        'x = profile.filter.kind not in ("words", "off")',
        'x = {"triton": 1}[name]',
        'class A:\n    name = "onnx"\nx = name in inputs',
        "from voxturn.runtime.families.base import Voice\nx = isinstance(voice, Voice)",
        "x = executor.on_gpu == True",
    ],
)
def test_what_is_no_question_is_let_pass(line: str) -> None:
    assert questions(ast.parse(line)) == []


ROOMS = {
    "flow": {"errors"},
    "text": {"errors", "files", "messages", "tomlfile"},
    "audio": {"errors", "memory", "messages"},
    "models": {"errors", "files", "audio", "tomlfile"},
    "decode": {"errors", "flow", "protocols"},
    "remote": {"errors", "flow", "messages", "models", "decode"},
    "executors": {"errors", "files", "memory", "flow", "protocols", "models", "decode", "remote"},
    "families": {
        "errors", "files", "flow", "messages", "protocols", "models", "audio", "text", "decode", "remote"
    },
    "turn": {"errors", "files", "flow", "messages", "audio", "text", "families"},
}  # fmt: skip
"""Which rooms each room of the runtime may import: docs/architecture.md."""


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room: str) -> None:
    for path in modules(f"runtime/{room}"):
        for module in imports(path):
            if module.startswith("voxturn.runtime."):
                assert module.split(".")[2] in ROOMS[room] | {room}, f"{path} imports {module}"


def _is_library(path: Path) -> bool:
    """Whether a module of the runtime may be another program's: not the command line and what it
    alone uses."""
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
    # the gateway is a web application: it is imported by its command alone; plugins by frameworks'
    alone = ".gateway." not in f"{module.name}." and ".plugins." not in f"{module.name}."
    if not module.name.endswith("_native") and alone:
        importlib.import_module(module.name)
print(sorted(m for m in sys.modules if m in ("torch", "onnxruntime", "av", "tokenizers", "ctranslate2")))
print(voxturn.runtime.Assistant.__name__)
"""


def test_the_runtime_below_the_gateway_imports_with_numpy_alone() -> None:
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
