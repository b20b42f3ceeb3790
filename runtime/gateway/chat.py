"""`/v1/chat/completions`: the profile's text model by itself."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.base import Replier, check_takes_tools, opens_thought
from voxturn.runtime.families.options import (
    ReplyOptions,
    ReplyReport,
    replying_as,
    takes_options,
)
from voxturn.runtime.gateway import answers
from voxturn.runtime.gateway.chat_forms import (
    AnswerMessage,
    Call,
    CallDelta,
    ChatRequest,
    ChatUsage,
    Choice,
    ChoiceDelta,
    Chunk,
    Completion,
    Delta,
    Finish,
    called_function,
    dialogue_of,
    toolbox_of,
)
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.models import REPLY, check_model
from voxturn.runtime.gateway.operations import Answer, Operation, json_answer, json_body
from voxturn.runtime.gateway.streaming import EVENTS
from voxturn.runtime.messages import Message, ToolCall, ToolSpec, Transcript
from voxturn.runtime.text.thought import WithoutThoughts

_USUAL_TOKENS = 256
"""Of an answer whose request does not say how long it may be: it is read, not spoken."""
_LEAST_TOP_P = 1e-6
_SEEDS = 1 << 64


class Writing:
    """An answer while it is written. `finish` and `usage` are known once `items` has ended.

    Raises `ApiError` and `UsageError` for what the model cannot do.
    """

    def __init__(self, gateway: Gateway, asked: ChatRequest) -> None:
        stages = gateway.assistant.stages
        self.finish: Finish = "stop"
        self._report = ReplyReport()
        self._tokens = 0
        self._stages = stages
        self._replier = replying_as(
            stages.replier,
            _options(asked, takes_options(stages.replier)),
            self._report,
        )
        self._messages = dialogue_of(asked.messages, gateway.assistant.profile.instructions)
        self._box = toolbox_of(asked.tools or ())
        self._calls = bool(self._box.tools) and asked.tool_choice != "none"
        # a template that has no tools has no results of them either
        results = any(message.role == "tool" for message in self._messages)
        self._tools = self._box.tools if self._calls or results else ()
        self._several = asked.parallel_tool_calls is not False
        if self._tools:
            _check_tools(self._replier)

    @property
    def usage(self) -> ChatUsage:
        """What it cost."""
        prompt = self._report.prompt_tokens
        written = self._report.completion_tokens or self._tokens
        return ChatUsage(prompt, written, prompt + written)

    async def items(self) -> AsyncGenerator[str | ToolCall, None]:
        """Pieces of its text, without thoughts, and its calls."""
        messages, refusal = await asyncio.to_thread(self._passed)
        if refusal:
            self.finish = "content_filter"
            yield refusal
            return
        fitted = await asyncio.to_thread(self._replier.fitted, messages, *self._tool_argument)
        said = self._stages.split.written()
        async with aclosing(self._unfiltered(fitted)) as items:
            async for item in items:
                if isinstance(item, ToolCall):
                    yield item
                elif text := said.push(item):
                    yield text
                if said.refused:
                    self.finish = "content_filter"
                    return
        if text := said.flush():
            yield text
        if said.refused:
            self.finish = "content_filter"

    @property
    def _tool_argument(self) -> tuple[Sequence[ToolSpec], ...]:
        """The argument `tools`, where there are any: a replier without them need not know it."""
        return (self._tools,) if self._tools else ()

    def _passed(self) -> tuple[list[Message], str]:
        """The dialogue with its question as the content filter leaves it, and a refusal."""
        messages = list(self._messages)
        if messages[-1].role == "user":
            passed = self._stages.recogniser.passed(Transcript(messages[-1].text, ""))
            messages[-1] = replace(messages[-1], text=passed.text)
            return messages, passed.refusal
        return messages, ""

    async def _unfiltered(self, messages: list[Message]) -> AsyncGenerator[str | ToolCall, None]:
        shown, begun, calls = WithoutThoughts(opens_thought(self._replier)), False, 0
        async with aclosing(self._replier(messages, *self._tool_argument)) as items:
            async for item in items:
                self._tokens += len(item.ids)
                if isinstance(item, ToolCall):
                    wanted = self._calls and not item.problem and (self._several or not calls)
                    calls += wanted
                    if wanted:
                        yield item
                    continue
                text = shown.push(item.text)
                text = text if begun else text.lstrip()
                begun = begun or bool(text)
                if text:
                    yield text
        rest = shown.flush()
        if rest := rest if begun else rest.lstrip():
            yield rest
        if calls:
            self.finish = "tool_calls"
        elif self._report.full:
            self.finish = "length"


def _options(asked: ChatRequest, settable: bool) -> ReplyOptions:
    """How the answer is to be made. `settable`: the model's family takes options.

    What is sampled without a seed differs each time.
    """
    sampled = bool(asked.temperature) or asked.top_p is not None
    seed = asked.seed % _SEEDS if asked.seed is not None else None
    if seed is None and sampled and settable:
        seed = secrets.randbits(63)
    most = asked.max_completion_tokens or asked.max_tokens
    stop = (asked.stop,) if isinstance(asked.stop, str) else asked.stop
    return ReplyOptions(
        temperature=asked.temperature,
        top_p=None if asked.top_p is None else max(asked.top_p, _LEAST_TOP_P),
        seed=seed,
        max_tokens=most or (_USUAL_TOKENS if settable else None),
        stops=tuple(each for each in stop if each) or None if stop else None,
    )


def _check(asked: ChatRequest) -> None:
    """Raise `ApiError` for what is asked for and cannot be kept."""
    if asked.n is not None and asked.n != 1:
        raise _unsupported("n", "one answer is given, not several")
    if asked.response_format is not None and asked.response_format.type != "text":
        raise _unsupported("response_format", "this model cannot be held to a form; ask in words")
    if asked.tool_choice not in (None, "auto", "none"):
        raise _unsupported("tool_choice", "this model cannot be made to call; give auto or none")
    if asked.modalities is not None and "audio" in asked.modalities:
        raise _unsupported("modalities", "text alone; /v1/audio/speech speaks it")


def _unsupported(param: str, what: str) -> ApiError:
    return ApiError(400, f"{param}: {what}", "unsupported_value", param)


def _check_tools(replier: Replier) -> None:
    try:
        check_takes_tools(replier)
    except UsageError as exc:
        raise ApiError(400, f"tools: {exc}", "unsupported_value", "tools") from exc


async def completions(gateway: Gateway, request: Request, caller: Caller) -> Response:
    """The answer to a dialogue, whole or streamed."""
    asked = await json_body(request, ChatRequest)
    model = check_model(gateway, asked.model, REPLY)
    _check(asked)
    writing = Writing(gateway, asked)
    name, created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
    if not asked.stream:
        work = _whole(writing, name, created, model)
        answer = await answers.whole(gateway, request, caller, work)
        return json_answer(answer)
    with_usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)
    pieces = _pieces(writing, Chunk(name, created, model, []), with_usage)
    return await answers.streamed(gateway, request, caller, pieces)


async def _whole(writing: Writing, name: str, created: int, model: str) -> Completion:
    texts: list[str] = []
    calls: list[Call] = []
    async with aclosing(writing.items()) as items:
        async for item in items:
            if isinstance(item, ToolCall):
                calls.append(Call(item.id, called_function(item)))
            else:
                texts.append(item)
    text = "".join(texts)
    message = AnswerMessage(text if text or not calls else None)
    if calls:
        message.tool_calls = calls
    return Completion(name, created, model, [Choice(message, writing.finish)], writing.usage)


async def _pieces(writing: Writing, empty: Chunk, with_usage: bool) -> AsyncGenerator[Chunk, None]:
    """An answer's chunks. The role comes with the first, so that until then an error has a
    status."""
    if with_usage:
        empty.usage = None

    def chunk(delta: Delta, finish: Finish | None = None) -> Chunk:
        return msgspec.structs.replace(empty, choices=[ChoiceDelta(delta, finish)])

    begun, calls = False, 0
    async with aclosing(writing.items()) as items:
        async for item in items:
            if not begun:
                begun = True
                yield chunk(Delta(role="assistant", content=""))
            if isinstance(item, ToolCall):
                call = CallDelta(calls, item.id, called_function(item))
                calls += 1
                yield chunk(Delta(tool_calls=[call]))
            else:
                yield chunk(Delta(content=item))
    if not begun:
        yield chunk(Delta(role="assistant", content=""))
    yield chunk(Delta(), writing.finish)
    if with_usage:
        yield msgspec.structs.replace(empty, choices=[], usage=writing.usage)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/chat/completions",
        completions,
        "Answer a dialogue",
        Answer("the answer", ("application/json", EVENTS), Completion, Chunk),
        body=ChatRequest,
    ),
)
