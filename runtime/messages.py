"""What the stages of a turn hand to each other: frozen dataclasses, units beside the fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Mono audio, float32 `[n]`, full scale ±1."""


@dataclass(frozen=True)
class AudioFrame:
    """A piece of input audio.

    `start` counts samples since the stream began; `arrived_s` is the turn's clock. `over`: it was
    heard while an answer was played.
    """

    samples: Samples
    rate: int
    start: int
    arrived_s: float
    over: bool = False


@dataclass(frozen=True)
class SpeechStarted:
    """Someone began to speak at sample `at` of the input."""

    at: int


@dataclass(frozen=True)
class Speaking:
    """The speech so far, while it goes on: pieces of samples, joined where they are needed.

    `start` as in `Utterance`.
    """

    pieces: tuple[Samples, ...]
    rate: int
    start: int

    @property
    def samples(self) -> Samples:
        return np.concatenate(self.pieces)


@dataclass(frozen=True)
class Utterance:
    """Speech with a little silence around it. `start` in samples since the stream began.

    `final` is False while its end is only suspected (the first silent frames); `more` is True where
    a long speech was cut at a pause and goes on in the next utterance.
    """

    samples: Samples
    rate: int
    start: int
    final: bool
    more: bool = False


@dataclass(frozen=True)
class SpeechEnded:
    """The end of speech is certain: it was at sample `at` of the input. Given only where a session
    was asked to tell it (`SessionOptions.end_of_speech`)."""

    at: int


@dataclass(frozen=True)
class SpeechResumed:
    """The suspected end was none: whatever was begun on it is void."""

    at: int


Heard = SpeechStarted | Speaking | Utterance | SpeechResumed
"""What the listen stage gives."""


@dataclass(frozen=True)
class Partial:
    """What was said so far: `stable + unstable`. `start` is the utterance's; while it is the same,
    `stable` only grows."""

    stable: str
    unstable: str
    language: str
    start: int


@dataclass(frozen=True)
class Word:
    """A word and where it lies, in seconds since the audio's first sample."""

    text: str
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class Transcript:
    """What was said. `confidence` is the mean log-probability of its tokens; `fallbacks` counts
    further attempts.

    `words` are there where they were asked for; where the filter changed the text they are not.
    `refusal` is what is said instead of an answer, where the filter refuses one.
    """

    text: str
    language: str
    confidence: float = 0.0
    fallbacks: int = 0
    filtered: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()
    refusal: str = ""


@dataclass(frozen=True)
class ToolSpec:
    """What a model is told of a function that it may call. `parameters`: the JSON schema of the
    object that its arguments are."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class ToolCall:
    """A function that the model wants to have called. `id` names the call in its dialogue.

    `problem` says why it cannot be called, as far as the text tells: it is no JSON. Then `name` is
    empty. `ids` are the tokens that the model gave for it.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]
    problem: str = ""
    ids: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Message:
    """A message of a dialogue. `role` is system, user, assistant or tool.

    `ids` are an answer's tokens as the model gave them, `text` what counts of it. `calls` are those
    of an answer; a message of the role tool has the result of the call `call_id`.
    """

    role: str
    text: str
    ids: tuple[int, ...] = field(default=(), compare=False)
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True)
class ReplyToken:
    """A piece of the reply's text, in order, and the tokens that the model gave for it.

    Of tokens that are no text, as the mark after a call, it is empty.
    """

    text: str
    ids: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Sentence:
    """A clause or sentence to be spoken.

    `index` counts from 0; `filtered` says what the content filter did to it. `style` is the one
    that its text asks for; empty: the voice's own, as of one that the voice has not. `language` is a
    tag; empty: the voice's. `refusal`: it is said instead of the rest of the answer. `filler`: said
    while a slow tool runs, and no part of what the model wrote.
    """

    text: str
    index: int
    filtered: tuple[str, ...] = ()
    style: str = ""
    language: str = ""
    refusal: bool = False
    filler: bool = False


@dataclass(frozen=True)
class PcmChunk:
    """A piece of the spoken answer. `start` counts samples since the answer began; `final`: the
    sentence's last.

    `cut`: why the voice's guard ended the sentence, if it did. `words`, with the sentence's first
    chunk: where its words lie in it, those of `sentence.text` between spaces; empty where the voice
    does not know.
    """

    samples: Samples
    rate: int
    start: int
    sentence: Sentence
    cut: str = ""
    final: bool = False
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class TurnDone:
    """The turn ended by itself. `reply` is the whole text that was spoken, fillers aside."""

    reply: str


@dataclass(frozen=True)
class Paused:
    """Someone speaks over the answer: its playback is to be silent from here on, until `Resumed` or
    `Interrupted`."""


@dataclass(frozen=True)
class Resumed:
    """It was no interruption: the playback goes on.

    `at` is the sample of the answer that it was paused at.
    """

    at: int


@dataclass(frozen=True)
class Interrupted:
    """The answer was cut: what was not played of it is not to be played.

    `heard` is what was heard of it.
    """

    heard: str
    reason: str


@dataclass(frozen=True)
class SessionError:
    """Something failed, and the session goes on. `error` is a class of `errors.py`, as far as we
    raise it.

    Where it ended a turn, `Interrupted` follows if some of the answer was given, and `TurnDone`.
    Otherwise the answer goes on, and is not listened over any more.
    """

    error: Exception


Event = (
    SpeechStarted
    | SpeechEnded
    | Partial
    | Transcript
    | ReplyToken
    | ToolCall
    | Sentence
    | PcmChunk
    | TurnDone
)
"""What a turn gives to whoever started it."""

SessionEvent = Event | Paused | Resumed | Interrupted | SessionError
"""What a session gives: the events of its turns, and its own."""
