from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.timing import (
    Timings,
    server_timing,
    trace_metadata,
    trace_summary,
)
from voxturn.runtime.models.store import Store
from voxturn.runtime.turn.trace import InterruptDecision, Trace

WORD = "Xylographie"


@pytest.fixture
async def trace(tmp_path: Path) -> Trace:
    """Of a turn whose question and answer have a rare word."""
    profile = write_profile(tmp_path / "fake", answer=f"{WORD} it is.")
    async with Assistant.load(profile, Store(tmp_path / "store")) as assistant:
        async with assistant.conversation().ask(f"What is {WORD}?") as turn:
            async for _ in turn:
                pass
        turn.trace.call("reply", 1.0, 1.25)
        turn.trace.call("speak", 1.25, 1.5)
        turn.trace.interruptions.append(InterruptDecision("cut", "words", WORD, 2.0, 100))
        return turn.trace


def test_a_request_is_timed_by_stage() -> None:
    clock = ManualClock(5.0)
    timings = Timings(clock)
    timings.call("speak", 1.0, 1.25)
    timings.call("speak", 2.0, 2.25)
    timings.call("reply", 2.0, 2.5)
    clock.advance(2.5)
    assert timings.header == "speak;dur=500.0, reply;dur=500.0, total;dur=2500.0"


TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"


@given(st.dictionaries(st.text(), st.floats(0, 1e9)))
def test_a_header_has_no_other_characters_than_its_grammar(durations: dict[str, float]) -> None:
    header = server_timing(durations)
    metric = rf"{TOKEN};dur=\d+\.\d"
    assert re.fullmatch(rf"({metric}(, {metric})*)?", header)
    assert len(durations) == header.count(";dur=")


async def test_a_summary_tells_times_and_no_words(trace: Trace) -> None:
    told = trace_summary(trace)
    assert told["outcome"] == "done"
    assert told["stages"]["reply"] == {"busy_ms": 250.0, "calls": 1}
    assert set(told["times_ms"]) >= {"endpoint", "first_token", "first_audio"}
    assert told["interruptions"] == [
        {"what": "cut", "reason": "words", "at_ms": told["interruptions"][0]["at_ms"]}
    ]
    assert WORD in json.dumps(trace.to_dict())
    assert WORD not in json.dumps(told)


async def test_metadata_keeps_to_openai_limits(trace: Trace) -> None:
    told = trace_metadata(trace)
    assert len(told) <= 16
    assert all(len(name) <= 64 and len(text) <= 512 for name, text in told.items())
    assert json.loads(told["voxturn_stages_ms"])["speak"] == 250.0
    assert told["voxturn_outcome"] == "done"
    assert WORD not in json.dumps(told)
