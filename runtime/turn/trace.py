"""What happened in a turn, and when: milliseconds and input samples from the end of speech.

The end of speech is the last sample of the utterance above −40 dBFS; it lies on the turn's clock
where its frame's arrival puts it. Audio counts when it is ready to be played, not before its answer
was certain; the audible onset is its first sample above −40 dBFS, playback starting with the first
chunk and stalling at underruns.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from voxturn.runtime.audio.level import first_audible, last_audible
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.messages import (
    AudioFrame,
    Event,
    PcmChunk,
    ReplyToken,
    Sentence,
    Transcript,
    Utterance,
)
from voxturn.runtime.turn.tools import ToolRun

_MOST_ARRIVALS = 1024
_MOST_SPANS = 4096
"""Of calls, the last ones: whoever says nothing for hours is listened to 31 times a second."""
MARKS = (
    "speech_end",
    "suspected",
    "endpoint",
    "transcript",
    "first_token",
    "first_clause",
    "first_audio",
    "audible_onset",
)


@dataclass(frozen=True)
class StageInfo:
    """Which artifact a stage ran, on what and in which arithmetic.

    `scripted`: what it chose was replaced by a script, for a measurement.
    """

    model: str
    precision: str
    executor: str
    artifact_sha256: str
    threads: int
    synthetic: bool = False
    scripted: bool = False
    compute: str = ""


@dataclass(frozen=True)
class Playback:
    """Chunks played as they became ready: when the first audible sample sounded (None: never), and
    stalls."""

    onset_s: float | None
    underruns: int
    stalled_s: float


def play(chunks: Sequence[tuple[float, PcmChunk]]) -> Playback:
    """Simulate a loudspeaker that starts with the first chunk; each chunk comes with the time it
    was ready."""
    onset, underruns, stalled = None, 0, 0.0
    at = chunks[0][0] if chunks else 0.0
    for ready, chunk in chunks:
        if ready > at + 1e-6:
            underruns += 1
            stalled += ready - at
            at = ready
        if onset is None and (first := first_audible(chunk.samples)) is not None:
            onset = at + first / chunk.rate
        at += chunk.samples.size / chunk.rate
    return Playback(onset, underruns, stalled)


class Arrivals:
    """When the frames of a stream arrived: the last ten seconds of them, enough to place the end of
    speech."""

    def __init__(self) -> None:
        self._ends: list[tuple[int, float]] = []

    def __bool__(self) -> bool:
        return bool(self._ends)

    async def noting(self, frames: AsyncIterator[AudioFrame]) -> AsyncGenerator[AudioFrame, None]:
        """The frames, noting when each arrived. Closing this closes them."""
        try:
            async for frame in frames:
                self._ends.append((frame.start + frame.samples.size, frame.arrived_s))
                if len(self._ends) > _MOST_ARRIVALS:
                    del self._ends[: _MOST_ARRIVALS // 2]
                yield frame
        finally:
            await close_iterator(frames)

    def when(self, sample: int, rate: int) -> float:
        """When a sample of the input sounded, in seconds of the frames' clock."""
        end, arrived = next((each for each in self._ends if each[0] >= sample), self._ends[-1])
        return arrived - (end - sample) / rate


@dataclass(frozen=True)
class InterruptDecision:
    """What a session did about speech over the answer, and why. `heard`: its words, if they were
    known.

    `what`: paused, resumed, ignored (the answer had not been paused) or cut. `sample`: where in the
    answer.
    """

    what: str
    reason: str
    heard: str
    at_s: float
    sample: int


