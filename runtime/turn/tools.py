"""Functions that the model calls: what they are, and how their calls are run.

A call is checked, told as an event, made once it is certain that the question has ended, and ended
by its time-out. Whatever happens, the model gets a result for it: of one that failed, a line.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any

from voxturn.runtime.errors import ExecutorUnavailable, TextTooLong, UsageError
from voxturn.runtime.flow.clock import Clock, done_by
from voxturn.runtime.flow.event import Event
from voxturn.runtime.flow.handoff import cancel_all, cancel_and_wait
from voxturn.runtime.messages import Message, ToolCall, ToolSpec
from voxturn.runtime.text.chat_format import no_result

MOST_TOOLS = 64
_LONGEST_SCHEMA = 16_384
"""Bytes of JSON, of a schema that comes from outside."""
_LONGEST_REASON = 300
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Tool(ToolSpec):
    """A function that the model may call. `parameters`: the JSON schema of its arguments.

    `call` is called with the arguments by their names, in the event loop where it is asynchronous,
    in a thread where it is not, which cannot be stopped. It returns a text, or what becomes JSON.
    None: whoever reads the events answers (`tool_result`). `timeout_s`: as the profile says, where
    it is None. `early`: it may be called while the end of the question is only suspected, as
    nothing changes by it.
    """

    call: Callable[..., Any] | None = None
    timeout_s: float | None = None
    early: bool = False


def client_tool(name: str, description: str, parameters: Mapping[str, Any]) -> Tool:
    """A tool that comes from outside; whoever reads the events answers its calls.

    Raises `UsageError` for a schema of more than 16 KiB, and for one with patterns, at which a
    regular expression can take for ever. An argument may be called `pattern`.
    """
    try:
        size = len(_whole(json.dumps(dict(parameters), ensure_ascii=False)).encode())
    except (RecursionError, TypeError, ValueError) as exc:
        raise _unfit(name, str(exc)) from exc
    if size > _LONGEST_SCHEMA:
        raise _unfit(name, f"{size} bytes; a schema may have {_LONGEST_SCHEMA}")
    parts: list[Any] = [parameters]
    while parts:
        part = parts.pop()
        if isinstance(part, Mapping):
            # references reach every part: where it is does not say whether it is a keyword
            if "patternProperties" in part or isinstance(part.get("pattern"), str):
                raise _unfit(name, "patterns are not taken")
            parts += part.values()
        elif isinstance(part, list):
            parts += part
    return Tool(name, description, parameters)


def _unfit(name: str, why: str) -> UsageError:
    return UsageError(f"tool {name[:64]}: parameters: {_line(why)}")


@dataclass(frozen=True)
class ToolSettings:
    """The table `[tools]` of a profile.

    `timeout_s` of a call; `rounds`: how often the model may call in one answer; `longest_result`:
    characters that a result may have, which the model's context has to hold. `filler` is said once
    in an answer, if a tool takes longer than `filler_after_ms`; `no_answer` where the model says
    nothing after its calls. Empty: nothing is.
    """

    timeout_s: float = 10.0
    rounds: int = 4
    longest_result: int = 2000
    filler: str = ""
    filler_after_ms: int = 700
    no_answer: str = ""


@dataclass(frozen=True)
class ToolRun:
    """A call in a turn's trace, in seconds of its clock.

    `outcome`: done, failed, timed out, refused (its arguments do not fit, there is no such tool, or
    too many rounds), cancelled, or handed to whoever reads the events. `reason` is what the model was told of it.
    """

    name: str
    arguments: Mapping[str, Any]
    outcome: str
    reason: str
    begin_s: float
    end_s: float


class Toolbox:
    """The tools of a conversation. `handed`: an answer ends with its calls; whoever reads the events
    makes them, adds their results to the dialogue, and has it answered. Raises `UsageError` for what is no tool, and
    `ExecutorUnavailable` where `jsonschema` is not installed."""

    def __init__(
        self,
        tools: Sequence[Tool] = (),
        settings: ToolSettings | None = None,
        handed: bool = False,
    ) -> None:
        self.settings = settings or ToolSettings()
        self.handed = handed
        self.tools = tuple(tools)
        if len(tools) > MOST_TOOLS:
            raise UsageError(f"tools: {len(tools)} are too many; a model may have {MOST_TOOLS}")
        self._by_name = {tool.name: tool for tool in tools}
        if len(self._by_name) != len(tools):
            raise UsageError("tools: two have the same name")
        self._validators = {tool.name: _validator(tool) for tool in tools}

    def __getitem__(self, name: str) -> Tool:
        return self._by_name[name]

    def problem(self, call: ToolCall) -> str:
        """Why a call cannot be made; empty where it can."""
        if call.problem:
            return call.problem
        if call.name not in self._by_name:
            names = ", ".join(self._by_name)
            return f"there is no tool {call.name[:64]!r}; there is {names}"
        try:
            error = next(self._validators[call.name].iter_errors(dict(call.arguments)), None)
        except Exception as exc:  # noqa: BLE001  a schema is a program: its patterns, its references
            return f"its schema cannot be applied ({_line(str(exc))})"
        if error is None:
            return ""
        return f"{error.json_path.replace('$', 'arguments', 1)}: {_line(error.message)}"


class ToolRuns:
    """The calls of one answer. `told` gets the calls that are made, `recorded` all of them when
    they have ended.

    They wait until `certain` is set, where their tool is not early. A tool whose calls did not fit
    in two rounds is not called any more.
    """

    def __init__(
        self,
        box: Toolbox,
        clock: Clock,
        told: Callable[[ToolCall], None],
        recorded: Callable[[ToolRun], None],
    ) -> None:
        self.certain = Event()
        self._box = box
        self._clock = clock
        self._told = told
        self._recorded = recorded
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: dict[str, asyncio.Future[_Outcome]] = {}
        self._rounds = 0
        self._unfit: dict[str, int] = {}
        """In which round a tool's calls first did not fit."""
        self._given_up: set[str] = set()

    def begin_round(self) -> None:
        """The model is asked, once more."""
        self._rounds += 1
        self._tasks.clear()

    @property
    def exhausted(self) -> bool:
        """Whether the model was told not to call any more, and asked for an answer."""
        return self._rounds > self._box.settings.rounds + 1

    def start(self, call: ToolCall, results: dict[str, Message]) -> None:
        """Make a call; its result goes into `results`."""
        if refusal := self._refusal(call):
            outcome = _Outcome("refused", f"error: {refusal}")
            self._end(call, outcome, results, self._clock.now())
        else:
            self._tasks.append(asyncio.create_task(self._run(call, results)))

    def _refusal(self, call: ToolCall) -> str:
        """Why a call is not made; empty where it is."""
        if self._rounds > self._box.settings.rounds:
            return "there are no more calls for this answer; answer with what you know"
        problem = self._box.problem(call)
        if call.name in self._given_up:
            problem = problem or "its calls did not fit before"
        if not problem:
            return ""
        if self._unfit.setdefault(call.name, self._rounds) == self._rounds:
            return f"{problem}; correct the call and make it again"
        self._given_up.add(call.name)
        return f"{problem}; do not call it again, answer without it"

    async def ended(self, within_s: float | None = None) -> bool:
        """Wait until the round's calls have ended, at most so many seconds from when they could
        begin; whether they have."""
        if not self._tasks:
            return True
        ended = asyncio.ensure_future(asyncio.wait(self._tasks))
        certain = asyncio.ensure_future(self.certain.wait())
        try:
            if within_s is None:
                await ended
                return True
            await asyncio.wait([ended, certain], return_when=asyncio.FIRST_COMPLETED)
            return await done_by(self._clock, ended, self._clock.now() + within_s)
        finally:
            ended.cancel()
            certain.cancel()

    def give(self, call_id: str, content: str, failed: bool) -> bool:
        """The result of a call that somebody else makes; whether it is still waited for.

        Raises `TextTooLong`.
        """
        if len(content) > self._box.settings.longest_result:
            raise TextTooLong(f"a result: {self._too_long(content)}")
        waiting = self._waiting.get(call_id)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(_failed(content) if failed else _Outcome("done", _whole(content)))
        return True

    async def aclose(self) -> None:
        """Stop all calls."""
        await cancel_all(self._tasks)

    async def _run(self, call: ToolCall, results: dict[str, Message]) -> None:
        tool = self._box[call.name]
        if not tool.early:
            await self.certain.wait()  # one that is stopped here was never made
        outcome, begin_s = _Outcome("cancelled", no_result(call).text), self._clock.now()
        try:
            self._told(call)
            outcome = await self._within(tool, call, begin_s)
        finally:
            self._end(call, outcome, results, begin_s)

    async def _within(self, tool: Tool, call: ToolCall, begin_s: float) -> _Outcome:
        """What a call gives within its time."""
        timeout_s = self._box.settings.timeout_s if tool.timeout_s is None else tool.timeout_s
        work = asyncio.create_task(self._work(tool, call))
        try:
            if await done_by(self._clock, work, begin_s + timeout_s):
                return _failed("it was cancelled") if work.cancelled() else work.result()
            return _Outcome("timed out", f"error: {tool.name} took longer than {timeout_s:g} s")
        finally:
            await cancel_and_wait(work)

    async def _work(self, tool: Tool, call: ToolCall) -> _Outcome:
        if tool.call is None:
            self._waiting[call.id] = asyncio.get_running_loop().create_future()
            try:
                return await self._waiting[call.id]
            finally:
                del self._waiting[call.id]
        try:
            content = _content(await _called(tool.call, call.arguments))
        except (Exception, SystemExit) as exc:  # noqa: BLE001  a tool may fail in any way
            return _failed(str(exc) or type(exc).__name__)
        if len(content) > self._box.settings.longest_result:
            return _failed(f"its result is too long: {self._too_long(content)}")
        return _Outcome("done", content)

    def _too_long(self, content: str) -> str:
        most = self._box.settings.longest_result
        return f"{len(content)} characters; it may have {most}"

    def _end(
        self, call: ToolCall, outcome: _Outcome, results: dict[str, Message], begin_s: float
    ) -> None:
        results[call.id] = Message("tool", outcome.content, call_id=call.id)
        reason = "" if outcome.name == "done" else outcome.content
        run = ToolRun(call.name, call.arguments, outcome.name, reason, begin_s, self._clock.now())
        self._recorded(run)


