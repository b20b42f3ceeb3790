"""Fields of forms, however clients write them."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import FormData, UploadFile
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.forms import fields_of, upload_of


class Form(msgspec.Struct):
    """All kinds of fields."""

    text: str = ""
    number: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    flag: bool = False
    several: list[str] = msgspec.field(name="several[]", default_factory=list)
    table: str = ""


def read(*items: tuple[str, str | UploadFile]) -> Form:
    return fields_of(FormData(list(items)), Form)


def test_texts_become_what_they_are() -> None:
    found = read(("text", "a"), ("number", "2.5"), ("flag", "true"), ("unknown", "x"))
    assert found == Form("a", 2.5, True)


def test_a_list_is_written_in_two_ways() -> None:
    assert read(("several[]", "a"), ("several[]", "b")).several == ["a", "b"]
    assert read(("several", "a"), ("several", "b")).several == ["a", "b"]


def test_what_is_empty_was_not_given() -> None:
    assert read(("number", ""), ("flag", ""), ("several[]", "")) == Form()


def test_an_object_is_written_in_two_ways() -> None:
    assert read(("table", '{"a":"1"}')).table == '{"a":"1"}'
    assert read(("table[a]", "1"), ("table[b]", "2")).table == '{"a":"1","b":"2"}'


def test_of_one_that_is_there_twice_the_last_counts() -> None:
    assert read(("text", "a"), ("text", "b")).text == "b"


@pytest.mark.parametrize("items", [[("number", "-1")], [("number", "x")], [("flag", "perhaps")]])
def test_what_does_not_fit_is_named(items: list[tuple[str, str]]) -> None:
    with pytest.raises(ApiError) as caught:
        read(*items)
    assert (caught.value.status, caught.value.param) == (400, items[0][0])


def test_a_file_is_no_text_and_a_text_no_file() -> None:
    file = UploadFile(io.BytesIO(b"x"), filename="x")
    with pytest.raises(ApiError, match="text: must be a text"):
        read(("text", file))


async def test_what_a_file_is_called_is_not_kept() -> None:
    file = UploadFile(io.BytesIO(b"bytes"), filename="/etc/passwd")
    upload = await upload_of(FormData([("file", file)]), "file")
    assert (upload.read(), upload.name) == (b"bytes", "the upload")
    with pytest.raises(ApiError, match="file: is missing"):
        await upload_of(FormData([("file", "a text")]), "file")


names = st.text(st.sampled_from("abtext[]sevralumn"), max_size=12)


@given(st.lists(st.tuples(names, st.text(max_size=8)), max_size=8))
def test_any_form_is_read_or_refused(items: list[tuple[str, str]]) -> None:
    with suppress(ApiError):
        assert all(isinstance(text, str) for text in read(*items).several)
