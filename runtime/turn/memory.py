"""What a dialogue remembers of a turn: the question, and of the answer what was really heard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxturn.runtime.audio.encode import output_error
from voxturn.runtime.errors import EmptyText, TextError
from voxturn.runtime.files import read_json
from voxturn.runtime.messages import Message, PcmChunk, ReplyToken, Sentence, ToolCall
from voxturn.runtime.text.chat_format import alternating, no_result

_LETTERS_A_SECOND = 15
_ROLES = ("system", "user", "assistant", "tool")
SILENT = "…"
"""An answer of which nothing was heard after its calls: templates want one after their results."""


class Dialogue:
    """The messages of a dialogue, and the code of the language that it was last held in."""

    def __init__(self, system_prompt: str = "") -> None:
        self.language = ""
        self.messages: list[Message] = [Message("system", system_prompt)] if system_prompt else []

    def pin(self, fact: str) -> None:
        """Keep a fact, whatever leaves the dialogue: it becomes a line of the system prompt, which
        stays.

        What was computed of the dialogue is computed once more. Raises `EmptyText`.
        """
        if not fact.strip():
            raise EmptyText("the fact has no words")
        system = [message for message in self.messages[:1] if message.role == "system"]
        lines = [*(message.text for message in system), fact.strip()]
        self.messages[: len(system)] = [Message("system", "\n".join(filter(None, lines)))]

    def drop_question(self) -> None:
        """Forget the question at the end that has no answer, if there is one."""
        if self.messages and self.messages[-1].role == "user":
            del self.messages[-1]

    def drop(self, count: int) -> None:
        """Forget the oldest messages after the system prompt."""
        oldest = 1 if self.messages and self.messages[0].role == "system" else 0
        del self.messages[oldest : oldest + count]


@dataclass
class Round:
    """What the model wrote when it was asked once: text, calls, the tokens of both. `sentences` are
    those that the text became, `results` what the calls gave, by their ids."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    sentences: list[Sentence] = field(default_factory=list)
    results: dict[str, Message] = field(default_factory=dict)

    def written(self, item: ReplyToken | ToolCall) -> None:
        """The model wrote this."""
        self.ids += item.ids
        if isinstance(item, ReplyToken):
            self.text += item.text
        else:
            self.calls.append(item)

    def answer(self, calls: bool = True) -> list[Message]:
        """The model's message, without its calls where they are not wanted; none where it wrote
        nothing."""
        made = tuple(self.calls) if calls else ()
        message = Message("assistant", self.text, tuple(self.ids), made)
        return [message] if self.text or made else []

    @property
    def refused(self) -> bool:
        """Whether the filter ended it: then nothing is held but what was said."""
        return any(sentence.refusal for sentence in self.sentences)

    def messages(self, heard: str | None = None) -> list[Message]:
        """What the dialogue has of it: all of it, or what was `heard` of its text; calls and their
        results always, unless it was refused."""
        said = " ".join(each.text for each in self.sentences).strip() if heard is None else heard
        if self.refused:
            return [Message("assistant", said)] if said else []
        text = self.text if said and heard is None else said
        if self.calls:
            answer = Message("assistant", text.strip(), tuple(self.ids), tuple(self.calls))
            return [answer, *(self.results.get(c.id, no_result(c)) for c in self.calls)]
        return [Message("assistant", text, tuple(self.ids))] if said else []


class Exchange:
    """One question and its answer; `remember` adds them to the dialogue once, `trim` takes back.

    `chunks` are the answer's audio as it comes. `heard` is the part of the answer that the dialogue
    holds.
    """

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self.chunks: list[PcmChunk] = []
        self.heard = ""
        self._rounds: Sequence[Round] = ()
        self._added: list[Message] = []
        self._last: Message | None = None

    @property
    def samples(self) -> int:
        """How many samples of the answer there are."""
        return sum(chunk.samples.size for chunk in self.chunks)

    def remember(self, question: str, rounds: Sequence[Round], samples: int | None = None) -> None:
        """Add the question, if there is one, and the answer, of the text of which only what lies within its first
        `samples`; all of it where that is None."""
        messages = self._dialogue.messages
        messages[:] = with_question(messages, question) if question else alternating(messages)
        self._rounds = rounds
        self._keep(samples)

    def trim(self, samples: int) -> None:
        """Of the answer that was remembered only the first `samples` were heard.

        Nothing, once the dialogue went on.
        """
        messages = self._dialogue.messages
        if not messages or messages[-1] is not self._last:
            return
        del messages[len(messages) - len(self._added) :]
        self._keep(samples)

    def _keep(self, samples: int | None) -> None:
        """Remember what was heard, as the model wrote it where all of it was."""
        self._added, heard = [], list[str]()
        for each in self._rounds:
            if samples is None:
                part = None
                heard += [sentence.text for sentence in each.sentences]
            else:
                part = heard_text(_chunks_of(each, self.chunks), samples)
                heard.append(part)
            self._added += each.messages(part)
        if self._added and self._added[-1].role == "tool":
            self._added.append(Message("assistant", SILENT))
        self.heard = " ".join(filter(None, heard)).strip()
        messages = self._dialogue.messages
        messages += self._added
        self._last = messages[-1] if messages else None


