"""A whole turn on fakes: overlap, speculation, barge-in, memory of the dialogue, clean-up."""

from __future__ import annotations

import asyncio
import itertools
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.families.options import HearingOptions
from voxturn.runtime.messages import (
    Event,
    Partial,
    PcmChunk,
    ReplyToken,
    Samples,
    Sentence,
    SpeechStarted,
    Transcript,
    TurnDone,
    Word,
)
from voxturn.runtime.turn.listen import Endpointing
from voxturn.runtime.turn.memory import heard_text
from voxturn.runtime.turn.turn import Conversation, Turn

from tests.conftest import RATE, FakeTurn, fed, settled, tone


async def all_events(turn: Turn) -> list[Event]:
    async with turn:
        return [event async for event in turn]


async def test_a_turn_gives_its_events_in_order_and_a_trace(fake_turn: FakeTurn) -> None:
    conversation = fake_turn.conversation()
    turn = conversation.turn(fed(tone(1.0, 1.0)))
    events = await all_events(turn)
    assert isinstance(events[0], SpeechStarted)
    assert isinstance(events[1], Transcript)
    assert events[-1] == TurnDone(fake_turn.reply_text)
    assert "".join(e.text for e in events if isinstance(e, ReplyToken)) == fake_turn.reply_text
    sentences = [e.text for e in events if isinstance(e, Sentence)]
    assert sentences == [
        "Paris is the capital,",
        "of course.",
        "It lies on the Seine.",
        "Do visit it one day.",
    ]
    chunks = [e for e in events if isinstance(e, PcmChunk)]
    assert [c.start for c in chunks] == np.cumsum([0, *(c.samples.size for c in chunks)])[
        :-1
    ].tolist()
    trace = turn.trace.to_dict()
    assert trace["outcome"] == "done"
    assert trace["stages"]["reply"]["executor"] == "fake"
    assert trace["stages"]["reply"]["artifact_sha256"] == "0" * 64
    order = [
        trace["times_ms"][k]
        for k in ("speech_end", "suspected", "transcript", "first_token", "first_clause")
    ]
    assert order == sorted(order)
    assert [m.role for m in conversation.messages] == ["system", "user", "assistant"]
    assert len(asyncio.all_tasks()) == 1


async def test_the_first_clause_is_spoken_while_the_reply_is_being_written() -> None:
    fake = FakeTurn(
        reply_text="The first clause is here. " + "And a very long rest follows it. " * 8,
        seconds=0.004,
    )
    events = await all_events(fake.conversation().turn(fed(tone(1.0, 1.0))))
    kinds = [type(e) for e in events]
    assert kinds.index(PcmChunk) < len(kinds) - 1 - kinds[::-1].index(ReplyToken)
    fake.close()


async def test_the_answer_is_ready_when_the_end_is_certain(fake_turn: FakeTurn) -> None:
    turn = fake_turn.conversation().turn(fed(tone(1.0), wait=0.02, rest=2.0))
    await all_events(turn)
    times = turn.trace.to_dict()["times_ms"]
    assert times["transcript"] < times["endpoint"]
    assert times["first_audio"] >= times["endpoint"]  # nothing leaves before the end is certain


def test_a_pause_ends_nothing_before_its_words_are_known(fake_turn: FakeTurn) -> None:
    turn = fake_turn.conversation().turn(fed(tone(1.0)))
    assert turn._finished() is None  # nothing is suspected
    turn._suspicion = turn._suspect(tone(1.0))
    for transcript, chance in ((None, 0.0), (Transcript("Is it?", "en"), 1.0)):
        turn._answer = SimpleNamespace(transcript=transcript)  # type: ignore[assignment]
        assert turn._finished() == chance


class Endless:
    """A `SoundOfEnd` that never says anything."""

    def __init__(self) -> None:
        self.judging = 0
        self.heard: list[int] = []

    async def __call__(self, samples: Samples) -> float:
        self.judging += 1
        self.heard.append(samples.size)
        try:
            await asyncio.Event().wait()
        finally:
            self.judging -= 1
        raise AssertionError("nothing ends it")

    async def warm(self) -> None:
        """Nothing to compute."""


async def test_nobody_waits_for_the_sound_and_it_is_judged_no_longer_than_suspected(
    fake_turn: FakeTurn,
) -> None:
    sound = Endless()
    stages = replace(fake_turn.stages, sound_of_end=sound)
    samples = np.concatenate([tone(0.6, 0.25), tone(0.6, 1.0)])
    turn = Conversation(stages, fake_turn.setup).turn(fed(samples, wait=0.005))
    async with turn:
        async for event in turn:
            if isinstance(event, Transcript):
                assert sound.judging == 0  # the end is certain
    assert turn.trace.outcome == "done"
    assert len(sound.heard) == 2  # before the speech went on, and after it
    assert sound.heard[0] < sound.heard[1]
    await settled(fake_turn)


