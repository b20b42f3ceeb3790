"""The OpenAPI document, made from the declarations of `operations`: nothing of it is written twice.

Source: OpenAPI Specification 3.1.0, whose schemas are those of JSON Schema 2020-12, as msgspec's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from types import UnionType
from typing import Any, Union, get_args, get_origin

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.operations import Answer, Operation

_PATH_NAME = re.compile(r"\{(\w+)(?::\w+)?\}")
_REF = "#/components/schemas/{name}"
_JSON, _EVENTS = "application/json", "text/event-stream"
_ERRORS: Mapping[int, str] = {
    400: "something in it is wrong, or cannot be done here",
    401: "the key is missing, or not valid",
    403: "the key may not do this",
    404: "there is no such thing here",
    408: "its body came too slowly",
    409: "it is there already",
    413: "it is too large or too long",
    421: "where no key is needed: the gateway is not known by the name that it is called by",
    429: "too many requests, or all places are taken; Retry-After says when to ask again",
    500: "something failed inside the server",
    503: "the server is stopping, or an engine does not answer",
    504: "it took longer than a request may take",
}
"""What every operation that needs a key may answer instead."""


class ErrorBody(msgspec.Struct):
    """What went wrong. `param` names the field, `code` the case."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(msgspec.Struct):
    """An error, as OpenAI's servers give it."""

    error: ErrorBody


def described(operations: Sequence[Operation]) -> Operation:
    """The operation that answers with the document of `operations` and of itself."""

    @cache
    def text() -> bytes:
        return msgspec.json.encode(document([*operations, own]))

    async def handler(gateway: Gateway, request: Request, caller: Caller) -> Response:
        return Response(text(), media_type=_JSON)

    own = Operation(
        "GET", "/openapi.json", handler, "This document", Answer("the document"), public=True
    )
    return own


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The document of these operations."""
    kinds = [ErrorAnswer, *_kinds(operations)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    known = _Schemas(dict(zip(kinds, schemas, strict=True)), components)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = _PATH_NAME.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = known.described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "voxturn",
            "version": metadata.version("voxturn"),
            "description": "Speech to text, answers, and text to speech, one by one or in turns.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _public_errors(operation: Operation) -> list[int]:
    """What an operation that needs no key may answer instead."""
    missing = [404] if _PATH_NAME.search(operation.path) else []
    return sorted({*missing, 421, 500, *operation.errors})


def _kinds(operations: Sequence[Operation]) -> list[Any]:
    """The structs that the document refers to, each once."""
    found = (
        member
        for operation in operations
        for kind in (
            operation.body,
            operation.query,
            operation.answer.body,
            operation.answer.events,
        )
        for member in _members(kind)
    )
    return list(dict.fromkeys(found))


def _members(kind: Any) -> tuple[Any, ...]:
    """The kinds of a union, or the one."""
    if kind is None:
        return ()
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


class _Schemas:
    """The schemas of all structs: `of` refers to those in `components`."""

    def __init__(self, of: Mapping[Any, dict[str, Any]], components: Mapping[str, Any]) -> None:
        self._of = of
        self._components = components

    def described(self, operation: Operation) -> dict[str, Any]:
        """An operation."""
        told: dict[str, Any] = {
            "operationId": operation.name,
            "summary": operation.summary,
            "description": " ".join((operation.handler.__doc__ or operation.summary).split()),
            "responses": self._responses(operation),
        }
        if not operation.public:
            told["security"] = [{"key": []}]
        if parameters := self._parameters(operation):
            told["parameters"] = parameters
        if operation.form:
            content = {"multipart/form-data": {"schema": self._form(operation)}}
            told["requestBody"] = {"required": True, "content": content}
        elif operation.body is not None:
            content = {_JSON: {"schema": self._of[operation.body]}}
            told["requestBody"] = {"required": True, "content": content}
        return told

    def _responses(self, operation: Operation) -> dict[str, Any]:
        told: dict[str, Any] = {"description": operation.answer.what}
        if operation.answer.media:
            told["content"] = {
                media: {"schema": self._answered(operation, media)}
                for media in operation.answer.media
            }
        responses: dict[str, Any] = {"200": told}
        content = {_JSON: {"schema": self._of[ErrorAnswer]}}
        for status in _ERRORS if not operation.public else _public_errors(operation):
            responses[str(status)] = {"description": _ERRORS[status], "content": content}
        return responses

    def _answered(self, operation: Operation, media: str) -> dict[str, Any]:
        if media == _JSON and operation.answer.body is not None:
            return self._any_of(operation.answer.body)
        if media == _EVENTS:
            return self._event(operation)
        # sound, as other bytes, has no schema
        return {"type": "string"} if media.startswith("text/") else {}

    def _any_of(self, kind: Any) -> dict[str, Any]:
        schemas = [self._of[member] for member in _members(kind)]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def _event(self, operation: Operation) -> dict[str, Any]:
        """An event of a stream, as OpenAPI 3.2 describes one: its data are JSON, or `[DONE]`."""
        data: dict[str, Any] = {"type": "string", "contentMediaType": _JSON}
        if operation.answer.events is not None:
            data["contentSchema"] = self._any_of(operation.answer.events)
        either = {"anyOf": [{"const": "[DONE]"}, data]}
        return {"type": "object", "properties": {"data": either}, "required": ["data"]}

    def _parameters(self, operation: Operation) -> list[dict[str, Any]]:
        """What is in the path, and in the query."""
        parameters: list[dict[str, Any]] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _PATH_NAME.findall(operation.path)
        ]
        if operation.query is None:
            return parameters
        table = self._table(operation.query)
        for name, schema in table["properties"].items():
            required = name in table.get("required", ())
            parameters.append({"name": name, "in": "query", "required": required, "schema": schema})
        return parameters

    def _form(self, operation: Operation) -> dict[str, Any]:
        """Fields, and files beside them."""
        table = self._table(operation.body) if operation.body is not None else {}
        file = {"type": "string", "format": "binary"}
        files = dict.fromkeys(operation.files, file)
        lists = {name: {"type": "array", "items": file} for name in operation.file_lists}
        return {
            "type": "object",
            "description": table.get("description", ""),
            "properties": {**table.get("properties", {}), **files, **lists},
            "required": [*table.get("required", ()), *operation.files],
        }

    def _table(self, kind: Any) -> Mapping[str, Any]:
        """The schema of a struct itself."""
        name = self._of[kind]["$ref"].rsplit("/", 1)[1]
        table: Mapping[str, Any] = self._components[name]
        return table
