"""Every message of `/ws/voice`, and the header of its binary audio.

A message is JSON with its `type`, or a binary frame. From these structs come the checks of what
clients send, and the AsyncAPI document (`asyncapi.py`). `VERSION` changes when a client of the one
before would no longer understand.

Events that are numbered (`seq`, together with the audio) are given again to a client that
reconnects; `pong` and `ack` are not. Of the client's messages all count as received but `ping`,
`pong` and `ack`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

VERSION = 1

OutputRate = Annotated[int, Meta(ge=0, le=48000)]
InputRate = Annotated[int, Meta(ge=8000, le=192000)]
Name = Annotated[str, Meta(max_length=256)]
Text = Annotated[str, Meta(min_length=1, max_length=8192)]
Count = Annotated[int, Meta(ge=0)]
Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]


class _Client(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    """Of a client. A field that is not known is refused."""


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    """A part of a client's message."""


class InputAudio(_Part):
    """How the client's audio comes. `rate` in Hz and `encoding` are those of `pcm`; the others say
    it themselves. `overflow`: what becomes of audio that comes faster than it is heard: the oldest
    is dropped, or the server reads no further (`wait`), for files."""

    format: Literal["pcm", "webm", "ogg", "wav"] = "pcm"
    rate: InputRate = 16000
    encoding: Literal["s16le", "f32le"] = "s16le"
    overflow: Literal["drop", "wait"] = "drop"


class OutputAudio(_Part):
    """How the answers' audio is to come: mono, 16 bits; `rate` in Hz is from 8000, or 0: the voice's
    own. Each answer is a stream of its own: of `opus` an Ogg stream, of `wav` a header and
    samples."""

    format: Literal["pcm", "opus", "wav"] = "pcm"
    rate: OutputRate = 0


class Interrupting(_Part):
    """What cuts an answer, as the table `[interrupt]` of a profile."""

    strategy: Literal["speech", "after_ms", "words", "never"] = "words"
    ms: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    words: Annotated[int, Meta(ge=0, le=100)] | None = None
    pause_ms: Annotated[int, Meta(ge=0, le=10_000)] | None = None


class Function(_Part):
    """A function of the client that the model may call; `parameters` is a JSON schema."""

    name: Name
    description: Annotated[str, Meta(max_length=4096)] = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)


class Resume(_Part):
    """The session to go on with, and the `seq` of the last message that was received of it."""

    session: Name
    received: Count = 0


class SessionStart(_Client, tag="session.start"):
    """The first message of a connection. With `resume` the other fields say nothing, but for
    `audio` where it is given: a new container begins."""

    version: int
    audio: InputAudio | UnsetType = UNSET
    output: OutputAudio = msgspec.field(default_factory=OutputAudio)
    voice: Name = ""
    language: Name = ""
    style: Name = ""
    speed: Annotated[float, Meta(ge=0.25, le=4.0)] = 1.0
    instructions: Annotated[str, Meta(max_length=16_384)] | None = None
    interrupt: Interrupting | None = None
    tools: Annotated[list[Function], Meta(max_length=64)] = []
    conversation: Id | None = None
    resume: Resume | None = None


class AudioStart(_Client, tag="audio.start"):
    """The binary frames that follow are another stream: a recorder was started again."""

    audio: InputAudio = msgspec.field(default_factory=InputAudio)


class TextAsk(_Client, tag="text.ask"):
    """A typed question. It cuts what is being answered."""

    text: Text


class AnswerNow(_Client, tag="answer"):
    """The audio so far is the whole question: answer it, without waiting for silence."""


class Cancel(_Client, tag="cancel"):
    """Cut the answer that is made or played."""


class Played(_Client, tag="played"):
    """How much of the last answer the loudspeaker has played, in milliseconds."""

    ms: Annotated[float, Meta(ge=0, le=86_400_000)]


class Pin(_Client, tag="pin"):
    """A fact that the model is told from the next question on, however long the dialogue becomes.
    It is not kept with the conversation."""

    fact: Text