@pytest.mark.parametrize(("heard", "one"), [("Call me back at.", True), ("Call me back.", False)])
async def test_a_pause_within_a_number_is_within_the_turn(heard: str, one: bool) -> None:
    fake = FakeTurn(heard=heard)
    samples = np.concatenate([tone(0.6, 0.65), tone(0.6, 1.2)])
    events = await all_events(fake.conversation().turn(fed(samples, wait=0.015)))
    assert sum(isinstance(e, Transcript) for e in events) == 1
    assert (max(fake.whisper.encoded_frames[1:]) > 185) == one
    fake.close()


async def test_speech_that_goes_on_voids_what_was_begun(fake_turn: FakeTurn) -> None:
    samples = np.concatenate([tone(0.6, 0.25), tone(0.6, 1.0)])
    turn = fake_turn.conversation().turn(fed(samples, wait=0.005))
    events = await all_events(turn)
    assert sum(isinstance(e, Transcript) for e in events) == 1
    assert sum(isinstance(e, TurnDone) for e in events) == 1
    assert turn.trace.speculations == 2
    await settled(fake_turn)


async def test_partials_come_while_someone_speaks_and_what_they_mark_stable_stays(
    fake_turn: FakeTurn,
) -> None:
    spoken = np.concatenate([np.zeros(8000, np.float32), tone(3.0)])
    events = await all_events(fake_turn.conversation().turn(fed(spoken, wait=0.004, rest=1.0)))
    partials = [event for event in events if isinstance(event, Partial)]
    assert len(partials) > 1
    assert {partial.stable + partial.unstable for partial in partials} == {fake_turn.heard}
    assert all(
        later.stable.startswith(before.stable) for before, later in itertools.pairwise(partials)
    )
    transcript = next(event for event in events if isinstance(event, Transcript))
    assert events.index(partials[-1]) < events.index(transcript)


async def test_no_partials_of_a_whole_input_nor_without_their_share(fake_turn: FakeTurn) -> None:
    for whole, share in ((True, 1.0), (False, 0.0)):
        fake_turn.stages = replace(fake_turn.stages, partial_share=share)
        events = await all_events(
            fake_turn.conversation().turn(fed(tone(2.0, 1.0), wait=0.002), whole_input=whole)
        )
        assert not [event for event in events if isinstance(event, Partial)]


async def test_a_partial_that_fails_ends_the_turn_with_its_error(fake_turn: FakeTurn) -> None:
    def dead(*args: object) -> object:
        raise InferenceFailed("the engine died")

    fake_turn.whisper.encode = dead  # type: ignore[method-assign]
    with pytest.raises(InferenceFailed, match="the engine died"):
        await asyncio.wait_for(
            all_events(fake_turn.conversation().turn(fed(tone(5.0), wait=0.002))), 5
        )
    await settled(fake_turn)


@pytest.mark.parametrize(
    ("heard", "turns"),
    [("What is it?", 1), ("It is mine.", 1), ("It is the", 2), ("It is mine and", 2)],
)
async def test_a_pause_ends_the_turn_only_where_the_words_are_finished(
    heard: str, turns: int
) -> None:
    options = Endpointing(finished_ms=256, end_ms=400, unfinished_ms=1600)
    fake = FakeTurn(heard=heard, endpointing=options)
    samples = np.concatenate([tone(0.6, 0.7), tone(0.6, 1.0)])
    turn = fake.conversation().turn(fed(samples, frame=512, wait=0.01, rest=2.0))
    await all_events(turn)
    assert turn.trace.speculations == turns
    fake.close()


async def test_a_conversation_s_language_is_the_prior_of_its_next_turn(fake_turn: FakeTurn) -> None:
    fake_turn.recogniser.whisper = fake_turn.recogniser.whisper.using(HearingOptions("auto"))
    conversation = fake_turn.conversation()
    for chances, language in (({"en": 0.1, "ar": 0.9}, "ar"), ({"en": 0.7, "ar": 0.3}, "ar")):
        fake_turn.whisper.languages = chances
        turn = conversation.turn(fed(tone(1.0, 1.0)))
        await all_events(turn)
        assert turn.trace.language == conversation.language == language


