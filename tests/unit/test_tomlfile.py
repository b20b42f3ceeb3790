"""Tables become dataclasses, and whatever else a file says is an error in one line that names the
key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from voxturn.runtime.errors import InferenceFailed, InvalidProfile
from voxturn.runtime.tomlfile import build, nearest, read_toml


@dataclass(frozen=True)
class Inner:
    size: int


@dataclass(frozen=True)
class Table:
    share: float
    maybe: str | None = None
    inner: Inner | None = None
    words: tuple[str, ...] = ()
    many: tuple[Inner, ...] = field(default_factory=tuple)
    exact: bool = False


WHOLE = st.integers(-(2**53), 2**53)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "share": st.one_of(st.floats(allow_nan=False), WHOLE),
    "maybe": st.text(),
    "inner": st.fixed_dictionaries({"size": st.integers()}),
    "words": st.lists(st.text(), max_size=3),
    "many": st.lists(st.fixed_dictionaries({"size": st.integers()}), max_size=3),
    "exact": st.booleans(),
}
TABLES = st.fixed_dictionaries(
    {"share": VALUES["share"]}, optional={k: v for k, v in VALUES.items() if k != "share"}
)
TOML = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(TABLES)
def test_a_fitting_table_is_taken_as_it_is(table: dict[str, Any]) -> None:
    result = build(Table, table, "t", InvalidProfile)
    inner = table.get("inner")
    assert result == Table(
        table["share"],
        table.get("maybe"),
        None if inner is None else Inner(**inner),
        tuple(table.get("words", ())),
        tuple(Inner(**item) for item in table.get("many", ())),
        table.get("exact", False),
    )
    assert type(result.share) is float


@given(TABLES, st.sampled_from(sorted(VALUES)), TOML)
def test_any_value_fits_or_is_an_error_in_one_line_that_names_the_key(
    table: dict[str, Any], key: str, value: Any
) -> None:
    try:
        result = build(Table, table | {key: value}, "t", InvalidProfile)
    except InvalidProfile as exc:
        result, message = None, str(exc)
    if result is None:
        assert re.match(rf"t\.{key}\b.*: ", message)
        assert len(message.splitlines()) == 1
    else:
        assert type(result.share) is float
        assert type(result.exact) is bool
        assert result.maybe is None or type(result.maybe) is str
        assert all(type(word) is str for word in result.words)
        assert all(type(item.size) is int for item in (result.inner, *result.many) if item)


@given(TABLES, st.text(max_size=8), TOML)
def test_an_unknown_key_is_named_with_those_that_are_known(
    table: dict[str, Any], key: str, value: Any
) -> None:
    assume(key not in VALUES)
    with pytest.raises(InvalidProfile) as caught:
        build(Table, table | {key: value}, "t", InvalidProfile)
    text = str(caught.value)
    assert text.startswith(f"t: unknown key {key!r}")
    assert text.endswith(f"; known: {', '.join(VALUES)}")
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "t: key 'share' is missing"),
        ({"share": 1.0, "inner": {}}, "t.inner: key 'size' is missing"),
        ({"share": "x"}, "t.share: must be float, not str"),
        ({"share": True}, "t.share: must be float, not bool"),
        ({"share": 10**400}, "t.share: is too large for a float"),
        ({"share": 1.0, "inner": {"size": 3.0}}, "t.inner.size: must be int, not float"),
        ({"share": 1.0, "inner": {"size": True}}, "t.inner.size: must be int, not bool"),
        ({"share": 1.0, "inner": 3}, "t.inner: must be a table"),
        ({"share": 1.0, "words": "abc"}, "t.words: must be a list"),
        ({"share": 1.0, "words": ["a", 3]}, "t.words[1]: must be str, not int"),
        (
            {"share": 1.0, "many": [{"size": 1}, {"size": ""}]},
            "t.many[1].size: must be int, not str",
        ),
        ({"share": 1.0, "exact": 1}, "t.exact: must be bool, not int"),
        (
            {"shore": 1.0},
            "t: unknown key 'shore' (did you mean 'share'?); known: share, maybe, inner, words, many, exact",
        ),
    ],
)
def test_what_each_mistake_is_called(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidProfile) as caught:
        build(Table, table, "t", InvalidProfile)
    assert str(caught.value) == message


def test_the_error_is_the_caller_s() -> None:
    with pytest.raises(InferenceFailed, match=r"^t: must be a table$"):
        build(Table, 3, "t", InferenceFailed)


def test_the_nearest_word() -> None:
    assert nearest("sped", ["speed", "seed", "slots"]) == " (did you mean 'speed'?)"
    assert nearest("xyz", ["speed", "seed", "slots"]) == ""


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('x = 1\n[y]\nz = "ü"\n', encoding="utf-8")
    assert read_toml(path, InvalidProfile) == {"x": 1, "y": {"z": "ü"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x = \ny = 1\n", r"not TOML: .*line 1"),
        (b"x = 1\nx = 2\n", r"not TOML: .*line 2"),
        (b"x = '\xff'", r"not TOML: .*0xff"),
        (b"x = " + b"1" * 5000, r"not TOML: a whole number has too many digits"),
        (b"x = " + b"[" * 5000, r"not TOML: it is nested too deeply"),
        (b"x = " + b"{a=" * 5000, r"not TOML: it is nested too deeply"),
    ],
)
def test_what_is_no_toml_is_said_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(InvalidProfile, match=message) as caught:
        read_toml(path, InvalidProfile)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(InvalidProfile, match=rf"^{re.escape(str(path))}: cannot be read \("):
            read_toml(path, InvalidProfile)
