"""Manifests: those of version 0.1 are read and run where they ran, damaged ones are named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime import errors
from voxturn.runtime.errors import CorruptModel, InferenceFailed, VoxturnError
from voxturn.runtime.executors.catalogue import catalogue
from voxturn.runtime.models.manifest import MANIFEST, Manifest, ModelContract, TensorSpec
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import LoadedParts, choose
from voxturn.runtime.profile import ConvertEngine, load_profile

from tests.artifacts import KINDS, FakeBackends, all_kinds, on_cpu

XTTS = {
    "token_decoder": "gpt",
    "conditioning_encoder": "conditioning",
    "speaker_encoder": "speaker",
    "windowed_waveform_decoder": "vocoder",
    "sequence_waveform_decoder": "vocoder_whole",
}
TEXT = {"token_decoder": "decoder"}
WHISPER = {"whisper_encoder": "encoder", "whisper_decoder": "decoder"}
VITS = {"acoustic_encoder": "acoustic", "waveform_decoder": "decoder"}

OLD: dict[str, tuple[str, dict[str, str], str, tuple[str, str, str], set[tuple[str, str]]]] = {
    "xtts-onnx": ("xtts-onnx", XTTS, "onnx", ("xtts", "text-to-speech", "onnx-contrib"), {("speak", "onnx"), ("vocode", "openvino"), ("vocode", "onnx"), ("vocode", "tensorrt")}),
    "xtts-openvino": ("xtts-onnx", XTTS, "openvino", ("xtts", "text-to-speech", "onnx-scatter-elements"), {("speak", "onnx"), ("vocode", "openvino")}),
    "xtts-tensorrt": ("xtts-tensorrt", XTTS, "tensorrt", ("xtts", "text-to-speech", "onnx-tensor-scatter"), {("speak", "tensorrt"), ("speak", "onnx-cuda"), ("speak", "onnx"), ("vocode", "onnx-cuda")}),
    "decoder-onnx": ("decoder-onnx", TEXT, "onnx", ("decoder", "text-generation", "onnx-contrib"), {("reply", "onnx"), ("reply", "triton")}),
    "decoder-openvino": ("decoder-openvino", TEXT, "openvino", ("decoder", "text-generation", "onnx-scatter-elements"), {("reply", "onnx")}),
    "decoder-tensorrt": ("decoder-tensorrt", TEXT, "tensorrt", ("decoder", "text-generation", "onnx-tensor-scatter"), {("reply", "tensorrt"), ("reply", "onnx-cuda"), ("reply", "onnx")}),
    "decoder-ctranslate2": ("decoder-ctranslate2", {}, "ctranslate2", ("decoder", "text-generation", "ctranslate2"), {("reply", "ctranslate2-cuda")}),
    "whisper-onnx": ("whisper-onnx", WHISPER, "onnx", ("whisper", "speech-to-text", "onnx-contrib"), {("transcribe", "onnx")}),
    "whisper-tensorrt-onnx": ("whisper-tensorrt", WHISPER, "tensorrt-onnx", ("whisper", "speech-to-text", "onnx-tensor-scatter"), {("transcribe", "onnx")}),
    "whisper-ctranslate2": ("whisper-ctranslate2", {}, "ctranslate2", ("whisper", "speech-to-text", "ctranslate2"), {("transcribe", "ctranslate2"), ("transcribe", "ctranslate2-cuda")}),
    "vits": ("vits", VITS, "", ("vits", "text-to-speech", "onnx"), {("speak", "onnx"), ("vocode", "onnx"), ("vocode", "openvino")}),
    "silero": ("silero", {}, "", ("silero", "voice-activity", "onnx"), {("listen", "onnx")}),
}  # fmt: skip
"""By name: today's artifact of `tests.artifacts`, the names that version 0.1 gave its roles, the
engine that its exporter noted, what it is (kind, task, dialect of its decoder or its folder), and
where version 0.1 ran it."""

STAGES = {
    "listen": LoadedParts.activity,
    "end_of_turn": LoadedParts.sound_of_end,
    "transcribe": LoadedParts.recogniser,
    "reply": LoadedParts.replier,
    "speak": LoadedParts.voice,
    "vocode": LoadedParts.voice,
    "convert": LoadedParts.converter,
}
REGISTRY = Registry.read()


def as_first_format(table: dict[str, Any], roles: dict[str, str], engine: str) -> dict[str, Any]:
    """A manifest as version 0.1 wrote it: without task and dialects, its roles' names of then."""
    old = copy.deepcopy(table) | {"format": 1}
    del old["task"], old["dialect"]
    for graph in old["graphs"].values():
        del graph["dialect"]
    old["graphs"] = {roles[role]: graph for role, graph in old["graphs"].items()}
    if engine:
        old["properties"]["engine"] = engine
    return old


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return all_kinds(tmp_path_factory.mktemp("kinds"))


