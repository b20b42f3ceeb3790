"""`python -m voxturn.export.verify_gpu ARTIFACT …`: build every graph of artifacts with
TensorRT-RTX, with no GPU at hand.

A build proves that TensorRT's parser takes the graph, that the production profiles fit it, and
which layers it became: for a decoder in half precision fused attention and the in-place update of
its caches are asserted. The engines cannot be run here; nothing is said of their speed. Graphs that
must be refused are built as well, so that the check is not vacuous.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.executors.cuda.tensorrt_build import (
    PROFILES,
    Log,
    Profile,
    build,
    load_library,
)
from voxturn.runtime.models.manifest import ModelContract, TensorSpec
from voxturn.runtime.models.store import Store, write_atomic

CAPABILITIES = ("SM80", "SM86", "SM89", "SM120")
_LAYERS = "Layers:\n"
_FLOATS = {"float32": "Float", "float16": "Half", "bfloat16": "BFloat16"}
"""What TensorRT calls our types."""
_NO_KERNELS = ("wait", "signal", "shape_call", "ShapeHostToDevice")
"""Layers that launch nothing: events between the streams that TensorRT gives an engine, and
arithmetic of shapes on the host."""
_LARGER, _HEADS = (
    1.5,
    1,
)  # what an engine may be, against its graph's weights; products whose weights may be unpacked
_SMALL = 16_000_000  # bytes of weights: TensorRT does not care how tiny ones lie


def layers_of(log: Log) -> list[str]:
    """The layers that a build ended with, of all profiles, a line each; empty for a library that
    does not tell them."""
    lines = [text for text in log.lines if text.startswith(_LAYERS)]
    return [line for text in lines for line in text.splitlines() if line.startswith("Name: ")]


def _kind(line: str) -> str:
    """A layer's type."""
    return match[1] if (match := re.search(r"LayerType: (\w+)", line)) else ""


def _by_profile(lines: Sequence[str]) -> Counter[str]:
    """How many layers each profile has; their names have its number."""
    return Counter(m[1] for line in lines if (m := re.search(r"_myl(\d+)_", line.split(",")[0])))


def check_decoder(name: str, contract: ModelContract, log: Log, profiles: int) -> None:
    """A decoder's attention is fused, in its caches' type, in every layer and profile; every cache
    is updated in place."""
    caches = [spec for spec in contract.inputs if spec.name.startswith("past_")]
    fused = [line for line in layers_of(log) if "_mha" in line.split(",")[0]]
    updated = {line for line in log.lines if line.startswith("KVCACHE_UPDATE ")}
    by_profile, layers = _by_profile(fused), len(caches) // 2
    for profile in map(str, range(profiles)):
        if by_profile[profile] < layers:
            raise ExportFailed(
                f"{name}: attention is fused in {by_profile[profile]} layers of {layers}, profile {profile}"
            )
    types = {kind for line in fused for kind in re.findall(r"Datatype: (\w+)", line)} & set(
        _FLOATS.values()
    )
    if types != {wanted := _FLOATS[caches[0].dtype]}:
        raise ExportFailed(
            f"{name}: attention is computed in {', '.join(sorted(types))}, not in {wanted}"
        )
    if len(updated) != len(caches):
        raise ExportFailed(f"{name}: {len(updated)} of {len(caches)} caches are updated in place")


def check_weights(name: str, data: Path, size: int, log: Log) -> None:
    """Weights stay as they are stored, in the engine and on the way into their products, but for a
    head, once a prompt."""
    loose = [
        line
        for line in layers_of(log)
        if "LayerType: kgen" in line and re.search(r"Datatype: Int[48]\b", line)
    ]
    if len(loose) > _HEADS:
        raise ExportFailed(f"{name}: {len(loose)} weights are unpacked before their product")
    if size > _LARGER * data.stat().st_size:
        raise ExportFailed(
            f"{name}: the engine has {size} bytes for weights of {data.stat().st_size}"
        )