def _chunks_of(part: Round, chunks: Sequence[PcmChunk]) -> list[PcmChunk]:
    indexes = {sentence.index for sentence in part.sentences}
    return [chunk for chunk in chunks if chunk.sentence.index in indexes]


def with_question(messages: Sequence[Message], question: str) -> list[Message]:
    """A dialogue with its next question."""
    return alternating([*messages, Message("user", question)])


def heard_text(chunks: Sequence[PcmChunk], samples: int) -> str:
    """The text of the answer that lies within its first `samples` samples."""
    return " ".join(words_heard(chunks, samples))


def words_heard(chunks: Sequence[PcmChunk], samples: int) -> list[str]:
    """The words of the answer that lie within its first `samples` samples, each sentence's words
    evenly spread where the voice does not know where they lie.

    A sentence whose last chunk was not made yet is taken to last as long as its letters suggest.
    """
    spans: dict[int, tuple[Sentence, int, int]] = {}
    for chunk in chunks:
        sentence, begin, longest = spans.get(chunk.sentence.index, (chunk.sentence, chunk.start, 0))
        likely = (
            0 if chunk.final else begin + int(len(sentence.text) / _LETTERS_A_SECOND * chunk.rate)
        )
        end = chunk.start + chunk.samples.size
        spans[sentence.index] = (
            sentence,
            begin,
            end if chunk.final else max(longest, end, likely),
        )
    ends = {
        chunk.sentence.index: [int(word.end_s * chunk.rate) for word in chunk.words]
        for chunk in chunks
        if chunk.words
    }
    words: list[str] = []
    for sentence, begin, end in spans.values():
        share = (samples - begin) / max(1, end - begin)
        all_words = sentence.text.split()
        count = max(0, int(min(share, 1.0) * len(all_words)))
        if sentence.index in ends:
            count = sum(begin + each <= samples for each in ends[sentence.index])
        words += all_words[:count]
    return words


def write_messages(path: Path, messages: Sequence[Message]) -> None:
    """Write a dialogue into a file: a JSON list of `{"role", "text", "ids"}`, of an answer with
    calls also `calls`, of a result its `call_id`.

    Raises `OutputNotWritable`, `DiskFull`.
    """
    items = [_table(message) for message in messages]
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(json.dumps(items, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as exc:
        raise output_error(exc, str(path)) from exc


def read_messages(path: Path) -> list[Message]:
    """The dialogue in a file that `write_messages` wrote; `ids` may be left out.

    Raises `TextError`.
    """
    try:
        items = read_json(path)
    except OSError as exc:
        raise TextError(f"{path}: cannot be read ({exc.strerror})") from exc
    except ValueError as exc:  # neither UTF-8 nor JSON, or no regular file
        raise TextError(f"{path}: is not JSON ({exc}); give a file that a session saved") from exc
    try:
        if not isinstance(items, list):
            raise TypeError("it is no list")
        return [_message(item) for item in items]
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise TextError(
            f'{path}: is no dialogue; it must be a list of {{"role": {" | ".join(_ROLES)}, "text": …}}'
        ) from exc


def _table(message: Message) -> dict[str, Any]:
    """A message as plain data."""
    table: dict[str, Any] = {"role": message.role, "text": message.text, "ids": list(message.ids)}
    if message.calls:
        names = ("id", "name", "arguments", "problem")
        table["calls"] = [{name: getattr(c, name) for name in names} for c in message.calls]
    return table | ({"call_id": message.call_id} if message.role == "tool" else {})


def _message(item: Any) -> Message:
    """What `_table` made. Raises `KeyError`, `TypeError` or `ValueError`."""
    calls = tuple(ToolCall(**call) for call in item.get("calls", ()))
    ids = tuple(item.get("ids", ()))
    call_id = item["call_id"] if item["role"] == "tool" else ""
    texts = [item["text"], call_id, *(t for c in calls for t in (c.id, c.name, c.problem))]
    tables = all(isinstance(call.arguments, dict) for call in calls)
    whole = all(type(number) is int for number in ids)
    if item["role"] not in _ROLES or not (
        tables and whole and all(isinstance(t, str) for t in texts)
    ):
        raise ValueError("a field has another type")
    return Message(item["role"], item["text"], ids, calls, call_id)
