"""What comes over a WebSocket as what it says."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from voxturn.runtime.gateway.errors import ApiError, invalid_value

T = TypeVar("T")


def message(raw: str | bytes, decoder: msgspec.json.Decoder[T], most: int | None = None) -> T:
    """A message of JSON. `most`: characters, or bytes, that it may have; None: any that came.

    Raises `ApiError` 413, and 400 that names the field.
    """
    if most is not None and len(raw) > most:
        raise ApiError(413, f"a message may have {most} characters", "message_too_large")
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as exc:
        raise invalid_value(exc) from exc
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        raise ApiError(400, "the message is not JSON", "invalid_json") from exc