async def test_silence_is_no_turn(fake_turn: FakeTurn) -> None:
    conversation = fake_turn.conversation()
    turn = conversation.turn(fed(np.zeros(32000, np.float32)))
    assert await all_events(turn) == [TurnDone("")]
    assert turn.trace.to_dict()["response_ms"] is None
    assert fake_turn.whisper.encoded_frames == []
    assert len(conversation.messages) == 1


async def test_whole_input_joins_what_was_said_before_and_after_a_pause() -> None:
    fake = FakeTurn(heard="Well,")
    samples = np.concatenate([tone(0.6, 1.0), tone(0.6, 1.0)])
    turn = fake.conversation().turn(fed(samples), whole_input=True)
    await all_events(turn)
    assert turn.trace.transcript == "Well, Well,"
    fake.close()


async def test_a_second_turn_computes_only_what_is_new(fake_turn: FakeTurn) -> None:
    conversation = fake_turn.conversation()
    await all_events(conversation.turn(fed(tone(1.0, 1.0))))
    turn = conversation.turn(fed(tone(1.0, 1.0)))
    await all_events(turn)
    new = len(f"{fake_turn.heard}usernn") + len("assistantn") + 8
    assert turn.trace.prompt_tokens_computed <= new
    assert turn.trace.prompt_tokens_reused > len(fake_turn.reply_text)


@pytest.mark.parametrize("broken", ["whisper", "decoder", "acoustic", "vocoder", "vad"])
async def test_an_engine_that_dies_ends_the_turn_with_its_error(
    fake_turn: FakeTurn, broken: str
) -> None:
    def dead(*args: object) -> object:
        raise InferenceFailed("the engine died")

    executor = getattr(fake_turn, broken)
    setattr(executor, "encode" if broken == "whisper" else "run", dead)
    conversation = fake_turn.conversation()
    turn = conversation.turn(fed(tone(1.0, 1.0)))
    with pytest.raises(InferenceFailed, match="the engine died"):
        await asyncio.wait_for(all_events(turn), 5)
    assert turn.trace.outcome == "error"
    await settled(fake_turn)


@pytest.mark.slow
@pytest.mark.slow
async def test_barge_in_at_any_moment_stops_everything_and_the_next_turn_works(
    fake_turn: FakeTurn,
) -> None:
    random = np.random.default_rng(7)
    await all_events(fake_turn.conversation().turn(fed(tone(0.5, 1.0))))
    threads = threading.active_count()
    for moment in random.uniform(0.0, 0.35, 20):
        conversation = fake_turn.conversation()
        turn = conversation.turn(fed(tone(0.3, 1.0), wait=0.002))
        got: list[Event] = []

        async def consume(turn: Turn = turn, got: list[Event] = got) -> None:
            async for event in turn:
                got.append(event)

        reader = asyncio.create_task(consume())
        await asyncio.sleep(moment)
        await asyncio.wait_for(turn.aclose(), 2)
        count = len(got)
        await asyncio.wait_for(reader, 2)
        await asyncio.sleep(0.01)
        assert len(got) == count  # nothing comes after it was closed
        await settled(fake_turn)
        assert turn.trace.outcome in ("cancelled", "done", "open")
    assert threading.active_count() <= threads
    events = await all_events(fake_turn.conversation().turn(fed(tone(0.5, 1.0))))
    assert events[-1] == TurnDone(fake_turn.reply_text)


async def test_barge_in_trims_the_dialogue_to_what_was_heard(fake_turn: FakeTurn) -> None:
    conversation = fake_turn.conversation()
    turn = conversation.turn(fed(tone(1.0, 1.0)))
    async with turn:
        async for event in turn:
            if isinstance(event, PcmChunk) and event.sentence.index == 2:
                turn.played(event.start)  # the loudspeaker is at the end of the second sentence
                break
    assert conversation.messages[-1].text == "Paris is the capital, of course."
    assert turn.trace.heard_reply == "Paris is the capital, of course."
    assert turn.trace.outcome == "cancelled"


async def test_turns_that_are_interrupted_before_a_sound_keep_the_roles_apart(
    fake_turn: FakeTurn,
) -> None:
    conversation = fake_turn.conversation()
    for _ in range(3):
        turn = conversation.turn(fed(tone(1.0, 1.0)))
        async with turn:
            async for event in turn:
                if isinstance(event, ReplyToken):
                    break
    assert [m.role for m in conversation.messages] == ["system", "user"]
    question = turn.trace.transcript
    assert conversation.messages[-1].text == " ".join([question] * 3)
    turn = conversation.turn(fed(tone(1.0, 1.0)))
    await all_events(turn)
    assert [m.role for m in conversation.messages] == ["system", "user", "assistant"]
    assert conversation.messages[1].text == " ".join([question] * 4)
    # of the joined question only the last one is new
    assert turn.trace.prompt_tokens_computed <= len(f" {question}") + len("assistantn") + 8
    assert turn.trace.dropped_messages == 0


