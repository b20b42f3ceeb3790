"""The one reader of safetensors: which files it reads, and what it says of those that it cannot
read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from voxturn.export.checkpoint import (
    Safetensors,
    check_content,
    copy_tokenizer,
    read_table,
    refuse_adapter,
)
from voxturn.export.decoder.export import Opened
from voxturn.export.decoder.gguf import GgufCheckpoint
from voxturn.export.vits.export import export as export_vits
from voxturn.export.whisper.checkpoint import open_tokenizer
from voxturn.export.whisper.ct2 import Ct2Tensors
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import quiet

from tests.failed_downloads import LFS_POINTER, WEB_PAGE


def save(path: Path, **weights: np.ndarray) -> None:
    save_file(weights, path)


def index(folder: Path, **weights: str) -> None:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": weights}), encoding="utf-8")


ONES = np.ones((2, 3), np.float32)


def test_weights_come_as_float32_under_their_names(tmp_path: Path) -> None:
    save(tmp_path / "model.safetensors", a=ONES.astype(np.float16), b=np.zeros(4, np.float64))
    weights = Safetensors(tmp_path)
    assert weights.names() == {"a", "b"}
    assert weights.shapes() == {"a": (2, 3), "b": (4,)}
    assert weights.array("a").dtype == weights.array("b").dtype == np.float32
    np.testing.assert_array_equal(weights.array("a"), ONES)


def test_a_whole_file_goes_before_an_index_and_an_index_before_what_lies_there(
    tmp_path: Path,
) -> None:
    save(tmp_path / "other.safetensors", c=ONES)
    assert Safetensors(tmp_path).names() == {"c"}
    save(tmp_path / "model-1.safetensors", a=ONES)
    save(tmp_path / "model-2.safetensors", b=ONES)
    index(tmp_path, a="model-1.safetensors", b="model-2.safetensors")
    assert Safetensors(tmp_path).names() == {"a", "b"}
    save(tmp_path / "model.safetensors", whole=ONES)
    assert Safetensors(tmp_path).names() == {"whole"}


def test_every_missing_shard_is_named(tmp_path: Path) -> None:
    save(tmp_path / "1.safetensors", a=ONES)
    index(tmp_path, a="1.safetensors", b="2.safetensors", c="3.safetensors")
    with pytest.raises(
        CorruptModel, match=r"shards are missing: 2\.safetensors, 3\.safetensors \(2 of 3\)"
    ):
        Safetensors(tmp_path)


@pytest.mark.parametrize("keep", [0, 7, 40, -1])
def test_a_file_cut_short_is_named_in_one_line(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save(path, a=ONES)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptModel, match=r"model\.safetensors: not a whole") as caught:
        Safetensors(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3}'])
def test_an_index_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    with pytest.raises(CorruptModel, match=r"index\.json: not an index of shards"):
        Safetensors(tmp_path)


def test_a_folder_without_weights_and_weights_that_are_no_floats_are_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(CorruptModel, match=r"holds no \*\.safetensors"):
        Safetensors(tmp_path)
    save(tmp_path / "model.safetensors", a=ONES, b=np.ones(2, np.int8), c=np.ones(2, np.int64))
    with pytest.raises(ExportFailed, match=r"b is stored as I8, one of 2 such weights"):
        Safetensors(tmp_path)


@pytest.mark.parametrize(("text", "says"), [("{", "not JSON"), ("[]", "is not a table")])
def test_a_table_that_is_none_is_named(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(CorruptModel, match=r"config\.json: is missing or not JSON"):
        read_table(path)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorruptModel, match=rf"config\.json: .*{says}"):
        read_table(path)


def test_a_tokenizer_is_copied_without_truncation_and_padding(tmp_path: Path) -> None:
    source, target = tmp_path / "tokenizer.json", tmp_path / "copy.json"
    source.write_text('{"model": {"é": 1},  "truncation": null}', encoding="utf-8")
    copy_tokenizer(source, target)
    assert target.read_bytes() == source.read_bytes()
    source.write_text('{"model": {"é": 1}, "truncation": {}, "padding": {"length": 16}}')
    copy_tokenizer(source, target)
    assert json.loads(target.read_text(encoding="utf-8")) == {
        "model": {"é": 1},
        "truncation": None,
        "padding": None,
    }
    source.write_text("[]")
    with pytest.raises(CorruptModel, match="is not a table"):
        copy_tokenizer(source, target)


def test_a_folder_with_an_adapter_is_refused(tmp_path: Path) -> None:
    refuse_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(
        ExportFailed, match=r"\(adapter_config\.json\); merge it into the model's"
    ) as caught:
        refuse_adapter(tmp_path)
    assert "\n" not in str(caught.value)


def _vits(folder: Path) -> None:
    source = Manifest("vits", "checkpoint", "source", {}, {})
    export_vits(folder, source, folder / "out", "fp32", quiet)


READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("config.json", lambda f: read_table(f / "config.json")),
    ("model.safetensors", Safetensors),
    ("model.safetensors.index.json", Safetensors),
    ("other.safetensors", Safetensors),
    ("model.gguf", lambda f: GgufCheckpoint(f / "model.gguf")),
    ("model.gguf", Opened.open),
    ("config.json", Opened.open),
    ("model.bin", lambda f: Ct2Tensors(f / "model.bin")),
    ("tokenizer.json", lambda f: open_tokenizer(f / "tokenizer.json")),
    ("voice.onnx", _vits),
    ("voice.onnx.json", _vits),
]


@pytest.mark.parametrize(("name", "read"), READERS)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (LFS_POINTER, r"is a pointer of git-lfs in place of the file; run `git lfs pull`"),
        (WEB_PAGE, r"is a web page in place of the file, .* download the file again"),
    ],
)
def test_what_a_failed_download_left_is_named(
    name: str, read: Callable[[Path], object], content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptModel, match=rf"{name}: {says}") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "page"),
    [
        (b"\n\n <HTML lang=en>", True),
        (b"\xef\xbb\xbf<!doctype HTML>", True),
        (b"<!-- cached --><html>", True),
        (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code>', True),
        (b'{"a": "<html>"}', False),
        (b"PK\x03\x04 <html>", False),
        (b"<headers>", False),
        (b"", False),
    ],
)
def test_only_a_page_is_taken_for_one(content: bytes, page: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    check_content(path)  # which is not there
    path.write_bytes(content)
    if page:
        with pytest.raises(CorruptModel, match="is a web page"):
            check_content(path)
    else:
        check_content(path)
