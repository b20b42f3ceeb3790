"""Two turns at once on the same engines: what each one's trace tells is its own."""

from __future__ import annotations

import asyncio

import pytest
from voxturn.runtime.messages import Event, TurnDone
from voxturn.runtime.turn.trace import Trace
from voxturn.runtime.turn.turn import Conversation

from tests.conftest import FakeTurn, fed, tone

PROMPTS = ("Be brief.", "You are a guide to the sights of Paris, and " * 12)
OWN = ("listen", "transcribe", "speak", "vocode")
"""Lanes whose every call is for one turn; a step of the reply's engine is for all that it writes
for."""


async def said(fake: FakeTurn, system_prompt: str) -> Trace:
    conversation = Conversation(fake.stages, fake.setup, system_prompt)
    async with conversation.turn(fed(tone(1.0, 1.0)), whole_input=True) as turn:
        events: list[Event] = [event async for event in turn]
    assert events[-1] == TurnDone(fake.reply_text)
    return turn.trace


def calls(trace: Trace, lane: str) -> int:
    return sum(name == lane for name, _, _ in trace.spans)


@pytest.fixture
def alone() -> list[Trace]:
    """Each turn's trace where it has the engines for itself."""
    traces = []
    for prompt in PROMPTS:
        fake = FakeTurn()
        traces.append(asyncio.run(said(fake, prompt)))
        fake.close()
    return traces


def test_two_turns_at_once_count_their_own_prompts_and_calls(
    alone: list[Trace], fake_turn: FakeTurn
) -> None:
    async def both() -> list[Trace]:
        return await asyncio.gather(*(said(fake_turn, prompt) for prompt in PROMPTS))

    traces = asyncio.run(both())
    begins = [min(begin for name, begin, _ in t.spans if name == "reply") for t in traces]
    ends = [max(end for name, _, end in t.spans if name == "reply") for t in traces]
    assert max(begins) < min(ends), "they were not at once"
    for trace, lonely in zip(traces, alone, strict=True):
        # what comes from the cache depends on who was there first, their sum does not
        assert trace.prompt_tokens_computed + trace.prompt_tokens_reused == (
            lonely.prompt_tokens_computed + lonely.prompt_tokens_reused
        )
        assert trace.prompt_tokens_computed > 0
        for lane in OWN:
            assert calls(trace, lane) == calls(lonely, lane) > 0, lane
        # a token is a step: the first one's, which computes the prompt, included
        assert calls(trace, "reply") == calls(lonely, "reply")
    counts = fake_turn.engine.counts
    assert sum(trace.prompt_tokens_computed for trace in traces) == counts.computed
    assert sum(trace.prompt_tokens_reused for trace in traces) == counts.reused
    for lane in OWN:
        mine, other = ({span for span in t.spans if span[0] == lane} for t in traces)
        assert not mine & other, lane


async def test_what_is_computed_for_others_is_not_a_turn_s_own(fake_turn: FakeTurn) -> None:
    async def warm() -> None:
        await fake_turn.stages.replier.warm(
            Conversation(fake_turn.stages, fake_turn.setup, PROMPTS[1]).messages
        )

    trace, _ = await asyncio.gather(said(fake_turn, PROMPTS[0]), warm())
    total = trace.prompt_tokens_computed + trace.prompt_tokens_reused
    assert 0 < total < len(PROMPTS[1])
    assert fake_turn.engine.counts.computed > total
