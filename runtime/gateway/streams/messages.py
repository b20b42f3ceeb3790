"""Every message of `/ws/hear` and `/ws/say`, but for those that `/ws/voice` has as well.

A message is JSON with its `type`; audio is a binary frame: PCM from a client, of the server with the
header of `/ws/voice`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from voxturn.runtime.gateway.voice.messages import InputRate, Name, Word

VERSION = 1

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Piece = Annotated[str, Meta(max_length=65_536)]


class _Client(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    """Of a client. A field that is not known is refused."""


class HearStart(_Client, tag="hear.start", kw_only=True):
    """The first message to `/ws/hear`. The binary frames that follow are mono PCM of this `rate` in
    Hz and `encoding`. `language`: what is spoken; empty: as the profile says."""

    version: int
    rate: InputRate = 16000
    encoding: Literal["s16le", "f32le"] = "s16le"
    language: Name = ""


class Flush(_Client, tag="flush"):
    """What came so far is all: write it down without waiting for silence. `flushed` follows."""


HearMessage = HearStart | Flush
"""What clients of `/ws/hear` send as text."""


class Say(_Client, tag="say", kw_only=True):
    """Say a text, or a piece of it: those of one `id` are one text, to the first without `more`.

    How it is said is told with its first piece. `style` is one of the voice's.
    """

    id: Id
    text: Piece = ""
    more: bool = False
    voice: Name = ""
    language: Name = ""
    style: Name = ""
    speed: Annotated[float, Meta(ge=0.25, le=4.0)] = 1.0


class CancelText(_Client, tag="cancel"):
    """Stop a text, also one that waits. One that is not known (any more) changes nothing."""

    id: Id


SayMessage = Say | CancelText
"""What clients of `/ws/say` send as text."""


class _Event(msgspec.Struct, tag_field="type", kw_only=True):
    """Of the server."""


class HearStarted(_Event, tag="hear.started"):
    """Audio may come."""

    version: int = VERSION


class _Said(_Event):
    """What was said, and when, in seconds since the first sample that came. `confidence` is the mean
    log-probability of its tokens; `words` are missing where the filter changed the text."""

    text: str
    language: str
    begin_s: float
    end_s: float
    confidence: float = 0.0
    words: list[Word] = []


class Suspected(_Said, tag="speech.suspected"):
    """What was said, if this is its end: `transcript` or `speech.resumed` follows."""


class SpeechResumed(_Event, tag="speech.resumed"):
    """It was no end: what was begun on the suspicion is void."""

    at_s: float


class SpeechEnded(_Event, tag="speech.ended"):
    """The end of speech is certain; its `transcript` follows."""

    at_s: float


class HeardTranscript(_Said, tag="transcript"):
    """What was said. `more`: speech was too long for one, and goes on in the next."""

    filtered: list[str] = []
    more: bool = False


class Flushed(_Event, tag="flushed"):
    """All that came before the `flush` was heard."""


class SayStarted(_Event, tag="say.started"):
    """A text's turn has come: `number` is in its audio frames, whose PCM has `rate` Hz."""

    id: str
    number: int
    rate: int
    version: int = VERSION


class Words(_Event, tag="words"):
    """Words of a text, and where they lie in its audio, in seconds; each comes once."""

    id: str
    words: list[Word]


class SayDone(_Event, tag="say.done"):
    """Nothing of a text follows. `samples` of it were sent."""

    id: str
    samples: int
    cancelled: bool = False


class SayFailed(_Event, tag="say.failed"):
    """A text cannot be said, or not to its end: nothing of it follows. As `error`."""

    id: str
    code: str
    message: str
    param: str = ""


hear_messages: msgspec.json.Decoder[HearMessage] = msgspec.json.Decoder(HearMessage)
say_messages: msgspec.json.Decoder[SayMessage] = msgspec.json.Decoder(SayMessage)