class ToolResult(_Client, tag="tool.result"):
    """What a `tool.call` gave; `failed`: `content` says why there is nothing."""

    call_id: Name
    content: Annotated[str, Meta(max_length=65_536)]
    failed: bool = False


class Ack(_Client, tag="ack"):
    """The `seq` up to which everything was received: it need not be kept for a reconnection.

    Who sends this once is waited for: at most 30 s of audio are under way that were not
    acknowledged.
    """

    received: Count


class Ping(_Client, tag="ping"):
    """Is answered by `pong` with the same `id`."""

    id: Name = ""


class Pong(_Client, tag="pong"):
    """Is not answered."""

    id: Name = ""


class SessionEnd(_Client, tag="session.end"):
    """End the session; its conversation is kept."""


ClientMessage = (
    SessionStart
    | AudioStart
    | TextAsk
    | AnswerNow
    | Cancel
    | Played
    | Pin
    | ToolResult
    | Ack
    | Ping
    | Pong
    | SessionEnd
)
"""What clients send as text."""
UNCOUNTED = (Ack, Ping, Pong)
"""Client messages that do not count as received, and are not sent again."""


class _Event(msgspec.Struct, tag_field="type"):
    """Of the server. `seq` counts messages and audio of a session from 1; 0: not numbered."""

    seq: int = 0


class SessionStarted(_Event, tag="session.started", kw_only=True):
    """The session is there. `resumed`: it goes on; `received` of the client's messages have come
    since it began, the next one is to be sent. `rate` in Hz is that of the answers' audio;
    `grace_s`: how long it outlives its connection."""

    version: int = VERSION
    session: str
    conversation: str
    rate: int
    format: Literal["pcm", "opus", "wav"]
    grace_s: float
    resumed: bool = False
    received: int = 0


class SpeechStarted(_Event, tag="speech.started", kw_only=True):
    """Someone began to speak at `at_ms` of the input."""

    at_ms: float
    at: int


class Partial(_Event, tag="partial", kw_only=True):
    """What was said so far; while `start` is the same, `stable` only grows. Samples at 16 kHz."""

    stable: str
    unstable: str
    language: str
    start: int


class Word(msgspec.Struct, frozen=True):
    """A word, and when it was said, in seconds."""

    text: str
    begin_s: float
    end_s: float


class Transcript(_Event, tag="transcript", kw_only=True):
    """What was said. A new answer begins: `turn` is its number."""

    text: str
    language: str
    turn: int
    confidence: float = 0.0
    filtered: list[str] = []
    words: list[Word] = []


class ReplyDelta(_Event, tag="reply.delta", kw_only=True):
    """A piece of the answer's text, as the model writes it."""

    text: str
    turn: int


class Sentence(_Event, tag="sentence", kw_only=True):
    """What is spoken next. `index` is that of the audio's header."""

    index: int
    text: str
    turn: int
    style: str = ""
    language: str = ""
    filtered: list[str] = []
    refusal: bool = False
    filler: bool = False


class ToolCall(_Event, tag="tool.call", kw_only=True):
    """The model calls a function; answer it with `tool.result`."""

    call_id: str
    name: str
    arguments: dict[str, Any]
    turn: int


class Paused(_Event, tag="paused"):
    """Someone speaks over the answer: be silent until `resumed` or `interrupted`."""


class Resumed(_Event, tag="resumed", kw_only=True):
    """It was no interruption: go on, from sample `at` of the answer at the rate of the output."""

    at: int


class Interrupted(_Event, tag="interrupted", kw_only=True):
    """The answer was cut: play no more of it. `heard` is what was heard of it; none of its audio
    follows."""

    heard: str
    reason: str
    turn: int


class ReplyDone(_Event, tag="reply.done", kw_only=True):
    """All of the answer has been sent; it may still be playing. `reply` is what was spoken,
    `samples` how long it is."""

    reply: str
    turn: int
    samples: int


class Times(msgspec.Struct, frozen=True):
    """Milliseconds from the end of speech; null: it did not happen."""

    endpoint: float | None = None
    transcript: float | None = None
    first_token: float | None = None
    first_clause: float | None = None
    first_audio: float | None = None
    audible_onset: float | None = None
    suspected: float | None = None


