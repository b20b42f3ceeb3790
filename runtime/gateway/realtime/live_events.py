"""What clients of OpenAI's Live API send, as openai-python's `types.live` (3.57) names it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

Name = Annotated[str, Meta(max_length=128)]
Text = Annotated[str, Meta(max_length=32_768)]
Content = Annotated[str, Meta(min_length=1, max_length=8192)]
"""Of an appended context: OpenAI's bound is 500 tokens."""


class LiveFormat(Struct):
    """`audio.format`: of what comes and of what goes."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: Literal[8000, 16000, 24000] | UnsetType | None = UNSET


class VoiceId(Struct):
    """A voice by its id."""

    id: Name


class LiveOutput(Struct):
    """`audio.output`."""

    voice: Name | VoiceId | None = None


class LiveAudio(Struct):
    """`audio`."""

    format: LiveFormat | None = None
    output: LiveOutput | None = None


class Part(Struct):
    """The text of an initial item."""

    text: Text
    type: Name | None = None


class InitialItem(Struct):
    """A message of the dialogue before the session."""

    role: Literal["developer", "user", "assistant"]
    content: Annotated[list[Part], Meta(min_length=1, max_length=1)]


class Backend(Struct):
    """`delegation.responses`: what matters of it is whether it has tools."""

    tools: list[Any] | None = None


class Delegation(Struct):
    """`delegation`: who does what the model hands on."""

    type: Literal["client", "responses", "decisions"] = "client"
    acknowledgement_delay_ms: int | None = None
    responses: Backend | None = None


class LiveConfig(Struct):
    """`session` of `session.start`."""

    model: Name
    instructions: Text | None = None
    audio: LiveAudio | None = None
    input: Annotated[list[InitialItem], Meta(max_length=128)] | None = None
    delegation: Delegation | None = None
    client: dict[str, Any] | None = None
    triggers: list[Any] | None = None
    store: bool | None = None


class LiveUpdate(Struct):
    """`session` of `session.update`: nothing else may change."""

    delegation: Delegation | None = None
    triggers: list[Any] | None = None


class LiveEvent(Struct, tag_field="type", tag=str.lower, kw_only=True):
    """An event of a client. `event_id` comes back in what it leads to."""

    event_id: Annotated[str, Meta(max_length=512)] | None = None


class Start(LiveEvent, tag="session.start"):
    session: LiveConfig


class Update(LiveEvent, tag="session.update"):
    session: LiveUpdate = field(default_factory=LiveUpdate)


class Append(LiveEvent, tag="session.input_audio.append"):
    audio: bytes


class Mute(LiveEvent, tag="session.input_audio.mute"):
    """What comes is heard as silence."""


class Unmute(LiveEvent, tag="session.input_audio.unmute"):
    """What comes is heard again."""


class Context(LiveEvent):
    """Something that the model is to know."""

    content: Content
    delegation_id: Name | None = None


class Instructions(Context, tag="session.instructions.append"):
    """How to go on."""


class Thinking(Context, tag="session.thinking.append"):
    """What to know, and not to tell by itself."""


class Commentary(Context, tag="session.commentary.append"):
    """What to tell."""


class Close(LiveEvent, tag="session.close"):
    """The session is to end."""


class PlayFixture(LiveEvent, tag="session.output_audio.fixture.play"):
    """Not served."""


class CreateResponse(LiveEvent, tag="response.create"):
    """Not served."""


class CreateResponseItem(LiveEvent, tag="response.item.create"):
    """Not served."""


Unserved = PlayFixture | CreateResponse | CreateResponseItem
AnyLiveEvent = (
    Start
    | Update
    | Append
    | Mute
    | Unmute
    | Instructions
    | Thinking
    | Commentary
    | Close
    | PlayFixture
    | CreateResponse
    | CreateResponseItem
)
LIVE_DECODER = msgspec.json.Decoder(AnyLiveEvent)