@pytest.fixture(scope="module")
def backends() -> Iterator[FakeBackends]:
    fakes = FakeBackends()
    with pytest.MonkeyPatch.context() as patch:
        fakes.install(patch)
        yield fakes


def write(folder: Path, table: Any) -> None:
    (folder / MANIFEST).write_text(json.dumps(table), encoding="utf-8")


def table_of(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return table


def load(folders: dict[str, Path], stage: str, folder: Path, executor: str) -> None:
    """Load a stage of a profile that runs but for it."""
    profile = on_cpu(folders)
    usual = ConvertEngine("") if stage == "convert" else profile.engine(stage)
    settings = replace(usual, model=str(folder), executor=executor)
    if stage == "vocode":
        speak = replace(profile.speak, model=str(folder))
        profile = replace(profile, speak=speak, vocode=settings)
    else:
        profile = replace(profile, **{stage: settings})
    if stage == "speak":
        profile = replace(profile, vocode=replace(profile.listen, model=str(folder)))
    parts = LoadedParts(profile, Store(folder.parent / "home"), REGISTRY)
    try:
        STAGES[stage](parts)
    finally:
        parts.close()


@pytest.mark.parametrize("name", OLD)
def test_an_artifact_of_the_first_format_is_read(name: str, folders: dict[str, Path]) -> None:
    today, roles, engine, (kind, task, dialect), _ = OLD[name]
    table = table_of(folders[today])
    folder = folders[today].parent / f"old-{name}"
    folder.mkdir(exist_ok=True)
    write(folder, as_first_format(table, roles, engine))
    manifest = Manifest.read(folder)
    assert (manifest.kind, manifest.task, manifest.format) == (kind, task, 2)
    assert set(manifest.graphs) == set(table["graphs"])
    assert {role: graph.file for role, graph in manifest.graphs.items()} == {
        role: graph["file"] for role, graph in table["graphs"].items()
    }
    decodes = {"token_decoder", "whisper_decoder"}
    dialects = {role: graph.dialect for role, graph in manifest.graphs.items()}
    assert dialects == {role: dialect if role in decodes else "onnx" for role in dialects}
    assert manifest.dialect == ("onnx" if manifest.graphs else dialect)
    assert Manifest.read(_rewritten(folder, manifest)) == manifest


def _rewritten(folder: Path, manifest: Manifest) -> Path:
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", OLD)
def test_it_runs_where_it_ran(
    name: str, folders: dict[str, Path], backends: FakeBackends, tmp_path: Path
) -> None:
    today, roles, engine, _, ran = OLD[name]
    old = KINDS[today](tmp_path / name)
    write(old, as_first_format(table_of(old), roles, engine))
    for stage, executor in sorted(ran):
        load(folders, stage, old, executor)


def test_pulled_models_say_what_they_are_by_their_file(tmp_path: Path) -> None:
    table = table_of(KINDS["checkpoint"](tmp_path / "pulled"))
    for name, (kind, task, dialect) in {
        "silero_vad.onnx": ("silero", "voice-activity", "onnx"),
        "smart_turn.onnx": ("smart-turn", "end-of-turn", "onnx"),
        "model.bin": ("whisper", "speech-to-text", "ctranslate2"),
        "model.safetensors": ("checkpoint", "", "source"),
    }.items():
        for old in (False, True):
            pulled = table | {"files": {name: "0" * 64}}
            write(tmp_path, as_first_format(pulled, {}, "") if old else pulled)
            manifest = Manifest.read(tmp_path)
            assert (manifest.kind, manifest.task, manifest.dialect) == (kind, task, dialect)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
STAGE_OF = {"xtts": "speak", "vits": "speak", "decoder": "reply", "whisper": "transcribe", "silero": "listen", "smart-turn": "end_of_turn", "openvoice": "convert"}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a JSON value, the whole included."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()  # fmt: skip
    for key, inner in items:
        yield from places(inner, (*path, key))


def put(table: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value in one place."""
    if not path:
        return value
    copied = copy.copy(table)
    copied[path[0]] = put(table[path[0]], path[1:], value)
    return copied


@pytest.mark.slow
@settings(max_examples=300)
@given(data=st.data())
def test_whatever_is_damaged_is_named(
    data: st.DataObject, folders: dict[str, Path], backends: FakeBackends
) -> None:
    """Any JSON value in any place: it is read and loads, or ends in one line that names the
    manifest."""
    name = data.draw(st.sampled_from(sorted(OLD)))
    today, roles, engine, (kind, _, _), ran = OLD[name]
    original = table_of(folders[today])
    table = as_first_format(original, roles, engine) if data.draw(st.booleans()) else original
    place = data.draw(st.sampled_from(list(places(table))))
    broken = put(table, place, data.draw(JSON))
    folder = folders[today]
    executor = next(executor for stage, executor in sorted(ran) if stage == STAGE_OF[kind])
    write(folder, broken)
    try:
        unreadable = error_of(lambda: Manifest.read(folder))
        refused = error_of(lambda: load(folders, STAGE_OF[kind], folder, executor))
    finally:
        write(folder, original)
    for error in (unreadable, refused):
        assert error is None or type(error) in vars(errors).values()
        assert "\n" not in str(error)
    if unreadable is not None:
        assert isinstance(unreadable, CorruptModel)
        assert str(folder) in str(unreadable)


def error_of(work: Callable[[], object]) -> VoxturnError | None:
    """The error of ours that something raises."""
    try:
        work()
    except VoxturnError as exc:
        return exc
    return None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"format": 3}', "\x00"])
def test_what_is_no_manifest_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(CorruptModel, match=r"manifest\.json") as caught:
        Manifest.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("checkpoint", "unknown")])
def test_a_property_that_is_not_there_is_named(
    kind: str, folders: dict[str, Path], backends: FakeBackends
) -> None:
    """Of families that need any: a voice without its rate ended in `KeyError`."""
    folder, original = folders[kind], table_of(folders[kind])
    stage = STAGE_OF[Manifest.read(folder).kind]
    if not original["graphs"]:
        return  # its files say all
    write(folder, original | {"properties": {}})
    try:
        if stage == "transcribe":
            from voxturn.runtime.executors.whisper_onnx import OnnxWhisper
            from voxturn.runtime.flow.scheduling import Cores

            with pytest.raises(CorruptModel, match="lacks"):
                OnnxWhisper(folder, Manifest.read(folder), Cores().budget("transcribe", 1))
        else:
            with pytest.raises(CorruptModel, match="lacks"):
                load(folders, stage, folder, "onnx")
    finally:
        write(folder, original)


def test_executors_of_old_artifacts_are_still_known() -> None:
    assert {executor for *_, ran in OLD.values() for _, executor in ran} <= set(catalogue())


def test_an_input_that_is_missing_is_named() -> None:
    contract = ModelContract("voice.onnx", (TensorSpec("pitch", "float32", ("n",)),), ())
    contract.check({"pitch": np.zeros(3, np.float32)})
    with pytest.raises(InferenceFailed, match=r"voice\.onnx: input 'pitch' is missing"):
        contract.check({"tempo": np.zeros(3, np.float32)})


def test_a_folder_of_the_user_s_is_not_pulled_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    for folder, advice in (
        (tmp_path / "mine", "export it again"),
        (store.root / "artifacts" / "theirs", "models pull"),
    ):
        folder.mkdir(parents=True)
        manifest = Manifest("m", "vits", "fp32", {}, {"voice.onnx": "0" * 64})
        (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        for look in (store.at, store.verify):
            with pytest.raises(CorruptModel, match=advice):
                look(folder)


def test_a_registry_s_model_computes_in_its_default_precision_where_a_profile_names_none(
    tmp_path: Path,
) -> None:
    """It was computed in float32, twenty times slower, because its source says no precision."""
    profile = load_profile("demo")
    store, registry = Store(tmp_path), Registry.read()
    model, _ = registry.resolve(profile.transcribe.model)
    KINDS["whisper-ctranslate2"](store.artifact_path(model, model.precisions[0]))
    for precision in ("", model.precisions[0]):
        transcribe = replace(profile.transcribe, precision=precision)
        choice = choose(replace(profile, transcribe=transcribe), "transcribe", store, registry)
        assert choice.precision == model.precisions[0] == "int8"
    folder = str(choice.folder)
    transcribe = replace(profile.transcribe, model=folder, precision="")
    alone = choose(replace(profile, transcribe=transcribe), "transcribe", store, registry)
    assert alone.precision == alone.manifest.precision
