"""How long things took: `Server-Timing` of answers of HTTP, and the summary of a turn.

Neither holds a word of what was said.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from typing import Any

from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.turn.trace import Trace

_NO_TOKEN = re.compile(r"[^A-Za-z0-9!#$%&'*+.^_`|~-]")
_NUMBERS = (
    "outcome",
    "times_ms",
    "response_ms",
    "endpoint_wait_ms",
    "audio_ms",
    "underruns",
    "stalled_ms",
    "speculations",
    "transcribe_fallbacks",
    "prompt_tokens",
    "dropped_messages",
)
_LONGEST_VALUE = 512


class Timings:
    """What one request has taken so far, in seconds of `clock`.

    It is an `Observer` (`flow.observe`): within `observing(timings)` it is told of every call that
    an engine makes for the request. Safe from any thread.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begin_s = clock.now()
        self._lock = threading.Lock()
        self._busy: dict[str, float] = {}

    def call(self, lane: str, begin_s: float, end_s: float) -> None:
        """A stage computed for the request."""
        with self._lock:
            self._busy[lane] = self._busy.get(lane, 0.0) + end_s - begin_s

    def prompt(self, lane: str, computed: int, reused: int) -> None:
        """A prompt is in its place: its time is that of its calls."""

    def since_begin_s(self) -> float:
        """How old the request is."""
        return self._clock.now() - self._begin_s

    def to_dict(self) -> dict[str, float]:
        """Milliseconds by name: of each stage, and until now (`total`)."""
        with self._lock:
            seconds = {**self._busy, "total": self.since_begin_s()}
        return {name: 1000 * value for name, value in seconds.items()}

    @property
    def header(self) -> str:
        """The value of `Server-Timing`. A body that is streamed is not in it."""
        return server_timing(self.to_dict())


def server_timing(durations_ms: Mapping[str, float]) -> str:
    """Milliseconds as the header `Server-Timing` (https://www.w3.org/TR/server-timing/)."""
    return ", ".join(
        f"{_NO_TOKEN.sub('_', name) or '_'};dur={value:.1f}" for name, value in durations_ms.items()
    )


def trace_summary(trace: Trace) -> dict[str, Any]:
    """A turn's trace without its words: what happened when, and how long each stage computed.

    Milliseconds are counted from the end of speech (`times_ms`, names as in `turn.trace.MARKS`).
    """
    told = trace.to_dict()
    summary: dict[str, Any] = {name: told[name] for name in _NUMBERS}
    summary["stages"] = {
        name: {"busy_ms": stage["busy_ms"], "calls": stage["calls"]}
        for name, stage in told["stages"].items()
    }
    summary["interruptions"] = [
        {key: each[key] for key in ("at_ms", "what", "reason")} for each in told["interruptions"]
    ]
    summary["tools"] = [
        {key: each[key] for key in ("name", "outcome", "begin_ms", "ms")} for each in told["tools"]
    ]
    return summary


def trace_metadata(trace: Trace) -> dict[str, str]:
    """The summary as OpenAI's `metadata`: at most 16 texts of 512 characters."""
    told = trace_summary(trace)
    busy = {name: stage["busy_ms"] for name, stage in told["stages"].items()}
    values = {
        "voxturn_times_ms": told["times_ms"],
        "voxturn_stages_ms": busy,
        "voxturn_response_ms": told["response_ms"],
        "voxturn_audio_ms": told["audio_ms"],
        "voxturn_underruns": told["underruns"],
        "voxturn_prompt_tokens": told["prompt_tokens"],
        "voxturn_outcome": told["outcome"],
    }
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for name, value in values.items()
        if value is not None
    }
    return {name: text for name, text in texts.items() if len(text) <= _LONGEST_VALUE}