class TurnDone(_Event, tag="turn.done", kw_only=True):
    """The turn is over: its answer was played or cut, and the conversation is kept. `heard` is what
    was heard of it, `outcome` is done, cut, cancelled or error, `dropped_ms` the input so far that
    came too far ahead and was dropped."""

    heard: str
    outcome: str
    response_ms: float | None
    times_ms: Times
    audio_ms: float
    underruns: int
    dropped_ms: float


class Error(_Event, tag="error", kw_only=True):
    """Something failed. The session goes on, unless `session.ended` or the end of the connection
    follows. `code` is as in the errors of HTTP, `param` the field; `retry_after_s`: try again
    then."""

    code: str
    message: str
    param: str = ""
    retry_after_s: float | None = None


class PongEvent(_Event, tag="pong", kw_only=True):
    """The answer to `ping`. `received`: how many of the client's messages have come."""

    id: str
    received: int


class AckEvent(_Event, tag="ack", kw_only=True):
    """So many of the client's messages have come: they need not be kept for a reconnection."""

    received: int


class SessionEnded(_Event, tag="session.ended", kw_only=True):
    """The session is over and its conversation kept. `reason`: client, idle, too_long, stopping,
    deleted, taken_over (another session goes on with its conversation) or error."""

    reason: Literal["client", "idle", "too_long", "stopping", "deleted", "taken_over", "error"]


ServerEvent = (
    SessionStarted
    | SpeechStarted
    | Partial
    | Transcript
    | ReplyDelta
    | Sentence
    | ToolCall
    | Paused
    | Resumed
    | Interrupted
    | ReplyDone
    | TurnDone
    | Error
    | PongEvent
    | AckEvent
    | SessionEnded
)
"""What the server sends as text."""

CLOSE_CODES = {
    1000: "the session has ended",
    1008: "the message before said why",
    1012: "the server stops; its conversation is kept and goes on in another session",
    4008: "slow client: it did not acknowledge for too long; the session can be resumed",
    4009: "another connection took the session over",
}
"""How the server closes a connection."""
ENDED, STOPPING, SLOW_CLIENT, TAKEN_OVER = 1000, 1012, 4008, 4009

_HEADER = struct.Struct("<BBHIIIQ")
FIRST, FINAL = 1, 2


@dataclass(frozen=True)
class AudioHeader:
    """The 24 bytes before the payload of a binary frame, little-endian: u8 version, u8 flags, u16
    index of the sentence, u32 seq, u32 turn, u32 samples, u64 start.

    `start` counts samples of the answer at the output's rate; `samples` of it went into this frame,
    of which a codec may hold back some for the next. Flags: 1, the answer's first, with which its
    container begins; 2, the sentence's last.
    """

    seq: int
    turn: int
    sentence: int
    start: int
    samples: int
    first: bool = False
    final: bool = False

    SIZE = _HEADER.size

    def pack(self) -> bytes:
        """As bytes."""
        flags = FIRST * self.first | FINAL * self.final
        sentence = min(self.sentence, 0xFFFF)
        return _HEADER.pack(VERSION, flags, sentence, self.seq, self.turn, self.samples, self.start)

    @classmethod
    def unpack(cls, frame: bytes) -> AudioHeader:
        """Of a frame. Raises `ValueError` for what is none of this version."""
        if len(frame) < _HEADER.size or frame[0] != VERSION:
            raise ValueError("not an audio frame of this version")
        _, flags, sentence, seq, turn, samples, start = _HEADER.unpack_from(frame)
        return cls(seq, turn, sentence, start, samples, bool(flags & FIRST), bool(flags & FINAL))


client_messages: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
server_events: msgspec.json.Decoder[ServerEvent] = msgspec.json.Decoder(ServerEvent)


def _plain(value: Any) -> Any:
    """What the encoder does not know: texts that know more than their letters."""
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(type(value).__name__)


encode = msgspec.json.Encoder(enc_hook=_plain).encode
