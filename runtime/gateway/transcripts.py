"""What was heard in a recording, in the forms that OpenAI's clients ask for."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response
from voxturn.runtime.gateway.operations import json_answer
from voxturn.runtime.turn.captions import Cue, cues_of, srt, vtt
from voxturn.runtime.turn.recording import Passage


class DurationUsage(msgspec.Struct):
    """What it cost: seconds of audio."""

    seconds: float
    type: Literal["duration"] = "duration"


class Transcription(msgspec.Struct):
    """The form `json`."""

    text: str
    usage: DurationUsage


class TimedWord(msgspec.Struct):
    """A word, in seconds."""

    word: str
    start: float
    end: float


class Segment(msgspec.Struct):
    """A piece of speech, in seconds.

    `avg_logprob` is the mean over its tokens. What else Whisper's own segments have is there for
    clients that read it: the tokens and the chance of silence are not told by every family.
    """

    id: int
    start: float
    end: float
    text: str
    avg_logprob: float
    compression_ratio: float
    seek: int = 0
    tokens: list[int] = []
    temperature: float = 0.0
    no_speech_prob: float = 0.0


class VerboseTranscription(msgspec.Struct):
    """The form `verbose_json`. `language` is a code, `duration` seconds."""

    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    usage: DurationUsage
    segments: list[Segment] | UnsetType = UNSET
    words: list[TimedWord] | UnsetType = UNSET


class TextDelta(msgspec.Struct, tag="transcript.text.delta"):
    """The next words."""

    delta: str


class TextDone(msgspec.Struct, tag="transcript.text.done"):
    """All words."""

    text: str
    usage: DurationUsage


@dataclass
class Heard:
    """A recording as far as it was heard. `seconds` of it were read."""

    translated: bool = False
    language: str = ""
    passages: list[Passage] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, passage: Passage) -> str:
        """The next passage; what it adds to the text."""
        first = not self.passages
        self.passages.append(passage)
        self.language = self.language or passage.transcript.language
        return passage.transcript.text if first else f" {passage.transcript.text}"

    @property
    def text(self) -> str:
        """All that was said."""
        return " ".join(passage.transcript.text for passage in self.passages)

    @property
    def usage(self) -> DurationUsage:
        """What it cost."""
        return DurationUsage(round(self.seconds, 3))

    @property
    def cues(self) -> list[Cue]:
        """What is shown when."""
        return [cue for passage in self.passages for cue in cues_of(passage)]


def as_json(heard: Heard, granularities: Sequence[str]) -> Response:
    """The text alone."""
    return json_answer(Transcription(heard.text, heard.usage))


def as_verbose_json(heard: Heard, granularities: Sequence[str]) -> Response:
    """The text, and where its segments and words lie."""
    return json_answer(
        VerboseTranscription(
            task="translate" if heard.translated else "transcribe",
            language=heard.language,
            duration=round(heard.seconds, 3),
            text=heard.text,
            usage=heard.usage,
            segments=_segments(heard) if "segment" in granularities or not granularities else UNSET,
            words=_words(heard) if "word" in granularities else UNSET,
        )
    )


def as_text(heard: Heard, granularities: Sequence[str]) -> Response:
    """The text, and nothing else."""
    return Response(f"{heard.text}\n", media_type="text/plain")


def as_srt(heard: Heard, granularities: Sequence[str]) -> Response:
    """SubRip captions."""
    return Response(srt(heard.cues), media_type="application/x-subrip; charset=utf-8")


def as_vtt(heard: Heard, granularities: Sequence[str]) -> Response:
    """WebVTT captions."""
    return Response(vtt(heard.cues), media_type="text/vtt")


FORMS: Mapping[str, Callable[[Heard, Sequence[str]], Response]] = {
    "json": as_json,
    "text": as_text,
    "srt": as_srt,
    "verbose_json": as_verbose_json,
    "vtt": as_vtt,
}
"""How each form is written."""
CAPTIONS = frozenset({"srt", "vtt"})
MEDIA = ("application/json", "text/plain", "application/x-subrip", "text/vtt")


def _segments(heard: Heard) -> list[Segment]:
    return [
        Segment(
            id=number,
            seek=round(100 * passage.begin_s),
            start=round(passage.begin_s, 2),
            end=round(passage.end_s, 2),
            text=passage.transcript.text,
            avg_logprob=passage.transcript.confidence,
            compression_ratio=_compression_ratio(passage.transcript.text),
        )
        for number, passage in enumerate(heard.passages)
    ]


def _words(heard: Heard) -> list[TimedWord]:
    return [
        TimedWord(word.text, round(word.begin_s, 2), round(word.end_s, 2))
        for passage in heard.passages
        for word in passage.transcript.words
    ]


def _compression_ratio(text: str) -> float:
    """As whisper's `transcribe.py` has it: above 2.4, something is said again and again."""
    data = text.encode()
    return round(len(data) / len(zlib.compress(data)), 3)
