"""Folders of Coqui's: configurations with comments, weights by their names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.export.coqui.folder import _COMMENTS, CoquiFolder
from voxturn.runtime.errors import CorruptModel, ExportFailed


def folder(root: Path, config: str = "{}", *names: str) -> CoquiFolder:
    (root / "config.json").write_text(config, encoding="utf-8")
    for name in names:
        (root / name).touch()
    return CoquiFolder.open(root)


def test_comments_are_left_out_and_texts_that_look_like_them_stay(tmp_path: Path) -> None:
    written = """{ // of a training
      "url": "https://example.org/*x*/", /* in two
      lines */ "quote": "\\"//", "n": 1 // the last
    }"""
    config = folder(tmp_path, written).config
    assert config == {"url": "https://example.org/*x*/", "quote": '"//', "n": 1}


@given(
    st.recursive(st.text() | st.integers(), lambda s: st.lists(s) | st.dictionaries(st.text(), s))
)
def test_json_without_comments_stays_as_it_is(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert json.loads(_COMMENTS.sub(lambda found: found.group(1) or "", text)) == value


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("best_model.pth", "model.pth", "speakers.pth"), "model.pth"),
        (("checkpoint_9.pth", "checkpoint_10.pth", "checkpoint_2.pth"), "checkpoint_10.pth"),
        (("best_model_7.pth", "best_model_12.pth", "checkpoint_99.pth"), "best_model_12.pth"),
        (("speaker_ids.pth", "model_file.pth.tar"), "model_file.pth.tar"),
        (("epoch=1-step=20.ckpt",), "epoch=1-step=20.ckpt"),
        (("model.safetensors", "model.pth"), "model.safetensors"),
    ],
)
def test_weights_are_the_surest_or_the_latest(
    names: tuple[str, ...], found: str, tmp_path: Path
) -> None:
    assert folder(tmp_path, "{}", *names).weights_file.name == found


def test_tables_alone_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(CorruptModel, match="holds no weights"):
        _ = folder(tmp_path, "{}", "speakers.pth", "speaker_ids.pth").weights_file


def test_a_table_lies_in_the_folder_whatever_path_the_configuration_has(tmp_path: Path) -> None:
    opened = folder(tmp_path)
    (tmp_path / "mine.json").write_text('{"ana": 0}', encoding="utf-8")
    assert opened.table("/home/somebody/mine.json", "speaker_ids.json") == {"ana": 0}
    assert opened.table("", "speaker_ids.json") == {}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    path.touch()
    with pytest.raises(ExportFailed, match="is a file; unpack it"):
        CoquiFolder.open(path)


@pytest.mark.parametrize("text", ["", "[1]", "{", "null", "\x00"])
def test_what_is_no_configuration_is_corrupt(text: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptModel, match=r"config\.json"):
        folder(tmp_path, text)
