"""One answer as items: events of a turn in, what happened out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.realtime.events import (
    AudioDelta,
    CallWritten,
    ContentAdded,
    ContentDone,
    Happening,
    ItemAdded,
    ItemDone,
    OutputAdded,
    OutputDone,
    ReplyBegan,
    TextDelta,
)
from voxturn.runtime.gateway.realtime.items import (
    CALL,
    COMPLETED,
    INCOMPLETE,
    RUNNING,
    Item,
    Items,
    Span,
    new_id,
)
from voxturn.runtime.messages import Event, Message, PcmChunk, ReplyToken, Sentence, ToolCall
from voxturn.runtime.turn.split import Split
from voxturn.runtime.turn.trace import Trace
from voxturn.runtime.turn.turn import Request

CANCELLED, FAILED = "cancelled", "failed"
_LETTERS_A_SECOND = 15
_PIECE_S = 0.5
_LETTERS_A_TOKEN = 4
_ENDS = (". ", "! ", "? ", "\n")


@dataclass(frozen=True)
class Usage:
    """What an answer took, in tokens; of audio 10 a second that was heard, 20 a second that was
    said."""

    input_text: int = 0
    input_audio: int = 0
    cached: int = 0
    output_text: int = 0
    output_audio: int = 0


@dataclass
class Reply:
    """An answer on its way. `items`: the dialogue that gets its items; None: it is beside it.

    `request`: what asked the session for it; None where a question was heard. `heard_s`: of the
    question. `max_tokens` 0: no bound. `status` and what follows are known when it has ended.
    """

    tell: Callable[[Happening], None]
    items: Items | None
    split: Split
    rate: int
    aloud: bool = True
    request: Request | None = None
    max_tokens: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    voice: str = ""
    heard_s: float = 0.0
    id: str = field(default_factory=lambda: new_id("resp"))
    status: str = RUNNING
    reason: str = ""
    error: ApiError | None = None
    usage: Usage = field(default_factory=Usage)
    trace: dict[str, Any] | None = None
    output: list[Item] = field(default_factory=list)
    _text: str = ""
    _raw: str = ""
    _ids: list[int] = field(default_factory=list)
    _calls: list[ToolCall] = field(default_factory=list)
    _message: Item | None = None
    _words: int = 0
    _refused: bool = False

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status == RUNNING

    def begin(self) -> None:
        """It is told that there is one."""
        self.tell(ReplyBegan(self))

    def take(self, event: Event) -> None:
        """The next event of its turn."""
        match event:
            case ReplyToken():
                self._ids += event.ids
                self._raw += event.text
                if not self.aloud and event.text:
                    self._write(event.text)
            case ToolCall():
                self._ids += event.ids
                self._calls.append(event)
            case Sentence(refusal=True):
                self._refused = True
                if not self.aloud:
                    self._text = event.text
                    self._write_out()
            case PcmChunk():
                self._say(event)

    def end(
        self,
        status: str = COMPLETED,
        reason: str = "",
        error: ApiError | None = None,
        heard: str | None = None,
        trace: Trace | None = None,
    ) -> None:
        """It has ended: its items are done. `heard`: what was heard of it, where it was cut."""
        if not self.aloud and not self._refused:
            self._write_out()
        if status == COMPLETED and 0 < self.max_tokens <= len(self._ids):
            status, reason = INCOMPLETE, "max_output_tokens"
        self.status, self.reason, self.error = status, reason, error
        self.usage = self._usage(trace)
        if self._message is not None:
            self._end_message(self._message, heard)
        if status in (COMPLETED, INCOMPLETE):
            self._end_calls()

    def _open(self) -> Item:
        """The item of its text."""
        if self._message is None:
            self._message = Item(
                role="assistant", spoken=self.aloud, status=RUNNING, rate=self.rate
            )
            self._add(self._message)
            self.tell(ContentAdded(self, 0, self._message))
        return self._message

    def _add(self, item: Item) -> None:
        index = len(self.output)
        self.output.append(item)
        self.tell(OutputAdded(self, index, item))
        if self.items is not None:
            self.tell(ItemAdded(item, self.items.add(item)))

    def _done(self, item: Item) -> None:
        self.tell(OutputDone(self, self.output.index(item), item))
        if self.items is not None:
            self.tell(ItemDone(item, self.items.before(item)))

    def _end_message(self, item: Item, heard: str | None) -> None:
        cut = self.status in (CANCELLED, FAILED)
        item.status = INCOMPLETE if cut or self.status == INCOMPLETE else COMPLETED
        self.tell(ContentDone(self, 0, item))
        self._done(item)
        if cut and self.aloud:
            item.retext(heard or "")
        elif not cut and not self._refused:
            calls = tuple(self._calls)
            item.message = Message("assistant", self._raw, tuple(self._ids), calls)

    def _end_calls(self) -> None:
        made = []
        for call in self._calls:
            item = Item(CALL, call=call, call_id=call.id, status=RUNNING)
            self._add(item)
            self.tell(CallWritten(self, self.output.index(item), item))
            item.status = COMPLETED
            self._done(item)
            made.append(item)
        if not made:
            return
        holder = self._message or made[0]
        holder.calls = tuple(item.id for item in made if item is not holder)
        if self._message is None:
            calls = tuple(self._calls)
            holder.message = Message("assistant", self._raw.strip(), tuple(self._ids), calls)

    def _say(self, chunk: PcmChunk) -> None:
        """Audio of a sentence, after the words that lie in it."""
        item = self._open()
        if not item.spans or item.spans[-1].sentence.index != chunk.sentence.index:
            item.spans.append(Span(chunk.sentence, chunk.start, words=chunk.words))
            self._words = 0
        span = item.spans[-1]
        span.size = chunk.start + chunk.samples.size - span.begin
        span.whole = chunk.final
        item.samples = span.begin + span.size
        self._tell_words(item, span)
        size = round(_PIECE_S * chunk.rate)
        for begin in range(0, chunk.samples.size, size):
            self.tell(AudioDelta(self, 0, item, chunk.samples[begin : begin + size]))

    def _tell_words(self, item: Item, span: Span) -> None:
        """The words of a sentence that begin within its audio so far, each where it lies; evenly
        spread where the voice does not know."""
        words = span.sentence.text.split()
        likely = round(len(span.sentence.text) / _LETTERS_A_SECOND * item.rate)
        whole = span.size if span.whole else max(span.size, likely)
        while self._words < len(words):
            at = whole * self._words / len(words)
            if span.words:
                at = span.words[self._words].begin_s * item.rate
            if at >= span.size and not span.whole:
                return
            word = words[self._words]
            text = f" {word}" if item.text else word
            item.text += text
            self._words += 1
            self.tell(TextDelta(self, 0, item, text, (span.begin + at) / item.rate))

    def _write(self, text: str) -> None:
        """Text that stays text: whole sentences of it pass the filter."""
        self._text += text
        end = max(self._text.rfind(mark) + len(mark) for mark in _ENDS)
        if any(mark in self._text for mark in _ENDS):
            ready, self._text = self._text[:end], self._text[end:]
            self._tell_text(ready)

    def _write_out(self) -> None:
        rest, self._text = self._text, ""
        if rest:
            self._tell_text(rest)

    def _tell_text(self, text: str) -> None:
        passed = text if self._refused else self.split.passed(text)
        if passed:
            item = self._open()
            item.text += passed
            self.tell(TextDelta(self, 0, item, passed))

    def _usage(self, trace: Trace | None) -> Usage:
        computed = trace.prompt_tokens_computed if trace is not None else 0
        reused = trace.prompt_tokens_reused if trace is not None else 0
        arguments = [json.dumps(dict(call.arguments)) for call in self._calls]
        guess = sum(map(len, [self._raw, *arguments])) // _LETTERS_A_TOKEN
        seconds = self._message.samples / self.rate if self._message is not None else 0.0
        return Usage(
            computed + reused,
            math.ceil(10 * self.heard_s),
            reused,
            len(self._ids) or guess,
            math.ceil(20 * seconds),
        )
