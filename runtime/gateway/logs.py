"""The gateway's log: a JSON object or a readable line for each event, with the ids of the request,
session, turn and key that it is about.

Nothing in it was said, answered or sent by a client: an error that may quote such things is logged
by its class and place alone, unless `content` is wanted.
"""

from __future__ import annotations

import json
import logging
import traceback
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from voxturn.runtime.errors import InputError, UsageError, VoxturnError
from voxturn.runtime.gateway.timing import trace_summary
from voxturn.runtime.turn.trace import Trace

_LOG = logging.getLogger(__name__)

FORMATS = ("json", "text")
LEVELS = ("debug", "info", "warning", "error")
_LOGGERS = ("voxturn", "uvicorn")
_OF_A_TURN = (
    "outcome",
    "response_ms",
    "endpoint_wait_ms",
    "audio_ms",
    "underruns",
    "stalled_ms",
    "dropped_messages",
)
_MOST_FRAMES = 12
_LONGEST = 2000
_NAMES = ("request", "session", "turn", "key")


@dataclass
class Ids:
    """What is being worked on: every task of one connection shares this. `error` and `status`: the
    code and the status of the last error that its client was told."""

    request: str = ""
    session: str = ""
    turn: str = ""
    key: str = ""
    error: str = ""
    status: int = 0

    def given(self) -> dict[str, str]:
        """The ids that are known."""
        return {name: value for name in _NAMES if (value := getattr(self, name))}


_IDS: ContextVar[Ids | None] = ContextVar("voxturn_log_ids", default=None)


@contextmanager
def log_context(
    request: str = "", session: str = "", turn: str = "", key: str = ""
) -> Iterator[Ids]:
    """Within the block, and in tasks that are begun there, every line has these ids, and those of
    the context around it."""
    around = current_ids()
    ids = Ids(
        request or around.request, session or around.session, turn or around.turn, key or around.key
    )
    token = _IDS.set(ids)
    try:
        yield ids
    finally:
        _IDS.reset(token)


def begin_log_context(request: str, key: str = "") -> None:
    """As `log_context`, without any around it, until the current task ends."""
    _IDS.set(Ids(request, key=key))


def note(**ids: str) -> None:
    """Add ids to the current context, as soon as they are known."""
    context = _IDS.get()
    for name, value in ids.items() if context is not None else ():
        setattr(context, name, value)


def note_error(code: str, status: int) -> None:
    """A client was told of an error."""
    if (context := _IDS.get()) is not None:
        context.error, context.status = code, status


def current_ids() -> Ids:
    """Those of the current context."""
    return _IDS.get() or Ids()


def event(logger: logging.Logger, name: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event by its name, with fields that are no content."""
    logger.log(level, name, extra={"voxturn_fields": fields})


def turn_ended(trace: Trace, content: bool = False) -> None:
    """Log that a turn has ended; with `content`, what was asked and answered, too."""
    told = trace_summary(trace)
    fields = {name: told[name] for name in _OF_A_TURN if told[name] is not None}
    fields["interruptions"] = [each["what"] for each in told["interruptions"]]
    fields["tools"] = [f"{each['name']}: {each['outcome']}" for each in told["tools"]]
    if content:
        fields |= {"transcript": trace.transcript, "reply": trace.reply, "heard": trace.heard_reply}
    if not current_ids().turn:
        fields["turn"] = f"turn_{uuid.uuid4().hex[:16]}"
    event(_LOG, "turn", **fields)


class _Formatter(logging.Formatter):
    """`content`: messages of errors that may quote what was said are kept."""

    def __init__(self, content: bool = False) -> None:
        super().__init__()
        self._content = content

    def told(self, record: logging.LogRecord) -> dict[str, Any]:
        """A record as plain data."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told: dict[str, Any] = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
        }
        fields = getattr(record, "voxturn_fields", None)
        if fields is None:
            told |= {"event": "log", "logger": record.name}
            told["message"] = record.getMessage()[:_LONGEST]
        else:
            told["event"] = record.msg
        told |= current_ids().given() | (fields or {})
        if record.exc_info and record.exc_info[1] is not None:
            told["error"] = self._error(record.exc_info[1], record.exc_info[2])
        return told

    def _error(self, error: BaseException, at: TracebackType | None) -> dict[str, Any]:
        """An exception: its class, where it was raised, and its message where that quotes
        nobody."""
        frames = [
            f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
            for frame, line in traceback.walk_tb(at)
        ]
        told: dict[str, Any] = {"type": type(error).__name__, "at": frames[-_MOST_FRAMES:]}
        ours = isinstance(error, VoxturnError) and not isinstance(error, InputError | UsageError)
        if self._content or ours:
            told["message"] = str(error)[:_LONGEST]
        cause = error.__cause__ or error.__context__
        if cause is not None:
            told["cause"] = type(cause).__name__
        return told


class JsonFormatter(_Formatter):
    """A JSON object in a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return json.dumps(self.told(record), default=str)


class TextFormatter(_Formatter):
    """The same for people: time, level, event, then `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        told = self.told(record)
        head = f"{told.pop('time')} {told.pop('level'):7} {told.pop('event')}"
        return " ".join([head, *(f"{name}={_value(value)}" for name, value in told.items())])


_FORMATTERS: Mapping[str, type[JsonFormatter] | type[TextFormatter]] = {
    "json": JsonFormatter,
    "text": TextFormatter,
}


def _value(value: Any) -> str:
    """A value that cannot be taken for two, nor for another line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if text and text.isprintable() and not any(each in text for each in ' ="'):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


@contextmanager
def logging_to(
    stream: TextIO, kind: str = "json", level: str = "info", content: bool = False
) -> Iterator[None]:
    """While the block runs, what the library and the server log goes to `stream` and nowhere else.

    `kind` is one of `FORMATS`, `level` one of `LEVELS`.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_FORMATTERS[kind](content))
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(each.handlers, each.level, each.propagate) for each in loggers]
    chosen = logging.getLevelNamesMapping()[level.upper()]
    for each, least in zip(loggers, (chosen, max(chosen, logging.WARNING)), strict=True):
        each.handlers, each.propagate = [handler], False
        each.setLevel(least)
    try:
        yield
    finally:
        for each, (handlers, old, propagate) in zip(loggers, before, strict=True):
            each.handlers, each.propagate = handlers, propagate
            each.setLevel(old)