@dataclass(frozen=True)
class _Outcome:
    """How a call ended, and what the model is told."""

    name: str
    content: str


def _failed(reason: str) -> _Outcome:
    return _Outcome("failed", f"error: {_line(reason)}")


def _line(text: str) -> str:
    """One line of a text that may have many."""
    return _whole(" ".join(text.split()))[:_LONGEST_REASON]


def _content(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _whole(text)


def _whole(text: str) -> str:
    """A text without halves of surrogate pairs, which no tokenizer takes."""
    return text.encode(errors="replace").decode()


async def _called(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """What a function gives; one that is not asynchronous runs in a thread of its own."""
    method = getattr(function, "__call__", function)  # noqa: B004  an object may be one
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method):
        return await function(**arguments)
    value, error = await _in_thread(copy_context(), lambda: function(**arguments))
    if error is not None:
        raise error
    return await value if inspect.isawaitable(value) else value


def _in_thread(
    context: Context, function: Callable[[], Any]
) -> asyncio.Future[tuple[Any, BaseException | None]]:
    """A call in a new thread, its result or its error. Where nobody waits any more it runs out."""
    future: Future[tuple[Any, BaseException | None]] = Future()
    future.set_running_or_notify_cancel()

    def work() -> None:
        try:
            future.set_result((context.run(function), None))
        except BaseException as exc:  # noqa: BLE001  it is the caller's
            future.set_result((None, exc))

    threading.Thread(target=work, name="voxturn-tool", daemon=True).start()
    return asyncio.wrap_future(future)


def _validator(tool: Tool) -> Any:
    """What checks a tool's arguments. Raises `UsageError`, `ExecutorUnavailable`."""
    try:
        from jsonschema import SchemaError, validators
        from referencing import Registry
    except ImportError as exc:
        raise ExecutorUnavailable(
            "jsonschema, which checks what tools are called with, is not installed; "
            "pip install 'voxturn[tools]'"
        ) from exc
    if not _NAME.fullmatch(tool.name):
        raise UsageError(f"tool {tool.name!r}: a name has up to 64 letters, digits, '_' and '-'")
    kind = validators.validator_for(tool.parameters, default=validators.Draft202012Validator)
    try:
        kind.check_schema(dict(tool.parameters))
        json.dumps(dict(tool.parameters))
    except (SchemaError, RecursionError, TypeError, ValueError) as exc:
        raise _unfit(tool.name, getattr(exc, "message", str(exc))) from exc
    return kind(dict(tool.parameters), registry=Registry())  # nothing is fetched
