"""A telephone call: a question is heard, its answer is said, and what was played is known."""

from __future__ import annotations

import base64

import pytest
from voxturn.runtime.gateway.core import Gateway

from tests.phone_client import FRAME, RATE, Phone
from tests.realtime_client import dialogues

ANSWER = "Paris is the capital. It lies on the Seine."
ASKED = "What is the capital of France?"
ANSWER_S = 0.05 * (len(ANSWER) - 1)
"""How long the fake voice takes for it."""


async def test_a_question_is_answered_in_real_time(phone: Phone, gateway: Gateway) -> None:
    await phone.ask()
    assert len(phone.audio) <= 0.3 * RATE
    await phone.listen_out()
    assert len(phone.audio) / RATE == pytest.approx(ANSWER_S, abs=0.02)
    assert dialogues(gateway)[-1][-1].text == ASKED
    assert phone.of("clear") == []


async def test_answers_come_in_frames_of_20_ms(phone: Phone) -> None:
    await phone.ask()
    await phone.listen_out()
    sizes = [len(base64.b64decode(told["media"]["payload"])) for told in phone.of("media")]
    assert set(sizes[:-1]) == {FRAME}
    assert 0 < sizes[-1] <= FRAME