def test_heard_text_spreads_the_words_of_a_sentence_evenly() -> None:
    sentence = Sentence("one two three four", 0)
    chunks = [PcmChunk(np.zeros(RATE, np.float32), RATE, i * RATE, sentence) for i in range(2)]
    assert heard_text(chunks, 0) == ""
    assert heard_text(chunks, RATE) == "one two"
    assert heard_text(chunks, 2 * RATE) == "one two three four"
    assert heard_text([], 100) == ""


def test_heard_text_is_exact_where_the_voice_knows_its_words() -> None:
    words = (Word("one", 0.0, 0.1), Word("two", 0.1, 1.5), Word("three", 1.6, 2.0))
    sentence = Sentence("one two three", 0)
    chunks = [PcmChunk(np.zeros(RATE, np.float32), RATE, i * RATE, sentence) for i in range(2)]
    chunks[0] = replace(chunks[0], words=words)
    heard = [heard_text(chunks, round(seconds * RATE)) for seconds in (0.0, 0.2, 1.4, 1.5, 2.0)]
    assert heard == ["", "one", "one", "one two", "one two three"]


def test_of_a_sentence_that_is_not_made_yet_only_a_share_was_heard() -> None:
    sentence = Sentence("This sentence takes about four seconds to be spoken aloud.", 0)
    chunk = PcmChunk(np.zeros(RATE, np.float32), RATE, 0, sentence)
    heard = heard_text([chunk], RATE).split()
    assert 1 <= len(heard) <= 4
    assert heard_text([replace(chunk, final=True)], RATE) == sentence.text


async def test_a_loudspeaker_stopped_after_the_turn_was_made_trims_it_too(
    fake_turn: FakeTurn,
) -> None:
    conversation = fake_turn.conversation()
    turn = conversation.turn(fed(tone(1.0, 1.0)))
    async with turn:
        chunks = [event async for event in turn if isinstance(event, PcmChunk)]
        turn.played(next(c.start for c in chunks if c.sentence.index == 2))
    assert turn.trace.outcome == "done"
    assert turn.trace.heard_reply == "Paris is the capital, of course."
    assert [m.role for m in conversation.messages] == ["system", "user", "assistant"]
    assert conversation.messages[-1].text == "Paris is the capital, of course."


async def test_the_turn_after_a_barge_in_computes_only_what_is_new(fake_turn: FakeTurn) -> None:
    conversation = fake_turn.conversation()
    computed = []
    for number in range(4):
        async with conversation.turn(fed(tone(1.0, 1.0))) as turn:
            async for event in turn:
                if isinstance(event, PcmChunk) and number == 1:
                    break
        computed.append(turn.trace.prompt_tokens_computed)
    new = len(f"{fake_turn.heard}usernn") + len("assistantn") + 8
    assert all(count <= new for count in computed[1:])
    assert turn.trace.dropped_messages == 0


async def test_a_dialogue_that_became_too_long_loses_its_oldest_turns_and_the_trace_says_so(
    fake_turn: FakeTurn,
) -> None:
    fake_turn.decoder.capacity = 900
    conversation, dropped = fake_turn.conversation(), []
    for _ in range(6):
        turn = conversation.turn(fed(tone(1.0, 1.0)))
        await all_events(turn)
        dropped.append(turn.trace.to_dict()["dropped_messages"])
        assert [m.role for m in conversation.messages] == ["system"] + ["user", "assistant"] * (
            len(conversation.messages) // 2
        )
    assert dropped[0] == 0
    assert sum(dropped) > 0


async def test_a_tag_of_a_style_is_not_said_and_one_that_the_voice_has_not_is_in_the_trace(
    fake_turn: FakeTurn,
) -> None:
    fake_turn.reply_text = "[happy] It is Paris. Do visit it."
    turn = fake_turn.conversation().turn(fed(tone(1.0, 1.0)))
    events = await all_events(turn)
    sentences = [(e.text, e.style) for e in events if isinstance(e, Sentence)]
    assert sentences == [("It is Paris.", "happy"), ("Do visit it.", "happy")]
    assert events[-1] == TurnDone("It is Paris. Do visit it.")
    assert turn.trace.to_dict()["unknown_styles"] == ["happy"]
