"""The text model by itself, over HTTP."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from voxturn.runtime.families.fake import FakeReplier
from voxturn.runtime.families.options import ReplyOptions
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.messages import Message
from voxturn.runtime.text.filter import Filtered
from voxturn.runtime.turn.recognise import FilteredRecogniser
from voxturn.runtime.turn.split import Split

ANSWER = "Paris is the capital. It lies on the Seine."
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


async def post(http: httpx2.AsyncClient, *messages: Any, **fields: Any) -> httpx2.Response:
    dialogue = list(messages) or [{"role": "user", "content": "Which?"}]
    return await http.post("/v1/chat/completions", json={"messages": dialogue} | fields)


def replier(gateway: Gateway) -> FakeReplier:
    found = gateway.assistant.stages.replier
    assert isinstance(found, FakeReplier)
    return found


def chunks(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_an_answer_has_its_text_and_what_it_cost(http: httpx2.AsyncClient) -> None:
    told = (await post(http, model="gpt-4o-mini")).json()
    assert told["object"] == "chat.completion"
    assert told["model"] == "fake-replier"
    assert told["id"].startswith("chatcmpl-")
    (choice,) = told["choices"]
    assert choice["message"] == {"role": "assistant", "content": ANSWER, "refusal": None}
    assert (choice["finish_reason"], choice["index"]) == ("stop", 0)
    assert told["usage"] == {"prompt_tokens": 1, "completion_tokens": 9, "total_tokens": 10}


async def test_a_stream_begins_with_the_role_and_ends_with_the_reason(
    http: httpx2.AsyncClient,
) -> None:
    answer = await post(http, stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, *pieces, last, usage = chunks(answer.text)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(piece["choices"][0]["delta"]["content"] for piece in pieces) == ANSWER
    assert len(pieces) == 9
    assert last["choices"][0] == {
        "index": 0,
        "delta": {},
        "finish_reason": "stop",
        "logprobs": None,
    }
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 10)
    assert all(piece["usage"] is None for piece in (first, *pieces, last))
    assert len({piece["id"] for piece in (first, *pieces, last, usage)}) == 1


async def test_usage_is_streamed_only_if_it_is_asked_for(http: httpx2.AsyncClient) -> None:
    for piece in chunks((await post(http, stream=True)).text):
        assert "usage" not in piece
        assert len(piece["choices"]) == 1


async def test_the_dialogue_reaches_the_model(http: httpx2.AsyncClient, gateway: Gateway) -> None:
    parts = [{"type": "text", "text": "Who"}, {"type": "text", "text": "was it?"}]
    await post(
        http,
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": parts, "name": "ana"},
    )
    assert replier(gateway).dialogues == [
        [
            Message("system", "Be brief."),
            Message("user", "Hello."),
            Message("assistant", "Hi."),
            Message("user", "Who\nwas it?"),
        ]
    ]


async def test_options_reach_the_model(http: httpx2.AsyncClient, gateway: Gateway) -> None:
    await post(http, temperature=0.5, top_p=0, seed=-1, max_tokens=7, stop=["\n", "Q:"])
    assert replier(gateway).asked == [ReplyOptions(0.5, 1e-6, (1 << 64) - 1, 7, ("\n", "Q:"))]
    await post(http, temperature=0.5, max_completion_tokens=3, stop="x", max_tokens=9)
    asked = replier(gateway).asked[-1]
    assert (asked.max_tokens, asked.stops) == (3, ("x",))
    assert asked.seed is not None
    await post(http, temperature=None, seed=None, stop=None, n=1, user="ana", logit_bias={})
    assert replier(gateway).asked[-1] == ReplyOptions(max_tokens=256)


async def test_an_answer_says_why_it_ended(http: httpx2.AsyncClient) -> None:
    (choice,) = (await post(http, max_tokens=3)).json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Paris is the", "length")
    (choice,) = (await post(http, stop=["capital", "Seine"])).json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Paris is the ", "stop")


async def test_calls_are_given(http: httpx2.AsyncClient, gateway: Gateway) -> None:
    replier(gateway).answer = f"Let me see. {CALL}"
    (choice,) = (await post(http, tools=[TOOL])).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"].strip() == "Let me see."
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["id"]
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    pieces = chunks((await post(http, tools=[TOOL], stream=True)).text)
    deltas = [piece["choices"][0]["delta"] for piece in pieces]
    (calls,) = [delta["tool_calls"] for delta in deltas if "tool_calls" in delta]
    assert (calls[0]["index"], calls[0]["function"]["name"]) == (0, "weather")
    assert pieces[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_an_answer_of_a_call_alone_has_no_text(
    http: httpx2.AsyncClient, gateway: Gateway
) -> None:
    replier(gateway).answer = f"{CALL}\n{CALL}"
    (choice,) = (await post(http, tools=[TOOL])).json()["choices"]
    assert choice["message"]["content"] is None
    assert len(choice["message"]["tool_calls"]) == 2
    (choice,) = (await post(http, tools=[TOOL], parallel_tool_calls=False)).json()["choices"]
    assert len(choice["message"]["tool_calls"]) == 1


async def test_results_go_back(http: httpx2.AsyncClient, gateway: Gateway) -> None:
    replier(gateway).answer = CALL
    replier(gateway).further = ("It rains.",)
    question = {"role": "user", "content": "Weather?"}
    message = (await post(http, question, tools=[TOOL])).json()["choices"][0]["message"]
    result = {
        "role": "tool",
        "tool_call_id": message["tool_calls"][0]["id"],
        "content": "rain",
    }
    told = (await post(http, question, message, result, tools=[TOOL])).json()
    assert told["choices"][0]["message"]["content"] == "It rains."
    call, given = replier(gateway).dialogues[-1][1:]
    assert call.calls[0].arguments == {"city": "Paris"}
    assert (given.role, given.text, given.call_id) == ("tool", "rain", call.calls[0].id)


async def test_without_choice_nothing_is_called(http: httpx2.AsyncClient, gateway: Gateway) -> None:
    replier(gateway).answer = "It rains."
    (choice,) = (await post(http, tools=[TOOL], tool_choice="none")).json()["choices"]
    assert choice["message"]["content"] == "It rains."
    assert "tool_calls" not in choice["message"]


async def test_a_thought_is_not_shown(http: httpx2.AsyncClient, gateway: Gateway) -> None:
    replier(gateway).answer = "<think> France, so Paris. </think> Paris."
    assert (await post(http)).json()["choices"][0]["message"]["content"] == "Paris."
    pieces = chunks((await post(http, stream=True)).text)
    assert "so" not in "".join(p["choices"][0]["delta"].get("content", "") for p in pieces)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"n": 2}, "n", "unsupported_value"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_value"),
        ({"tool_choice": "required", "tools": [TOOL]}, "tool_choice", "unsupported_value"),
        ({"tool_choice": {"type": "function"}}, "tool_choice", "unsupported_value"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"stop": list("abcde")}, "stop", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": "Hello"}, "messages", "invalid_value"),
        ({"messages": [{"role": "king", "content": ""}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "messages", "invalid_value"),
        (
            {"messages": [{"role": "tool", "content": "a", "tool_call_id": "x"}]},
            "messages[0].tool_call_id",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
            "unsupported_value",
        ),
    ],
)
async def test_what_cannot_be_kept_is_refused_by_its_name(
    http: httpx2.AsyncClient, fields: dict[str, Any], param: str, code: str
) -> None:
    for stream in (False, True):
        answer = await post(http, **fields, stream=stream)
        assert answer.status_code == 400, answer.text
        told = answer.json()["error"]
        assert (told["param"], told["code"]) == (param, code)


async def test_a_tool_that_is_none_is_refused(http: httpx2.AsyncClient) -> None:
    for function in (
        {"name": "with space"},
        {"name": "a", "parameters": {"type": "nothing"}},
        {"name": "x" * 65},
        {"name": "a", "parameters": {"pattern": "(a+)+$"}},
    ):
        answer = await post(http, tools=[{"type": "function", "function": function}])
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")


async def test_models_without_tools_or_options_say_so(
    http: httpx2.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeReplier, "takes_tools", False)
    answer = await post(http, tools=[TOOL])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools")


async def test_a_long_dialogue_is_refused(http: httpx2.AsyncClient) -> None:
    answer = await post(http, {"role": "user", "content": "a" * 400_001})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "text_too_long")


async def test_a_dialogue_without_a_system_message_gets_the_profile_s(
    http: httpx2.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = replace(gateway.assistant.profile, system_prompt="Be brief.")
    monkeypatch.setattr(gateway.assistant, "profile", profile)
    user = {"role": "user", "content": "Why?"}
    await post(http, user)
    await post(http, {"role": "system", "content": "Be long."}, user)
    first, second = (dialogue[0] for dialogue in replier(gateway).dialogues)
    assert (first.role, first.text) == ("system", "Be brief.")
    assert (second.role, second.text) == ("system", "Be long.")


class Cautious:
    """A content filter that changes one word and refuses another."""

    name = "cautious"

    def check(self, text: str, direction: str, language: str = "") -> Filtered:
        refusal = "I would rather not." if "forbidden" in text else ""
        return Filtered(text.replace("darn", "…"), refusal=refusal)


@pytest.fixture
def cautious(gateway: Gateway) -> Gateway:
    stages, found = gateway.assistant.stages, Cautious()
    gateway.assistant.stages = replace(
        stages,
        recogniser=FilteredRecogniser(stages.recogniser.recogniser, found),
        split=Split(found, 200),
    )
    return gateway


async def test_the_content_filter_holds_here_too(
    http: httpx2.AsyncClient, cautious: Gateway
) -> None:
    replier(cautious).answer = "A darn good answer. And more darn words"
    (choice,) = (await post(http, {"role": "user", "content": "darn?"})).json()["choices"]
    assert choice["message"]["content"] == "A … good answer. And more … words"
    assert replier(cautious).dialogues[-1][-1].text == "…?"


async def test_what_is_refused_says_so(http: httpx2.AsyncClient, cautious: Gateway) -> None:
    question = {"role": "user", "content": "the forbidden thing"}
    (choice,) = (await post(http, question)).json()["choices"]
    assert choice["message"]["content"] == "I would rather not."
    assert choice["finish_reason"] == "content_filter"
    assert replier(cautious).dialogues == []
    replier(cautious).answer = "Here it is. The forbidden thing. It is long."
    (choice,) = (await post(http)).json()["choices"]
    assert choice["message"]["content"] == "Here it is. I would rather not."
    assert choice["finish_reason"] == "content_filter"
    last = chunks((await post(http, stream=True)).text)[-1]
    assert last["choices"][0]["finish_reason"] == "content_filter"


async def test_the_system_may_ask_for_a_greeting(
    http: httpx2.AsyncClient, gateway: Gateway
) -> None:
    answer = await post(http, {"role": "system", "content": "Greet the caller."})
    assert answer.status_code == 200
    assert replier(gateway).dialogues == [[Message("system", "Greet the caller.")]]


async def test_results_are_answered_without_further_calls_if_none_may_be_made(
    http: httpx2.AsyncClient, gateway: Gateway
) -> None:
    replier(gateway).answer = CALL
    replier(gateway).further = (f"It rains. {CALL}",)
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    dialogue = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
    ]
    (choice,) = (await post(http, *dialogue, tools=[TOOL], tool_choice="none")).json()["choices"]
    assert choice["message"]["content"].strip() == "It rains."
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"


async def test_calls_without_results_get_one_that_says_so(
    http: httpx2.AsyncClient, gateway: Gateway
) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": ""}}
    await post(
        http,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "user", "content": "And?"},
        tools=[TOOL],
    )
    roles = [message.role for message in replier(gateway).dialogues[-1]]
    assert roles == ["assistant", "tool", "user"]


async def test_a_question_is_filtered_beside_the_loop(
    http: httpx2.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    recogniser: Any = gateway.assistant.stages.recogniser
    passed = recogniser.passed

    def noted(transcript: Any) -> Any:
        threads.append(threading.current_thread())
        return passed(transcript)

    monkeypatch.setattr(recogniser, "passed", noted)
    assert (await post(http)).status_code == 200
    (thread,) = threads
    assert thread is not threading.current_thread()
