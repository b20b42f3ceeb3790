"""Speech and keys over an answer: what is cleared, and what the dialogue keeps of it."""

from __future__ import annotations

import pytest
from voxturn.runtime.families.fake import FakeHearing
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.twilio.keypad import PAUSE_S
from voxturn.runtime.messages import Message, Partial, Samples, Speaking, Transcript

from tests.phone_client import RATE, Phone, silence, tone
from tests.realtime_client import dialogues
from tests.unit.gateway.twilio.test_call import ANSWER, ANSWER_S, ASKED


async def cut(phone: Phone) -> None:
    """Speak until the answer is cut, and be done."""
    for _ in range(20):
        await phone.say(tone(0.1))
        if phone.of("clear"):
            return
    raise AssertionError("nothing was cleared")


async def said_since(phone: Phone, gateway: Gateway) -> list[Message]:
    """End what is said over an answer; the dialogue of the next one."""
    await phone.say(silence(3.0))
    return dialogues(gateway)[-1]


async def test_speech_clears_what_the_phone_has_not_played(phone: Phone, gateway: Gateway) -> None:
    await phone.ask()
    await phone.listen(0.4)
    await cut(phone)
    size = len(phone.audio)
    assert size < ANSWER_S * RATE
    await phone.say(tone(0.4))
    assert len(phone.audio) == size
    assert len(phone.of("clear")) == 1
    said = await said_since(phone, gateway)
    assert [message.role for message in said[-3:]] == ["user", "assistant", "user"]
    assert said[-2].text
    assert ANSWER.startswith(said[-2].text)
    assert len(said[-2].text) < len(ANSWER)


async def heard_of_it(phone: Phone, gateway: Gateway, lag: float) -> str:
    """What the dialogue keeps of an answer that a phone plays so many seconds late."""
    phone.echoes = False
    await phone.ask()
    echoed = 0
    for _ in range(60):
        await phone.say(silence(0.02))
        known = phone.of("mark")
        while echoed < len(known) and (echoed + 1) * 0.1 + lag <= len(phone.audio) / RATE:
            phone.mark(known[echoed]["mark"]["name"])
            echoed += 1
    await cut(phone)
    said = await said_since(phone, gateway)
    return said[-2].text if said[-2].role == "assistant" else ""


async def test_a_phone_that_plays_late_has_heard_less(phone: Phone, gateway: Gateway) -> None:
    late = await heard_of_it(phone, gateway, 0.8)
    assert len(late) < len(ANSWER) / 2


async def test_a_phone_that_plays_at_once_has_heard_more(phone: Phone, gateway: Gateway) -> None:
    soon = await heard_of_it(phone, gateway, 0.2)
    assert len(soon) > len(ANSWER) / 2


async def test_marks_that_a_cut_has_sent_back_tell_nothing(phone: Phone, gateway: Gateway) -> None:
    phone.echoes = False
    await phone.ask()
    await phone.listen(0.3)
    await cut(phone)
    for told in phone.of("mark"):  # as Twilio does for what it clears
        phone.mark(told["mark"]["name"])
    phone.mark("none of ours")
    await phone.settle()
    said = await said_since(phone, gateway)
    assert len(said[-2].text) < len(ANSWER)
    assert len(phone.of("clear")) == 1


async def test_marks_come_every_100_ms_and_at_the_end(phone: Phone) -> None:
    phone.echoes = False
    await phone.ask()
    await phone.listen_out()
    sizes, size = [], 0
    for told in phone.told:
        if told["event"] == "media":
            size += 1
        else:
            sizes.append(size)
    assert sizes[:3] == [5, 10, 15]
    assert sizes[-1] == size
    assert len(set(sizes)) == len(sizes)


async def test_a_key_cuts_the_answer_and_is_answered(phone: Phone, gateway: Gateway) -> None:
    await phone.ask()
    await phone.listen(0.3)
    phone.press("1")
    await phone.settle()
    size = len(phone.audio)
    assert len(phone.of("clear")) == 1
    await phone.listen(1.0)
    assert len(phone.audio) == size
    phone.press("2#")
    await phone.listen_out()
    said = dialogues(gateway)[-1]
    assert [message.text for message in said if message.role == "user"] == [ASKED, "12"]
    assert len(said[-2].text) < len(ANSWER)
    assert len(phone.audio) - size == pytest.approx(ANSWER_S * RATE, abs=0.02 * RATE)


async def test_a_pause_ends_a_number(phone: Phone, gateway: Gateway) -> None:
    phone.press("90")
    await phone.listen(PAUSE_S - 0.5)
    assert dialogues(gateway) == []
    await phone.listen(1.0)
    assert [message.text for message in dialogues(gateway)[-1]][-1] == "90"


async def test_a_hash_alone_is_no_number(phone: Phone, gateway: Gateway) -> None:
    phone.press("#")
    await phone.listen(PAUSE_S + 1)
    assert dialogues(gateway) == []
    assert phone.closed is None


async def test_a_mhm_withholds_audio_and_cuts_nothing(
    phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def final(self: object, samples: Samples, words: bool = False) -> Transcript:
        return Transcript("Mhm.", "en")

    async def partial(self: object, speaking: Speaking) -> Partial:
        return Partial("", "Mhm.", "en", speaking.start)

    await phone.ask()
    monkeypatch.setattr(FakeHearing, "final", final)
    monkeypatch.setattr(FakeHearing, "partial", partial)
    await phone.say(tone(0.4))
    size = len(phone.audio)
    await phone.say(tone(0.1))
    assert len(phone.audio) == size < ANSWER_S * RATE
    await phone.say(silence(1.0))
    await phone.listen_out()
    assert len(phone.audio) / RATE == pytest.approx(ANSWER_S, abs=0.02)
    assert phone.of("clear") == []


async def test_a_stopping_gateway_lets_the_answer_end(phone: Phone, gateway: Gateway) -> None:
    await phone.ask()
    gateway.stopping.set()
    await phone.listen(0.3)
    assert phone.closed is None
    for _ in range(50):
        if phone.closed is not None:
            break
        await phone.listen(0.1)
    assert phone.closed == (1012, "")
    assert len(phone.audio) / RATE == pytest.approx(ANSWER_S, abs=0.02)
