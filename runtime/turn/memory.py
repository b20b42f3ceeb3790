"""What a dialogue remembers of a turn: the question, and of the answer what was really heard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxturn.runtime.audio.encode import output_error
from voxturn.runtime.errors import EmptyText, TextError
from voxturn.runtime.files import read_json
from voxturn.runtime.messages import Message, PcmChunk, ReplyToken, Sentence

_LETTERS_A_SECOND = 15
_ROLES = ("system", "user", "assistant")


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

    def fit(self, asked: Sequence[Message], question: str) -> int:
        """Drop the oldest messages that were left out when `question` was asked; how many they
        were."""
        dropped = _turns(with_question(self.messages, question)) - _turns(asked)
        oldest = len(self.messages) - _turns(self.messages)
        del self.messages[oldest : oldest + dropped]
        return dropped


class Exchange:
    """One question and its answer, as they come; `remember` adds them to the dialogue once, `trim`
    takes back.

    `heard` is the part of the answer that the dialogue holds. `refused`: the filter ended it, and
    what the model wrote is not held.
    """

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self.tokens: list[ReplyToken] = []
        self.chunks: list[PcmChunk] = []
        self.heard = ""
        self.refused = False
        self._answer: Message | None = None

    @property
    def samples(self) -> int:
        """How many samples of the answer there are."""
        return sum(chunk.samples.size for chunk in self.chunks)

    def remember(self, question: str, answer: str | None, samples: int = 0) -> None:
        """Add the question, and the whole `answer`; where it is None, what lies within its first
        `samples`."""
        messages = self._dialogue.messages
        messages[:] = with_question(messages, question)
        if answer is None:
            self._keep(heard_text(self.chunks, samples))
        else:
            self._keep(answer, "".join(token.text for token in self.tokens))

    def trim(self, samples: int) -> None:
        """Of the answer that was remembered only the first `samples` were heard.

        Nothing, once the dialogue went on.
        """
        messages = self._dialogue.messages
        last = messages[-1] if messages else None
        if self._answer is not None and last is self._answer:
            messages.pop()
        elif self._answer is not None or last is None or last.role != "user":
            return
        self._keep(heard_text(self.chunks, samples))

    def _keep(self, heard: str, written: str = "") -> None:
        """Remember what was heard, as the model wrote it where all of it was."""
        self.heard = heard
        tokens = [] if self.refused else self.tokens
        ids = tuple(i for token in tokens for i in token.ids)
        text = (not self.refused and written) or heard
        self._answer = Message("assistant", text, ids) if heard else None
        if self._answer is not None:
            self._dialogue.messages.append(self._answer)


def _turns(messages: Sequence[Message]) -> int:
    """How many messages there are beside the system prompt."""
    return sum(message.role != "system" for message in messages)


def with_question(messages: Sequence[Message], question: str) -> list[Message]:
    """A dialogue with its next question."""
    return alternating([*messages, Message("user", question)])


def alternating(messages: Sequence[Message]) -> list[Message]:
    """The messages of a dialogue, those of one role in a row as one.

    Where nothing of an answer was heard a question follows another. Joined, they are a dialogue as
    every model's template wants it, and what was computed of the first is of use for both.
    """
    out: list[Message] = []
    for message in messages:
        if out and out[-1].role == message.role:
            out[-1] = Message(message.role, f"{out[-1].text} {message.text}")
        else:
            out.append(message)
    return out


def heard_text(chunks: Sequence[PcmChunk], samples: int) -> str:
    """The text of the answer that lies within its first `samples` samples."""
    return " ".join(words_heard(chunks, samples))


def words_heard(chunks: Sequence[PcmChunk], samples: int) -> list[str]:
    """The words of the answer that lie within its first `samples` samples, each sentence's words
    evenly spread.

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
    words: list[str] = []
    for sentence, begin, end in spans.values():
        share = (samples - begin) / max(1, end - begin)
        all_words = sentence.text.split()
        words += all_words if share >= 1 else all_words[: max(0, int(share * len(all_words)))]
    return words


def write_messages(path: Path, messages: Sequence[Message]) -> None:
    """Write a dialogue into a file: a JSON list of `{"role", "text", "ids"}`.

    Raises `OutputNotWritable`, `DiskFull`.
    """
    items = [{"role": m.role, "text": m.text, "ids": list(m.ids)} for m in messages]
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
    if not isinstance(items, list) or not all(map(_is_message, items)):
        raise TextError(
            f'{path}: is no dialogue; it must be a list of {{"role": {" | ".join(_ROLES)}, "text": …}}'
        )
    return [Message(item["role"], item["text"], tuple(item.get("ids", ()))) for item in items]


def _is_message(item: Any) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("ids", []), list):
        return False
    whole = all(type(number) is int for number in item.get("ids", []))
    return item.get("role") in _ROLES and isinstance(item.get("text"), str) and whole
