"""What one request asks of a recogniser or a replier: heeded by families that can, refused by others
only where it was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.decoder import DecoderReplier
from voxturn.runtime.families.fake import FakeRecogniser, FakeReplier
from voxturn.runtime.families.options import (
    HearingOptions,
    ReplyOptions,
    ReplyReport,
    hearing_as,
    replying_as,
)
from voxturn.runtime.families.remote import RemoteRecogniser
from voxturn.runtime.messages import Message, ReplyToken


class Plain:
    """A family without options."""

    def hear(self, prior: str = "") -> Any: ...

    async def warm(self, *messages: Any) -> None: ...

    def fitted(self, messages: Any, tools: Any = ()) -> Any: ...

    def __call__(self, messages: Any, tools: Any = ()) -> Any: ...


def test_a_recogniser_without_options_refuses_what_is_no_hint() -> None:
    plain = Plain()
    assert hearing_as(plain, HearingOptions()) is plain
    assert hearing_as(plain, HearingOptions(names=("Ada",), prompt="before")) is plain
    for options in (HearingOptions(translate=True), HearingOptions("de")):
        with pytest.raises(UsageError):
            hearing_as(plain, options)


def test_nothing_asked_for_is_the_recogniser_itself() -> None:
    recogniser = FakeRecogniser("words")
    assert hearing_as(recogniser, HearingOptions()) is recogniser


def test_a_replier_without_options_refuses_each_by_its_name() -> None:
    plain = Plain()
    assert replying_as(plain, ReplyOptions(), ReplyReport()) is plain
    with pytest.raises(UsageError, match="seed, stops: "):
        replying_as(plain, ReplyOptions(seed=1, stops=("x",)), ReplyReport())


def test_a_served_recogniser_takes_a_language_and_does_not_translate() -> None:
    connection: Any = object()
    recogniser = RemoteRecogniser(connection, "whisper", "en")
    other = recogniser.using(HearingOptions("de", ("Ada",), "before"))
    assert (other.language, recogniser.language) == ("de", "en")
    assert recogniser.using(HearingOptions(names=("Ada",))).language == "en"
    with pytest.raises(UsageError, match="translate"):
        recogniser.using(HearingOptions(translate=True))


async def written(replier: Any, *messages: Message) -> str:
    dialogue = list(messages) or [Message("user", "why")]
    items = [item async for item in replier(dialogue)]
    assert all(isinstance(item, ReplyToken) for item in items)
    return "".join(item.text for item in items)


ANSWER = "Paris is the capital, of course. It lies on the Seine. Do visit it one day."


async def test_a_decoder_ends_where_it_is_told_to(fake_turn: Any) -> None:
    replier: DecoderReplier = fake_turn.replier
    report = ReplyReport()
    assert await written(replier.using(ReplyOptions(max_tokens=5), report)) == "Paris"
    assert (report.completion_tokens, report.full) == (5, True)
    report = ReplyReport()
    options = ReplyOptions(stops=("Seine", "capital"))
    assert await written(replier.using(options, report)) == "Paris is the "
    assert not report.full
    report = ReplyReport()
    assert await written(replier.using(ReplyOptions(), report)) == ANSWER
    assert (report.completion_tokens, report.full) == (len(ANSWER), False)
    assert report.prompt_tokens == len(replier.chat.prompt([Message("user", "why")]))
    assert await written(replier) == ANSWER


async def test_an_answer_that_just_fits_is_not_cut(fake_turn: Any) -> None:
    report = ReplyReport()
    options = ReplyOptions(max_tokens=len(ANSWER) + 1)
    assert await written(fake_turn.replier.using(options, report)) == ANSWER
    assert not report.full


async def test_an_answer_has_half_of_the_context_at_most(fake_turn: Any) -> None:
    replier: DecoderReplier = fake_turn.replier
    huge = replier.using(ReplyOptions(max_tokens=1 << 40), ReplyReport())
    dialogue = [Message("user", "a" * 900), Message("assistant", "b"), Message("user", "why")]
    assert len(huge.fitted(dialogue)) == 3
    dialogue[0] = Message("user", "a" * 1100)
    assert huge.fitted(dialogue) == dialogue[2:]
    assert len(replier.fitted(dialogue)) == 3


async def test_sampling_is_that_of_the_request(fake_turn: Any) -> None:
    replier: DecoderReplier = fake_turn.replier
    requests: list[Any] = []

    class Service:
        capacity = replier.service.capacity

        def stream(self, request: Any) -> Any:
            requests.append(request)
            raise UsageError("enough")

    replier.service = Service()  # type: ignore[assignment]
    asked = ReplyOptions(temperature=0.7, top_p=0.9, seed=5)

    async def ask(which: DecoderReplier) -> None:
        with pytest.raises(UsageError):
            await written(which)

    await ask(replier.using(asked, ReplyReport()))
    await ask(replier)
    first, second = (request.sampling for request in requests)
    assert (first.temperature, first.top_p, first.seed) == (0.7, 0.9, 5)
    assert (second.temperature, second.top_p, second.seed) == (0.0, 1.0, 0)
    with pytest.raises(UsageError):
        replier.using(ReplyOptions(top_p=0.0), ReplyReport())


async def test_a_fake_replier_heeds_them_too() -> None:
    replier = FakeReplier("one two three four")
    report = ReplyReport()
    assert await written(replier.using(ReplyOptions(max_tokens=2), report)) == "one two"
    assert (report.completion_tokens, report.full) == (2, True)
    assert await written(replier.using(ReplyOptions(stops=("three",)), report)) == "one two "
    assert await written(replier) == "one two three four"
