"""What Twilio's Media Streams send and take on a bidirectional stream.

Source: Twilio's "Media Streams: WebSocket Messages". Numbers that come as texts, as some of other
providers do, are taken for numbers.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field
from voxturn.runtime.gateway.decoding import message
from voxturn.runtime.gateway.errors import ApiError

RATE = 8000
LONGEST = 1 << 16
"""Characters of a message."""
_MOST_AUDIO = RATE
"""Bytes of a message's audio: a second. The providers send 20 ms."""

Name = Annotated[str, Meta(max_length=128)]


class MediaFormat(Struct, rename="camel"):
    """The form of audio, both ways."""

    encoding: Name = "audio/x-mulaw"
    sample_rate: int = RATE
    channels: int = 1


class Parameters(Struct):
    """What the application gave to the stream (`<Parameter>`); others are its own affair."""

    api_key: Annotated[str, Meta(max_length=512)] = ""
    voice: Name = ""
    language: Annotated[str, Meta(max_length=35)] = ""
    instructions: Annotated[str, Meta(max_length=8192)] = ""


class StartBody(Struct, rename="camel"):
    """`start` of the message of that name."""

    stream_sid: Annotated[str, Meta(min_length=1, max_length=128)]
    media_format: MediaFormat = field(default_factory=MediaFormat)
    custom_parameters: Parameters = field(default_factory=Parameters)


class Phone(Struct, tag_field="event", tag=str.lower):
    """A message of the phone's side."""


class Connected(Phone):
    """The first message, before `start`."""


class Start(Phone):
    """What the call is."""

    start: StartBody


class Sound(Struct):
    """A piece of µ-law. `track`: whose it is; the caller's is `inbound`."""

    payload: Annotated[bytes, Meta(max_length=_MOST_AUDIO)]
    track: Name = "inbound"


class Media(Phone):
    """What the caller says."""

    media: Sound


class Key(Struct):
    """A key of the phone."""

    digit: Annotated[str, Meta(pattern="^[0-9*#A-D]$")]


class Dtmf(Phone):
    """The caller has pressed a key."""

    dtmf: Key


class MarkName(Struct):
    """Of a mark."""

    name: Name


class Mark(Phone):
    """What was sent before a mark was played, or cleared."""

    mark: MarkName


class Stop(Phone):
    """The call is over."""


class _Kind(Struct):
    """What any message has."""

    event: Name


PhoneMessage = Connected | Start | Media | Dtmf | Mark | Stop
_KNOWN = {kind.__struct_config__.tag for kind in (Connected, Start, Media, Dtmf, Mark, Stop)}
_MESSAGES: msgspec.json.Decoder[PhoneMessage] = msgspec.json.Decoder(PhoneMessage, strict=False)
_KINDS = msgspec.json.Decoder(_Kind)


def phone_message(raw: str | bytes) -> PhoneMessage | None:
    """A message; None where it is of a kind that is not known. Raises `ApiError` 400, 413."""
    known = message(raw, _KINDS, LONGEST).event in _KNOWN
    return message(raw, _MESSAGES, LONGEST) if known else None


def check_format(form: MediaFormat) -> None:
    """Raise `ApiError` 400 for another form of audio than µ-law of 8 kHz."""
    if (form.encoding, form.sample_rate, form.channels) != ("audio/x-mulaw", RATE, 1):
        raise ApiError(
            400,
            "mediaFormat: only audio/x-mulaw of 8000 Hz with one channel is served",
            "unsupported_media_format",
            "start.mediaFormat",
        )


def media(stream: str, raw: bytes) -> dict[str, Any]:
    """Audio for the phone."""
    payload = base64.b64encode(raw).decode("ascii")
    return {"event": "media", "streamSid": stream, "media": {"payload": payload}}


def mark(stream: str, name: str) -> dict[str, Any]:
    """A mark, which comes back once all before it was played."""
    return {"event": "mark", "streamSid": stream, "mark": {"name": name}}


def clear(stream: str) -> dict[str, Any]:
    """What the phone's side has and has not played is not to be played."""
    return {"event": "clear", "streamSid": stream}