def verify(trt: Any, artifact: Path, capabilities: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Build every graph of an artifact; per graph seconds, bytes, kernels of each profile and kinds
    of layers.

    Raises `ExportFailed` or `CorruptModel`.
    """
    _, manifest = Store().at(artifact)
    out: dict[str, dict[str, Any]] = {}
    for role, contract in manifest.graphs.items():
        if role not in PROFILES:
            raise ExportFailed(f"{artifact}: there are no TensorRT profiles for its graph {role!r}")
        log, begin = Log(), time.perf_counter()
        engine = build(trt, artifact / contract.file, contract, PROFILES[role], log, capabilities)
        if role in ("token_decoder", "whisper_decoder") and manifest.precision != "fp32":
            check_decoder(f"{artifact}/{contract.file}", contract, log, len(PROFILES[role]))
            if (artifact / f"{contract.file}.data").stat().st_size > _SMALL:
                check_weights(
                    f"{artifact}/{contract.file}",
                    artifact / f"{contract.file}.data",
                    len(engine),
                    log,
                )
        layers = layers_of(log)
        kernels = [line for line in layers if _kind(line) not in _NO_KERNELS]
        by_profile = _by_profile(kernels)
        out[contract.file] = {
            "seconds": round(time.perf_counter() - begin, 1),
            "bytes": len(engine),
            "kernels": {f"{number}": by_profile[number] for number in sorted(by_profile)},
            "kinds": dict(Counter(map(_kind, layers)).most_common()),
        }
    return out


def broken(folder: Path) -> dict[str, tuple[Path, ModelContract]]:
    """Graphs that TensorRT has to refuse, by what is wrong with them."""
    f32, f16 = TensorProto.FLOAT, TensorProto.FLOAT16
    cases: dict[str, tuple[list[Any], list[tuple[str, int, list[Any]]], list[Any]]] = {
        "mixed types": ([helper.make_node("Add", ["a", "b"], ["c"])], [("a", f32, ["n", 4]), ("b", f16, ["n", 4])], []),
        "a product whose sizes do not fit": (
            [helper.make_node("MatMul", ["a", "w"], ["c"])],
            [("a", f32, ["n", 4])],
            [numpy_helper.from_array(np.ones((5, 4), np.float32), "w")],
        ),
        "an operator of ours": ([helper.make_node("Ours", ["a"], ["c"], domain="ours")], [("a", f32, ["n", 4])], []),
        "sampling in the graph": (
            [helper.make_node("Multinomial", ["a"], ["c"], dtype=TensorProto.INT32)], [("a", f32, ["n", 4])], [],
        ),
        "a spectrum by DFT": (
            [helper.make_node("DFT", ["a", "size"], ["c"], axis=1, onesided=1)],
            [("a", f32, ["n", 64, 1])],
            [numpy_helper.from_array(np.array(64, np.int64), "size")],
        ),
    }  # fmt: skip
    graphs: dict[str, tuple[Path, ModelContract]] = {}
    for name, (nodes, inputs, constants) in cases.items():
        infos = [helper.make_tensor_value_info(*value) for value in inputs]
        kind = TensorProto.INT32 if name == "sampling in the graph" else f32
        graph = helper.make_graph(
            nodes, "g", infos, [helper.make_tensor_value_info("c", kind, None)], constants
        )
        imports = [helper.make_opsetid("", 20), helper.make_opsetid("ours", 1)]
        path = folder / f"{len(graphs)}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), str(path))
        specs = tuple(
            TensorSpec(n, "float32" if t == f32 else "float16", tuple(s)) for n, t, s in inputs
        )
        graphs[name] = path, ModelContract(path.name, specs, ())
    return graphs


def accepted(trt: Any, capabilities: Sequence[str]) -> list[str]:
    """Which of the broken graphs and profiles are built all the same: there should be none."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (path, contract) in broken(Path(folder)).items():
            try:
                build(trt, path, contract, [Profile({"n": (1, 4, 8)})], Log(), capabilities)
            except CorruptModel:
                continue
            found.append(name)
        path, contract = (
            Path(folder) / "fine.onnx",
            ModelContract("fine.onnx", (TensorSpec("a", "float32", ("n", 4)),), ()),
        )
        node = helper.make_node("Softmax", ["a"], ["c"])
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "ac"]
        graph = helper.make_graph([node], "g", infos[:1], infos[1:])
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10),
            str(path),
        )
        build(
            trt, path, contract, [Profile({"n": (1, 4, 8)})], Log(), capabilities
        )  # what is fine must be built
        try:
            build(trt, path, contract, [Profile({"n": (4, 2, 1)})], Log(), capabilities)
            found.append("a profile whose least is above its most")
        except CorruptModel:
            pass
    return found


def write(
    path: Path, built: Mapping[str, Mapping[str, Any]], trt: Any, capabilities: Sequence[str]
) -> None:
    """The result file."""
    metrics: dict[str, Any] = {}
    for name, about in built.items():
        for key, unit in (("seconds", "s"), ("bytes", "bytes")):
            metrics[f"{key}.{name}"] = {"unit": unit, "value": about[key]}
        for profile, count in about["kernels"].items():
            metrics[f"kernels.{name}.{profile}"] = {"unit": "count", "value": count}
    result = {
        "benchmark": "verify-gpu",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "library": f"{trt.__name__} {trt.__version__}",
        "capabilities": list(capabilities),
        "metrics": metrics,
        "layers": {name: about["kinds"] for name, about in built.items()},
    }
    write_atomic(path, (json.dumps(result, indent=1) + "\n").encode())


def main() -> None:
    """Build, print a line a graph, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("artifacts", nargs="+", type=Path, metavar="ARTIFACT")
    parser.add_argument(
        "--for", dest="capabilities", default=",".join(CAPABILITIES), metavar="SM80,…"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    trt, capabilities = load_library(["tensorrt_rtx"]), args.capabilities.split(",")
    if wrong := accepted(trt, capabilities):
        raise SystemExit(f"graphs that must be refused were built: {', '.join(wrong)}")
    built = {}
    for artifact in args.artifacts:
        for file, about in verify(trt, artifact, capabilities).items():
            built[f"{artifact.name}/{file}"] = about
            kernels = " + ".join(str(count) for count in about["kernels"].values())
            print(
                f"{artifact.name}/{file}: {kernels} kernels, {about['bytes'] / 1e6:.0f} MB, {about['seconds']} s",
                flush=True,
            )
    if args.json:
        write(args.json, built, trt, capabilities)


if __name__ == "__main__":
    main()
