"""Speakers and languages by name, from the tables beside a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.export.coqui.folder import CoquiFolder
from voxturn.export.coqui.speakers import embedded_speakers, languages_of, vector_speakers
from voxturn.runtime.errors import ExportFailed


def folder(path: Path, config: dict[str, Any], **tables: Any) -> CoquiFolder:
    path.mkdir(exist_ok=True)
    for name, table in tables.items():
        (path / f"{name}.json").write_text(json.dumps(table), encoding="utf-8")
    return CoquiFolder(path, config)


@pytest.mark.parametrize(
    ("name", "config", "language"),
    [
        ("tts_models--uk--mai--vits", {"phoneme_language": "en-us"}, "uk"),
        ("tts_models--zh-CN--baker--tacotron2", {}, "zh-cn"),
        ("tts_models--multilingual--multi-dataset--x", {"phoneme_language": "it"}, "it"),
        ("mine", {"use_phonemes": True, "phoneme_language": "de"}, "de"),
        ("mine", {"phoneme_language": "en-us", "datasets": [{"language": "fi"}]}, "fi"),
        ("mine", {"phoneme_language": "en-us"}, "en-us"),
    ],
)
def test_the_language_of_a_model_of_one(
    tmp_path: Path, name: str, config: dict[str, Any], language: str
) -> None:
    assert languages_of(folder(tmp_path / name, config), 0) == [language]


def test_a_table_of_one_language_says_it(tmp_path: Path) -> None:
    opened = folder(tmp_path, {"phoneme_language": "en"}, language_ids={"es": 0})
    assert languages_of(opened, 1) == ["es"]


def test_several_languages_are_in_the_order_of_their_ids(tmp_path: Path) -> None:
    opened = folder(tmp_path, {}, language_ids={"pt-br": 2, "en": 0, "fr-fr": 1})
    assert languages_of(opened, 3) == ["en", "fr-fr", "pt-br"]
    with pytest.raises(ExportFailed, match="names 3 languages, the model has 4"):
        languages_of(opened, 4)


def test_a_language_that_nothing_says_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match='says no language; write one into it, as "phoneme_lang'):
        languages_of(folder(tmp_path, {"datasets": [{"language": ""}]}), 0)


def test_speakers_are_named_by_the_table_that_is_here(tmp_path: Path) -> None:
    """Also where the configuration has the path of whoever trained it, and a name a line's end."""
    config = {"model_args": {"speakers_file": "/home/somebody/mine.json"}}
    opened = folder(tmp_path, config, mine={"ED\n": 0, "p225": 1})
    assert embedded_speakers(opened, 2) == ["ED", "p225"]


def test_speakers_without_a_table_are_numbers(tmp_path: Path) -> None:
    assert embedded_speakers(folder(tmp_path, {}), 3) == ["0", "1", "2"]


def test_a_speaker_of_several_clips_has_their_mean_and_all_rows_the_length_1(
    tmp_path: Path,
) -> None:
    clips = {
        "a": {"name": "ana", "embedding": [2.0, 0.0]},
        "b": {"name": "ana", "embedding": [0.0, 2.0]},
        "c": {"name": "ben", "embedding": [0.0, 5.0]},
    }
    names, rows = vector_speakers(folder(tmp_path, {}, speakers=clips), 2)
    assert names == ["ana", "ben"]
    np.testing.assert_allclose(rows, [[0.5**0.5, 0.5**0.5], [0.0, 1.0]], rtol=1e-6)
