"""Errors as clients see them: a status, and an object as OpenAI's servers give it.

One table says what each class of `voxturn.runtime.errors` becomes. What nobody raised on purpose is
logged, and told as an internal error: no stack, no path.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from voxturn.runtime import errors
from voxturn.runtime.gateway.logs import note_error

_LOG = logging.getLogger(__name__)
_LONGEST = 1000

INVALID, AUTHENTICATION, NOT_FOUND, RATE, SERVER = (
    "invalid_request_error",
    "authentication_error",
    "not_found_error",
    "rate_limit_error",
    "server_error",
)


class ApiError(Exception):
    """A request cannot be answered. `str(error)` is one line for the client.

    `kind` (its `type`) and `code` are words of OpenAI's errors, `param` names the field,
    `retry_after_s` goes into the header Retry-After.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str = "",
        param: str = "",
        kind: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = kind or _type_of(status)
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """What a response has beside its body."""
        headers = {"www-authenticate": "Bearer"} if self.status == 401 else {}
        if self.status == 408:
            headers["connection"] = "close"  # what is still to come is not read
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, round(self.retry_after_s)))
        return headers

    def to_dict(self) -> dict[str, Any]:
        """`{message, type, param, code}`."""
        message = " ".join(str(self).split())[:_LONGEST]
        return {
            "message": message,
            "type": self.type,
            "param": self.param or None,
            "code": self.code or None,
        }


def _type_of(status: int) -> str:
    known = {401: AUTHENTICATION, 403: AUTHENTICATION, 404: NOT_FOUND, 429: RATE}
    return known.get(status, INVALID if status < 500 else SERVER)


_ANSWERS: Mapping[type[errors.VoxturnError], tuple[int, str]] = {
    errors.AudioTooLong: (413, "audio_too_long"),
    errors.AudioError: (400, "invalid_audio"),
    errors.TextTooLong: (413, "text_too_long"),
    errors.PromptTooLong: (400, "context_length_exceeded"),
    errors.TextError: (400, "invalid_text"),
    errors.UnsupportedLanguage: (400, "unsupported_language"),
    errors.UnknownVoice: (404, "voice_not_found"),
    errors.UnknownStyle: (404, "style_not_found"),
    errors.UnknownModel: (404, "model_not_found"),
    errors.UsageError: (400, "invalid_value"),
    errors.TooManyStreams: (429, "session_limit_reached"),
    errors.DeadlineExceeded: (504, "deadline_exceeded"),
    errors.ServerUnavailable: (503, "engine_unavailable"),
    errors.ServerDied: (503, "engine_died"),
}
"""The first class that an error is of decides. Errors of other classes are the machine's affair:
clients are told that there is one, not which."""


def invalid_value(exc: msgspec.ValidationError) -> ApiError:
    """An `ApiError` 400 that names the field which is not as it has to be."""
    text, _, place = str(exc).partition(" - at `")
    param = place.rstrip("`").removeprefix("$").removeprefix(".")
    where = f"{param}: " if param else ""
    return ApiError(400, f"{where}{text}", "invalid_value", param)


def api_error(exc: Exception) -> ApiError:
    """What a client is told of an error, which the log knows then. Unexpected ones are logged."""
    error = _api_error(exc)
    note_error(error.code or error.type, error.status)
    return error


def _api_error(exc: Exception) -> ApiError:
    if isinstance(exc, ApiError):
        return exc
    for kind, (status, code) in _ANSWERS.items():
        if isinstance(exc, kind):
            retry_s = 1.0 if status in (429, 503) else None
            return ApiError(status, str(exc), code, retry_after_s=retry_s)
    _LOG.error("a request failed: %s", type(exc).__name__, exc_info=exc)
    return ApiError(500, "something failed inside the server; its log says what", "internal_error")
