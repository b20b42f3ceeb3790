"""The speakers of a VITS: a row by name, others refused with the names that there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxturn.runtime.errors import CorruptModel, UnknownVoice
from voxturn.runtime.families.vits.speakers import Speakers, check_speaker

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_the_row_of_a_name_and_of_the_first_where_none_is_named() -> None:
    speakers = Speakers(("ana", "ben"), ROWS)
    ben, first = speakers.row("ben"), speakers.row("")
    assert ben is not None
    assert first is not None
    assert ben.shape == (1, 3, 1)
    assert ben.ravel().tolist() == [3, 4, 5]
    assert first.ravel().tolist() == [0, 1, 2]


def test_one_speaker_alone_has_no_row_and_no_name(tmp_path: Path) -> None:
    speakers = Speakers.read(tmp_path, ())
    assert speakers.row("") is None
    with pytest.raises(UnknownVoice, match="'ana': this model has one speaker, who has no name"):
        speakers.row("ana")


def test_an_unknown_speaker_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownVoice, match="voice 'eva' is not known; this model has ana, ben"):
        check_speaker("eva", ("ana", "ben"))
    with pytest.raises(UnknownVoice, match=r"n39 and 60 more$"):
        check_speaker("eva", [f"n{i}" for i in range(100)])


@pytest.mark.parametrize(
    "arrays", [{}, {"rows": ROWS[:1]}, {"rows": ROWS.ravel()}, {"rows": ROWS.astype(np.float64)}]
)
def test_rows_that_are_not_the_speakers_are_a_corrupt_model(
    arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    np.savez(tmp_path / "speakers.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(CorruptModel):
        Speakers.read(tmp_path, ("ana", "ben"))


def test_rows_that_are_missing_are_a_corrupt_model(tmp_path: Path) -> None:
    with pytest.raises(CorruptModel, match=r"speakers\.npz"):
        Speakers.read(tmp_path, ("ana",))
