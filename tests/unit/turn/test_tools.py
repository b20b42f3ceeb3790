"""Calls of functions in an answer: how they are run, how each way to fail ends, and that nothing of
them is spoken."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from voxturn.bench.tools import FILLER, NO_ANSWER, SCRIPTS, Script, call, run, streams
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.errors import (
    ExecutorUnavailable,
    InvalidProfile,
    StreamClosed,
    TextTooLong,
    UsageError,
)
from voxturn.runtime.families.fake import (
    FakeActivity,
    FakeRecogniser,
    FakeReplier,
    FakeVoice,
    write_profile,
)
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import (
    Event,
    Message,
    PcmChunk,
    ReplyToken,
    Sentence,
    ToolCall,
    TurnDone,
)
from voxturn.runtime.profile import load_profile
from voxturn.runtime.text.filter import PassAll
from voxturn.runtime.turn.listen import Endpointing, Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser
from voxturn.runtime.turn.session import Session, SessionOptions
from voxturn.runtime.turn.split import Split
from voxturn.runtime.turn.stages import Stages, TurnSetup
from voxturn.runtime.turn.tools import MOST_TOOLS, Tool, Toolbox, ToolSettings, client_tool
from voxturn.runtime.turn.turn import Conversation, Turn

from tests.conftest import fed, tone

NOTHING: dict[str, Any] = {"type": "object", "properties": {}}
PLACE: dict[str, Any] = {"type": "object", "properties": {"place": {"type": "string"}}}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.kind)
async def test_scripted_streams_end_as_documented_and_nothing_of_a_call_is_spoken(
    script: Script,
) -> None:
    for stream in streams():
        if stream.script is script:
            ending = await asyncio.wait_for(run(stream), 60)
            assert ending.as_documented(script), (stream.cut, ending.said, ending.outcomes)
            assert not ending.leaked


def test_there_are_a_hundred_streams_and_more() -> None:
    assert len(streams()) == 105


def conversation(
    replier: FakeReplier,
    *tools: Tool,
    clock: ManualClock | None = None,
    settings: ToolSettings | None = None,
) -> Conversation:
    stages = Stages(
        Listen(FakeActivity(), Endpointing()),
        FilteredRecogniser(FakeRecogniser("What is the weather?"), PassAll()),
        replier,
        Split(PassAll(), 200),
        FakeVoice(),
        tools=settings or ToolSettings(),
    )
    setup = TurnSetup("fake", {}, "numpy", clock or ManualClock())
    return Conversation(stages, setup, "Be brief.", tools)


async def events_of(turn: Turn, react: Callable[[Event], None] = lambda event: None) -> list[Event]:
    events: list[Event] = []
    async with turn:
        async for event in turn:
            events.append(event)
            react(event)
    return events


def results(talk: Conversation) -> list[str]:
    return [message.text for message in talk.messages if message.role == "tool"]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


async def settle() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


async def answered(tool: Tool, arguments: str = "{}") -> tuple[str, str]:
    """What the model is told of one call, and its outcome."""
    talk = conversation(FakeReplier(call(tool.name, arguments), "So."), tool)
    turn = talk.ask("What?")
    await events_of(turn)
    (result,) = results(talk)
    return result, turn.trace.tools[0].outcome


async def an_hour(place: str) -> dict[str, str]:
    return {"at": place}


class Callable_:
    async def __call__(self, place: str) -> str:
        return f"at {place}"


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (lambda place: place, "Köln"),
        (lambda place: [place, 1, None], '["Köln", 1, null]'),
        (lambda place: None, "null"),
        (an_hour, '{"at": "Köln"}'),
        (lambda place: an_hour(place), '{"at": "Köln"}'),
        (Callable_(), "at Köln"),
        (lambda place: "half \ud800", "half ?"),
    ],
)
async def test_what_a_function_gives_is_told_the_model(function: Any, result: str) -> None:
    tool = Tool("where", "Where.", PLACE, function)
    assert await answered(tool, '{"place": "Köln"}') == (result, "done")


def broken(error: BaseException) -> Callable[..., Any]:
    def function() -> None:
        raise error

    return function


async def cancels_itself() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (broken(OSError("no\n  answer")), "error: no answer"),
        (broken(KeyError()), "error: KeyError"),
        (broken(ValueError("long " * 200)), f"error: {'long ' * 60}"),
        (broken(StopIteration("ended")), "error: coroutine raised StopIteration"),
        (broken(SystemExit(3)), "error: 3"),
        (cancels_itself, "error: it was cancelled"),
        (lambda: object(), "error: Object of type object is not JSON serializable"),
        (lambda: "x" * 2001, "error: its result is too long: 2001 characters; it may have 2000"),
        (lambda place: place, "error: "),
    ],
)  # fmt: skip
async def test_a_tool_that_fails_gives_the_model_a_line(function: Any, result: str) -> None:
    told, outcome = await answered(Tool("try", "Tries.", NOTHING, function))
    assert told.startswith(result)
    assert "\n" not in told
    assert outcome == "failed"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ('{"place": 5}', "error: arguments.place: 5 is not of type 'string'; correct the call"),
        ("{}", "error: arguments: 'place' is a required property; correct the call"),
    ],
)
async def test_what_does_not_fit_is_told_with_its_place(arguments: str, says: str) -> None:
    tool = Tool("where", "Where.", PLACE | {"required": ["place"]}, lambda place: place)
    told, outcome = await answered(tool, arguments)
    assert told.startswith(says)
    assert outcome == "refused"


async def test_the_second_misfit_ends_a_tool_for_the_answer_and_not_for_the_next() -> None:
    unfit = call("where", '{"place": 5}')
    replier = FakeReplier(unfit, unfit, call("where", '{"place": "x"}'), "No.")
    talk = conversation(replier, Tool("where", "Where.", PLACE, lambda place: place))
    await events_of(talk.ask("What?"))
    assert [text.rpartition("; ")[2] for text in results(talk)] == [
        "correct the call and make it again",
        "do not call it again, answer without it",
        "do not call it again, answer without it",
    ]
    replier.answer, replier.further = call("where", '{"place": "x"}'), ("Yes.",)
    await events_of(talk.ask("And now?"))
    assert results(talk)[-1] == "x"


async def test_two_misfits_of_one_round_are_one() -> None:
    unfit = call("where", '{"place": 5}')
    replier = FakeReplier(unfit + unfit, call("where", '{"place": "x"}'), "Yes.")
    talk = conversation(replier, Tool("where", "Where.", PLACE, lambda place: place))
    await events_of(talk.ask("What?"))
    assert results(talk)[-1] == "x"


async def test_a_schema_that_cannot_be_applied_is_a_misfit() -> None:
    """Nothing is fetched that a schema refers to."""
    schema = {"$ref": "https://example.com/x"}
    told, outcome = await answered(Tool("try", "Tries.", schema, lambda **_: 1), '{"a": 1}')
    assert told.startswith("error: its schema cannot be applied (")
    assert outcome == "refused"


@pytest.mark.parametrize(
    ("tools", "says"),
    [
        ([Tool("a b", "", NOTHING)], "tool 'a b': a name has"),
        ([Tool("", "", NOTHING)], "a name has"),
        ([Tool("a", "", {"type": 5})], "tool a: parameters: 5 is not valid"),
        ([Tool("a", "", {"default": {1, 2}})], "tool a: parameters: "),
        ([Tool("a", "", {"pattern": "("})], "tool a: parameters: '\\(' is not a 'regex'"),
        ([Tool("a", "", NOTHING), Tool("a", "", NOTHING)], "two have the same name"),
        ([Tool(f"a{i}", "", NOTHING) for i in range(MOST_TOOLS + 1)], "65 are too many"),
    ],
)
def test_what_is_no_tool_is_refused(tools: list[Tool], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        Toolbox(tools)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_without_jsonschema_there_are_no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    Toolbox()
    with pytest.raises(ExecutorUnavailable, match=r"pip install 'voxturn\[tools\]'") as caught:
        Toolbox([Tool("a", "", NOTHING)])
    assert caught.value.exit_code == 6


async def test_a_thought_is_no_part_of_what_is_shown() -> None:
    """Wherever it is cut; the dialogue has it, as the model may want to see it again."""
    replier = Letters("<think>Shall I <b>?</think>No, 1 < 2 [so].")
    talk = conversation(replier)
    events = await events_of(talk.ask("What?"))
    assert "".join(e.text for e in events if isinstance(e, ReplyToken)) == "No, 1 < 2 [so]."
    assert talk.messages[-1].text == replier.answer


class Letters(FakeReplier):
    """Writes letter by letter."""

    def pieces(self, answer: str) -> list[str]:
        return list(answer)


def test_a_model_without_tools_is_refused_with_the_conversation() -> None:
    class Plain(FakeReplier):
        takes_tools = False

    with pytest.raises(UsageError, match="takes no tools"):
        conversation(Plain("So."), Tool("a", "", NOTHING))
    conversation(Plain("So."))


async def test_calls_of_one_answer_run_at_once_and_results_keep_their_order() -> None:
    running, both = [0], asyncio.Event()

    async def wait(place: str) -> str:
        running[0] += 1
        if running[0] == 2:
            both.set()
        await both.wait()
        return place

    calls = call("wait", '{"place": "a"}') + call("wait", '{"place": "b"}')
    talk = conversation(FakeReplier(calls, "So."), Tool("wait", "", PLACE, wait))
    events = await asyncio.wait_for(events_of(talk.ask("What?")), 10)
    assert results(talk) == ["a", "b"]
    assert [event.arguments for event in events if isinstance(event, ToolCall)] == [
        {"place": "a"},
        {"place": "b"},
    ]
    roles = [message.role for message in talk.messages]
    assert roles == ["system", "user", "assistant", "tool", "tool", "assistant"]
    assert len(talk.messages[2].calls) == 2


async def test_the_model_is_asked_again_with_calls_and_results() -> None:
    replier = FakeReplier(f"Let me see. {call('now')}", "It is two.")
    talk = conversation(replier, Tool("now", "", PLACE, lambda place: "two"))
    events = await events_of(talk.ask("What time?"))
    first, second = replier.dialogues
    assert second[: len(first)] == first
    assert [(m.role, m.text) for m in second[len(first) :]] == [
        ("assistant", "Let me see."),
        ("tool", "two"),
    ]
    indexes = [event.index for event in events if isinstance(event, Sentence)]
    assert indexes == [0, 1]
    starts = [event.start for event in events if isinstance(event, PcmChunk)]
    assert starts == sorted(set(starts))
    assert events[-1] == TurnDone("Let me see. It is two.")
    assert talk.messages[1:] == [*second[1:], Message("assistant", "It is two.")]


async def test_a_filler_is_spoken_and_is_no_part_of_the_dialogue() -> None:
    clock = ManualClock()

    async def slow() -> str:
        await clock.sleep_until(5.0)
        return "two"

    settings = ToolSettings(filler=FILLER, filler_after_ms=1000)
    replier = FakeReplier(call("slow", "{}"), "It is two.")
    talk = conversation(replier, Tool("slow", "", NOTHING, slow), clock=clock, settings=settings)
    turn = talk.ask("What?")
    reading = asyncio.create_task(events_of(turn))
    await settle()
    clock.advance(0.9)
    await settle()
    assert not turn.trace.reply
    clock.advance(0.2)
    await settle()
    clock.advance(4.0)
    events = await asyncio.wait_for(reading, 10)
    spoken = [event for event in events if isinstance(event, Sentence)]
    assert [(event.text, event.filler) for event in spoken] == [
        (FILLER, True),
        ("It is two.", False),
    ]
    assert any(isinstance(e, PcmChunk) and e.sentence.filler for e in events)
    assert turn.trace.reply == turn.trace.heard_reply == "It is two."
    assert FILLER not in str(talk.messages)


async def test_a_quick_tool_needs_no_filler() -> None:
    settings = ToolSettings(filler=FILLER, filler_after_ms=1000)
    talk = conversation(
        FakeReplier(call("now", "{}"), "So."),
        Tool("now", "", NOTHING, lambda: 1),
        settings=settings,
    )
    events = await events_of(talk.ask("What?"))
    assert not [event for event in events if isinstance(event, Sentence) and event.filler]


async def test_where_the_model_says_nothing_after_its_calls_the_profile_may() -> None:
    tool = Tool("now", "", NOTHING, lambda: 1)
    settings = ToolSettings(rounds=1, no_answer=NO_ANSWER)
    replier = FakeReplier(call("now", "{}"))
    talk = conversation(replier, tool, settings=settings)
    events = await events_of(talk.ask("What?"))
    assert [event.text for event in events if isinstance(event, Sentence)] == [NO_ANSWER]
    assert len(replier.dialogues) == 3  # it called, was told to answer, and called again
    assert (
        results(talk)[1:]
        == ["error: there are no more calls for this answer; answer with what you know"] * 2
    )
    assert talk.messages[-1] == Message("assistant", "…")


async def test_whoever_reads_the_events_may_answer_a_call() -> None:
    talk = conversation(FakeReplier(call("ask", "{}"), "So."), Tool("ask", "", NOTHING))
    turn = talk.ask("What?")
    given: list[bool] = []

    def react(event: Event) -> None:
        if isinstance(event, ToolCall):
            given.append(turn.tool_result("another", "x"))
            with pytest.raises(TextTooLong):
                turn.tool_result(event.id, "x" * 2001)
            asyncio.get_running_loop().call_soon(
                lambda: given.extend(
                    [turn.tool_result(event.id, "yes"), turn.tool_result(event.id, "no")]
                )
            )

    assert not turn.tool_result("too early", "x")
    await asyncio.wait_for(events_of(turn, react), 10)
    assert given == [False, True, False]
    assert results(talk) == ["yes"]
    assert turn.trace.tools[0].outcome == "done"


async def test_a_caller_may_say_that_it_failed_and_has_so_much_time() -> None:
    clock = ManualClock()
    calls = call("ask", "{}") + call("wait", "{}")
    tools = Tool("ask", "", NOTHING), Tool("wait", "", NOTHING, timeout_s=2.5)
    talk = conversation(FakeReplier(calls, "So."), *tools, clock=clock)
    turn = talk.ask("What?")
    late: list[ToolCall] = []

    def react(event: Event) -> None:
        if isinstance(event, ToolCall) and event.name == "ask":
            loop = asyncio.get_running_loop()
            loop.call_soon(lambda: turn.tool_result(event.id, "no\nroute", failed=True))
            loop.call_later(0, lambda: clock.advance(3.0))
        elif isinstance(event, ToolCall):
            late.append(event)

    await asyncio.wait_for(events_of(turn, react), 10)
    assert results(talk) == ["error: no route", "error: wait took longer than 2.5 s"]
    assert [each.outcome for each in turn.trace.tools] == ["failed", "timed out"]
    assert not turn.tool_result(late[0].id, "at last")


async def test_a_barge_in_stops_calls_and_the_dialogue_has_a_result_for_each() -> None:
    stopped: list[str] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("hang")

    calls = f"Let me look. {call('now', '{}')}{call('hang', '{}')}"
    tools = Tool("now", "", NOTHING, lambda: "two"), Tool("hang", "", NOTHING, hang)
    replier = FakeReplier(calls, "So.")
    talk = conversation(replier, *tools)
    turn = talk.ask("What?")
    reading = asyncio.create_task(events_of(turn))
    await until(lambda: bool(turn.trace.tools))
    await settle()
    turn.played(0)
    await turn.aclose()
    await reading
    assert stopped == ["hang"]
    assert [each.outcome for each in turn.trace.tools] == ["done", "cancelled"]
    assert turn.trace.outcome == "cancelled"
    asked, (silent, *given), ending = talk.messages[1], talk.messages[2:-1], talk.messages[-1]
    assert asked.text == "What?"
    assert (silent.text, len(silent.calls)) == ("", 2)
    assert [m.text for m in given] == ["two", "error: it was stopped before it had a result"]
    assert ending == Message("assistant", "…")
    replier.answer = "So."
    await events_of(talk.ask("Next?"))  # and the dialogue goes on
    assert talk.messages[-1].text == "So."


async def test_a_function_in_a_thread_holds_up_nobody() -> None:
    """Neither its time-out nor a barge-in waits for it."""
    clock, free = ManualClock(), threading.Event()
    tool = Tool("stuck", "", NOTHING, lambda: free.wait(30))
    talk = conversation(FakeReplier(call("stuck", "{}"), "So."), tool, clock=clock)
    turn = talk.ask("What?")
    reading = asyncio.create_task(events_of(turn))
    await until(lambda: clock.waiting > 0)
    clock.advance(11)
    events = await asyncio.wait_for(reading, 10)
    assert events[-1] == TurnDone("So.")
    assert results(talk) == ["error: stuck took longer than 10 s"]
    free.set()
    for thread in threading.enumerate():
        if thread.name == "voxturn-tool":
            thread.join(10)


class Watched(FakeReplier):
    """Notes when it is asked."""

    def __init__(self, *answers: str) -> None:
        super().__init__(*answers)
        self.asked = asyncio.Event()

    async def __call__(self, *arguments: Any) -> AsyncGenerator[ReplyToken | ToolCall, None]:
        async with aclosing(super().__call__(*arguments)) as items:
            async for item in items:
                yield item
        self.asked.set()


@pytest.mark.parametrize("early", [False, True])
async def test_nothing_is_called_while_the_end_is_only_suspected_unless_it_may(early: bool) -> None:
    """Speech resumes after a pause: the first answer is void, and so are its calls."""
    made: list[str] = []
    replier = Watched(call("note", "{}"), "So.")
    tool = Tool("note", "", NOTHING, lambda: made.append("note"), early=early)
    talk = conversation(replier, tool)
    sound = [*tone(0.6, 0.0)]
    pause = int(RATE * 0.15)

    async def frames() -> Any:
        async for frame in fed(tone(0.6, 0.15)):
            yield frame
        await asyncio.wait_for(replier.asked.wait(), 10)
        await settle()
        assert bool(made) == early
        async for frame in fed(tone(0.6), rest=3.0):
            yield type(frame)(
                frame.samples, RATE, frame.start + len(sound) + pause, frame.arrived_s
            )

    turn = talk.turn(frames())
    events = await asyncio.wait_for(events_of(turn), 30)
    assert turn.trace.speculations == 2
    assert len([event for event in events if isinstance(event, ToolCall)]) == 1
    assert len(made) == (2 if early else 1)
    assert len(turn.trace.to_dict()["tools"]) == (2 if early else 1)


async def test_a_session_s_caller_answers_calls_until_somebody_speaks() -> None:
    """The second question cuts the first answer while its tool runs."""
    talk = conversation(FakeReplier(call("ask", "{}"), "So."), Tool("ask", "", NOTHING))
    calls: list[ToolCall] = []
    done: list[TurnDone] = []
    given: list[bool] = []
    async with Session(talk) as session:
        session.ask("What?")
        async for event in session:
            if isinstance(event, ToolCall):
                calls.append(event)
                if len(calls) == 1:
                    session.ask("And now?")
                else:
                    await settle()
                    given += [session.tool_result(each.id, "two") for each in calls]
            elif isinstance(event, TurnDone):
                done.append(event)
                if len(done) == 2:
                    break
    assert given == [False, True]
    assert [event.reply for event in done] == ["", "So."]
    said = [(m.role, m.text) for m in talk.messages[1:6]]
    stopped = "error: it was stopped before it had a result"
    assert said == [
        ("user", "What?"),
        ("assistant", ""),
        ("tool", stopped),
        ("assistant", "…"),
        ("user", "And now?"),
    ]
    with pytest.raises(StreamClosed):
        session.tool_result("a", "b")


async def test_an_assistant_gives_its_sessions_their_tools(tmp_path: Path) -> None:
    async with Assistant.load(write_profile(tmp_path, answer=call("now", "{}"))) as assistant:
        tool = Tool("now", "", NOTHING, lambda: "two")
        await assistant.warm([tool])
        talk = assistant.conversation(tools=[tool])
        await events_of(talk.ask("What?"))
        assert results(talk)[0] == "two"
        async with assistant.session(SessionOptions(tools=[tool])) as session:
            session.ask("What?")
            async for event in session:
                if isinstance(event, TurnDone):
                    break
        assert "tool" in [message.role for message in session.messages]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("timeout_s = 0", "tools.timeout_s: must be between 0.001 and 3600, not 0"),
        ("rounds = 0", "tools.rounds: must be between 1 and 32, not 0"),
        ("filler_after_ms = -1", "tools.filler_after_ms: must be between 0"),
        ("longest_result = 0", "tools.longest_result: must be between 1 and"),
        ("filler = 5", "tools.filler"),
        ("fillers = ''", "fillers"),
    ],
)
def test_a_profile_s_tools_are_checked(table: str, says: str, tmp_path: Path) -> None:
    path = write_profile(tmp_path)
    path.write_text(f"{path.read_text()}\n[tools]\n{table}\n")
    with pytest.raises(InvalidProfile, match=says):
        load_profile(path)
    path.write_text(path.read_text().replace(table, "filler = 'One moment.'"))
    assert load_profile(path).tools == ToolSettings(filler="One moment.")


NESTED: dict[str, Any] = {"type": "string"}
for _ in range(1500):
    NESTED = {"not": NESTED}


@pytest.mark.parametrize(
    "schema",
    [
        {"description": "a" * 16_384},
        {"properties": {"a": {"type": "string", "pattern": "(a+)+$"}}},
        {"items": [{"patternProperties": {"(a+)+$": {}}}]},
        {"$ref": "#/default/a", "default": {"a": {"pattern": "(a+)+$"}}},
        NESTED,
    ],
    ids=["size", "pattern", "patternProperties", "reference", "depth"],
)
def test_of_schemas_from_outside_some_are_not_taken(schema: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="tool try: parameters: "):
        Toolbox([client_tool("try", "Tries.", schema)])


def test_an_argument_may_be_called_pattern() -> None:
    schema = {"type": "object", "properties": {"pattern": {"type": "string"}}}
    box = Toolbox([client_tool("grep", "Finds.", schema)])
    assert not box.problem(ToolCall("1", "grep", {"pattern": "a.c"}))
    assert box.problem(ToolCall("1", "grep", {"pattern": 1}))