@dataclass
class Trace:
    """What happened in a turn: it observes the turn's events and the engines' calls.

    Collected while a turn runs. Times inside are seconds of the turn's clock; `to_dict` makes them
    relative.
    """

    profile: str
    stages: Mapping[str, StageInfo]
    sampler: str
    input_rate: int = 16000
    marks: dict[str, float] = field(default_factory=dict)
    spans: deque[tuple[str, float, float]] = field(
        default_factory=lambda: deque(maxlen=_MOST_SPANS)
    )
    busy: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By lane: how many calls, and their seconds in all."""
    chunks: list[tuple[float, PcmChunk]] = field(default_factory=list)
    transcript: str = ""
    reply: str = ""
    heard_reply: str = ""
    language: str = ""
    reply_languages: list[str] = field(default_factory=list)
    """Where there are several: those of the reply's sentences, in order."""
    filtered: list[str] = field(default_factory=list)
    speech_cuts: list[str] = field(default_factory=list)
    transcribe_fallbacks: int = 0
    speculations: int = 0
    prompt_tokens_computed: int = 0
    prompt_tokens_reused: int = 0
    styles: tuple[str, ...] = ()
    """Those of the voice."""
    unknown_styles: list[str] = field(default_factory=list)
    """That the answer asked for; its sentences were said in the voice's own."""
    dropped_messages: int = 0
    """Of the oldest turns, which no longer fitted the model's context."""
    interruptions: list[InterruptDecision] = field(default_factory=list)
    tools: list[ToolRun] = field(default_factory=list)
    outcome: str = "open"

    def mark(self, name: str, when: float) -> None:
        """The first time something happened."""
        self.marks.setdefault(name, when)

    def unmark(self, name: str) -> None:
        """It did not happen after all."""
        self.marks.pop(name, None)

    def ended(self, outcome: str) -> None:
        """How the turn ended: done, error or cancelled."""
        self.outcome = outcome

    def speech_ended(self, arrivals: Arrivals, utterance: Utterance) -> None:
        """Place the end of an utterance's speech on the turn's clock, if anything of it was
        audible."""
        last = last_audible(utterance.samples)
        if last is not None and arrivals:
            sample = utterance.start + last + 1
            self.marks["speech_end"] = arrivals.when(sample, utterance.rate)

    def event(self, event: Event, produced_at: float, certain: float) -> None:
        """An event of the answer that leaves the turn.

        Audio counts from when the end of speech was `certain`.
        """
        match event:
            case Transcript():
                self.mark("transcript", produced_at)
                self.transcript = event.text
                self.language = event.language
                self.transcribe_fallbacks = event.fallbacks
                self.filtered.extend(event.filtered)
            case ReplyToken():
                self.mark("first_token", produced_at)
            case Sentence():
                self.mark("first_clause", produced_at)
                if not event.filler:
                    self.reply = f"{self.reply} {event.text}".strip()
                if event.language:
                    self.reply_languages.append(event.language)
                self.filtered.extend(event.filtered)
                if event.style not in ("", *self.styles, *self.unknown_styles):
                    self.unknown_styles.append(event.style)
            case PcmChunk():
                ready = max(produced_at, certain)
                self.mark("first_audio", ready)
                self.chunks.append((ready, event))
                if event.cut and event.cut not in self.speech_cuts:
                    self.speech_cuts.append(event.cut)

    def call(self, lane: str, begin_s: float, end_s: float) -> None:
        """A call in a lane, made for this turn; safe from any thread."""
        calls, seconds = self.busy.get(lane, (0, 0.0))
        self.busy[lane] = (calls + 1, seconds + end_s - begin_s)  # one thread for each lane
        self.spans.append((lane, begin_s, end_s))

    def prompt(self, lane: str, computed: int, reused: int) -> None:
        """A prompt of this turn: positions computed and reused.

        The reply's count; safe from any thread.
        """
        if lane == "reply":
            self.prompt_tokens_computed += computed
            self.prompt_tokens_reused += reused

    def to_dict(self) -> dict[str, Any]:
        """The trace as plain data."""
        played = play(self.chunks)
        marks = dict(self.marks) | (
            {"audible_onset": played.onset_s} if played.onset_s is not None else {}
        )
        zero = marks.get("speech_end", min(marks.values(), default=0.0))
        relative = {name: marks[name] - zero for name in MARKS if name in marks}
        names = [*self.stages, *sorted(set(self.busy) - set(self.stages))]
        return {
            "profile": self.profile,
            "outcome": self.outcome,
            "transcript": self.transcript,
            "language": self.language,
            "reply": self.reply,
            "reply_languages": self.reply_languages,
            "heard_reply": self.heard_reply,
            "filtered": self.filtered,
            "speech_cuts": self.speech_cuts,
            "unknown_styles": self.unknown_styles,
            "times_ms": {name: round(1000 * value, 2) for name, value in relative.items()},
            "times_samples": {
                name: round(self.input_rate * value) for name, value in relative.items()
            },
            "input_rate": self.input_rate,
            "response_ms": _difference(marks, "endpoint", "audible_onset"),
            "endpoint_wait_ms": _difference(marks, "speech_end", "endpoint"),
            "audio_ms": round(1000 * sum(c.samples.size / c.rate for _, c in self.chunks), 1),
            "underruns": played.underruns,
            "stalled_ms": round(1000 * played.stalled_s, 2),
            "speculations": self.speculations,
            "transcribe_fallbacks": self.transcribe_fallbacks,
            "prompt_tokens": {
                "computed": self.prompt_tokens_computed,
                "reused": self.prompt_tokens_reused,
            },
            "dropped_messages": self.dropped_messages,
            "interruptions": [
                {
                    "at_ms": round(1000 * (each.at_s - zero), 2),
                    "what": each.what,
                    "reason": each.reason,
                    "heard": each.heard,
                    "sample": each.sample,
                }
                for each in self.interruptions
            ],
            "tools": [
                {
                    "name": each.name,
                    "arguments": dict(each.arguments),
                    "outcome": each.outcome,
                    "reason": each.reason,
                    "begin_ms": round(1000 * (each.begin_s - zero), 2),
                    "ms": round(1000 * (each.end_s - each.begin_s), 2),
                }
                for each in self.tools
            ],
            "sampler": self.sampler,
            "stages": {name: self._stage(name, zero) for name in names},
        }

    def to_json(self) -> str:
        """The trace as a JSON text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    def _stage(self, name: str, zero: float) -> dict[str, Any]:
        spans = sorted((b - zero, e - zero) for stage, b, e in list(self.spans) if stage == name)
        calls, seconds = self.busy.get(name, (0, 0.0))
        info = asdict(self.stages[name]) if name in self.stages else {}
        return info | {
            "busy_ms": round(1000 * seconds, 2),
            "calls": calls,
            "spans_ms": [[round(1000 * b, 1), round(1000 * e, 1)] for b, e in merged(spans)],
        }


def _difference(marks: Mapping[str, float], first: str, second: str) -> float | None:
    return (
        round(1000 * (marks[second] - marks[first]), 2)
        if first in marks and second in marks
        else None
    )


def merged(spans: Sequence[tuple[float, float]], gap: float = 0.002) -> list[tuple[float, float]]:
    """Spans that touch, as one."""
    out: list[tuple[float, float]] = []
    for begin, end in spans:
        if out and begin - out[-1][1] < gap:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((begin, end))
    return out
