"""Fields and files of multipart/form-data, as OpenAI's clients write them: a list as `name[]` for
each of its members, an object as JSON or as `name[key]`."""

from __future__ import annotations

import io
import re
from typing import Any, TypeVar

import msgspec
from starlette.datastructures import FormData, UploadFile
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.operations import converted

T = TypeVar("T", bound=msgspec.Struct)
_KEY = re.compile(r"(?P<name>[^\[\]]+)\[(?P<key>[^\[\]]+)\]")


class Upload(io.BytesIO):
    """Bytes that were sent. What they were called by their sender opens nothing, here or
    elsewhere."""

    name = "the upload"


def fields_of(form: FormData, kind: type[T]) -> T:
    """A form's fields as `kind`, whose lists have names as `names[]`. What is empty was not given.

    Raises `ApiError` 400 that names the field.
    """
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        texts = _texts(form, name)
        if name.endswith("[]"):
            values[name] = texts + _texts(form, name.removesuffix("[]"))
        elif texts:
            values[name] = texts[-1]
        elif members := _members(form, name):
            values[name] = msgspec.json.encode(members).decode()
    return converted(values, kind)


def _texts(form: FormData, name: str) -> list[str]:
    texts = form.getlist(name)
    if any(isinstance(text, UploadFile) for text in texts):
        raise ApiError(400, f"{name}: must be a text, not a file", "invalid_value", name)
    return [text for text in texts if isinstance(text, str) and text]


def _members(form: FormData, name: str) -> dict[str, str]:
    """The members of an object that is written as `name[key]`."""
    members = {}
    for key, value in form.multi_items():
        match = _KEY.fullmatch(key)
        if match is not None and match["name"] == name and isinstance(value, str):
            members[match["key"]] = value
    return members


def file_of(form: FormData, name: str) -> UploadFile:
    """A form's file. Raises `ApiError` 400 where there is none."""
    file = form.get(name)
    if not isinstance(file, UploadFile):
        raise ApiError(400, f"{name}: is missing; send a file", "missing_file", name)
    return file


async def upload_of(form: FormData, name: str) -> Upload:
    """The bytes of a form's file. Raises as `file_of`."""
    return Upload(await file_of(form, name).read())
