"""Reading files that may be anybody's: regular ones, of a size that their kind has, whose headers
are true."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from voxturn.runtime.files import (
    MOST_JSON,
    InPieces,
    is_inside,
    open_archive,
    read_arrays,
    read_json,
    size_of,
)


def test_the_size_of_a_regular_file_and_of_what_a_link_leads_to(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(7))
    (tmp_path / "link").symlink_to(path)
    assert size_of(path, 7) == size_of(tmp_path / "link") == 7
    with pytest.raises(ValueError, match="it has 7 bytes; such a file has 6 at most"):
        size_of(path, 6)
    with pytest.raises(FileNotFoundError):
        size_of(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: os.mkfifo(path), "a named pipe"),
        (lambda path: path.symlink_to("/dev/null"), "a device"),
    ],
)
def test_what_is_no_file_is_not_opened(
    make: Callable[[Path], object], kind: str, tmp_path: Path
) -> None:
    make(tmp_path / "path")
    for read in (size_of, read_json, read_arrays):
        with pytest.raises(ValueError, match=f"it is {kind}, not a file"):
            read(tmp_path / "path")


def test_json_is_read_if_it_is_small_and_flat(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1]}')
    assert read_json(path) == {"a": [1]}
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(path)
    os.truncate(path, MOST_JSON + 1)
    with pytest.raises(ValueError, match="33,554,433 bytes"):
        read_json(path)


@pytest.mark.parametrize(("name", "inside"), [("a", True), ("a/b", True), ("..a", True), ("", False), (".", False), ("/a", False), ("../a", False), ("a/..", False)])  # fmt: skip
def test_names_stay_in_their_folder(name: str, inside: bool) -> None:
    assert is_inside(name) is inside


def test_arrays_come_as_they_were_saved(tmp_path: Path) -> None:
    arrays = {
        "a/b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "c": np.zeros(0),
        "d": np.array(7),
    }
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    found = read_arrays(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    np.savez_compressed(tmp_path / "packed.npz", a=np.zeros(10))
    with pytest.raises(ValueError, match="packed or encrypted"):
        read_arrays(tmp_path / "packed.npz")


@pytest.mark.parametrize("keep", [0, 10, -30, -5])
def test_an_archive_cut_short_is_none(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros(10))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="it is not a whole archive"):
        read_arrays(path)


def test_a_damaged_member_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.full(10, 7.0))
    data = bytearray(path.read_bytes())
    data[data.index(np.float64(7).tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="it is not a whole archive"):
        read_arrays(path)


def test_members_that_are_more_than_the_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"x" * 77)
    path.write_bytes(path.read_bytes().replace(b"\x4d\0\0\0" * 2, b"\xfe\xff\xff\xff" * 2))
    with pytest.raises(ValueError, match="more than the whole file"), open_archive(path):
        pass


def test_nothing_is_read_by_the_gigabyte(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    path.touch()
    os.truncate(path, 1 << 30)
    with InPieces(path) as file:
        assert file.read(5) == bytes(5)
        with pytest.raises(ValueError, match="1,073,741,824 bytes, more than any"):
            file.read(1 << 30)
