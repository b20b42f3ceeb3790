"""What a dialogue consists of for a client: items with ids, in an order that he may change, and the
messages that the model sees of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.messages import Message, PcmChunk, Sentence, ToolCall, Word
from voxturn.runtime.text.chat_format import with_results
from voxturn.runtime.turn.memory import heard_text

MESSAGE, CALL, RESULT = "message", "function_call", "function_call_output"
RUNNING, COMPLETED, INCOMPLETE = "in_progress", "completed", "incomplete"
_MOST_ITEMS = 1000
_NOTHING = np.zeros(1, np.float32)


def new_id(kind: str) -> str:
    """An id that nobody guesses, as `item_…`."""
    return f"{kind}_{secrets.token_hex(10)}"


@dataclass
class Item:
    """A message, a call of a function, or its result (`text`).

    `spoken`: it was heard or is heard, `text` is its transcript. `message` is what the model wrote,
    as long as `calls`, the ids of the items of its calls, follow. `spans`: where its sentences lie
    in its audio of `rate` Hz. `forgotten`: the model does not see it any more.
    """

    type: str = MESSAGE
    role: str = ""
    text: str = ""
    spoken: bool = False
    status: str = COMPLETED
    call: ToolCall | None = None
    call_id: str = ""
    id: str = field(default_factory=lambda: new_id("item"))
    message: Message | None = None
    calls: tuple[str, ...] = ()
    spans: list[Span] = field(default_factory=list)
    samples: int = 0
    rate: int = 24000
    forgotten: bool = False

    @property
    def audio_ms(self) -> float:
        """How long its audio is."""
        return 1000 * self.samples / self.rate

    def truncate(self, ms: float) -> None:
        """Only so much of its audio was heard."""
        self.retext(self.text_until(ms))
        self.samples = min(self.samples, round(ms * self.rate / 1000))

    def text_until(self, ms: float) -> str:
        """The words that lie in the beginning of its audio."""
        chunks = [span.chunk(self.rate) for span in self.spans]
        return heard_text(chunks, round(ms * self.rate / 1000))

    def retext(self, text: str) -> None:
        """This is its text now, not what the model wrote."""
        self.text = text
        self.message = None


@dataclass
class Span:
    """A sentence in the audio of an answer: `begin` and `size` in samples. `whole`: to its end.
    `words`: where its words lie in it, where that is known."""

    sentence: Sentence
    begin: int
    size: int = 0
    whole: bool = False
    words: tuple[Word, ...] = ()

    def chunk(self, rate: int) -> PcmChunk:
        """As silence that takes no memory."""
        silence = np.broadcast_to(_NOTHING, (1, self.size))[0]
        return PcmChunk(
            silence, rate, self.begin, self.sentence, final=self.whole, words=self.words
        )


class Items:
    """The items of a dialogue: at most a thousand, then the oldest leave."""

    def __init__(self) -> None:
        self._items: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def last_id(self) -> str | None:
        """The id of the last one."""
        return self._items[-1].id if self._items else None

    def find(self, item_id: str, code: str = "item_not_found", param: str = "item_id") -> Item:
        """Raises `ApiError` where there is none of that id."""
        for item in reversed(self._items):
            if item.id == item_id:
                return item
        raise ApiError(404, f"there is no item {item_id[:80]!r}", code, param)

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Put an item after another; `root`: first, None: last. The id of the one before it.

        Raises `ApiError` where there is none of that id, or one of the item's own.
        """
        if any(each.id == item.id for each in self._items):
            raise ApiError(
                400,
                f"there is an item {item.id[:80]!r}",
                "item_create_duplicate_item_id",
                "item.id",
            )
        at = len(self._items)
        if after == "root":
            at = 0
        elif after is not None:
            known = self.find(after, "item_create_invalid_previous_item_id", "previous_item_id")
            at = self._items.index(known) + 1
        self._items.insert(at, item)
        before = self._items[at - 1].id if at else None
        if len(self._items) > _MOST_ITEMS:
            self.remove(next(each for each in self._items if each.role != "system"))
        return before

    def check_room(self) -> None:
        """Raise `ApiError` where a client may add no more."""
        if len(self._items) >= _MOST_ITEMS:
            raise ApiError(
                400,
                f"the conversation has {_MOST_ITEMS} items already; delete some",
                "too_many_items",
            )

    def before(self, item: Item) -> str | None:
        """The id of the item before this one."""
        at = next((i for i, each in enumerate(self._items) if each is item), 0)
        return self._items[at - 1].id if at else None

    def remove(self, item: Item) -> None:
        """Take an item out."""
        self._items = [each for each in self._items if each is not item]

    def forget(self, count: int) -> None:
        """So many of the oldest messages have left the model's sight."""
        left = len(self._said()) - count
        for item in self._items:
            if len(self._said()) <= left:
                break
            item.forgotten = item.role != "system"

    def messages(self, instructions: str) -> list[Message]:
        """What the model sees."""
        system = [m.text for m in messages_of(self._items) if m.role == "system"]
        text = "\n".join(filter(None, [instructions, *system]))
        return [*([Message("system", text)] if text else []), *self._said()]

    def _said(self) -> list[Message]:
        seen = messages_of([item for item in self._items if not item.forgotten])
        return [message for message in seen if message.role != "system"]


def messages_of(items: Sequence[Item]) -> list[Message]:
    """The messages that items are, each result directly after its call."""
    results = {item.call_id: item.text for item in items if item.type == RESULT}
    out: list[Message] = []
    skip: set[str] = set()
    for at, item in enumerate(items):
        if item.status == RUNNING or item.type == RESULT or item.id in skip:
            continue
        following = tuple(each.id for each in items[at + 1 : at + 1 + len(item.calls)])
        if item.message is not None and following == item.calls:
            message = item.message
            skip.update(item.calls)
        elif item.call is not None:
            message = Message("assistant", "", calls=(item.call,))
        elif item.text.strip():
            message = Message(item.role, item.text)
        else:
            continue
        out.append(message)
        known = [call.id for call in message.calls if call.id in results]
        out += [Message("tool", results[call_id], call_id=call_id) for call_id in known]
    return with_results(out)


def last_of(items: list[Item]) -> list[Item]:
    """The last items, from a question on: half of what a client may have, so he may go on."""
    rest = items[-(_MOST_ITEMS // 2) :]
    cut = len(rest) < len(items)
    first = next((i for i, each in enumerate(rest) if each.role == "user"), 0) if cut else 0
    return rest[first:]


def known_again(items: list[Item], answer: Item) -> list[Item]:
    """The items with the one that was an answer in its place, under the id that its client knows."""
    said = [item for item in items if item.type == MESSAGE and item.role == "assistant"]
    if not said or said[-1].text.split() != answer.text.split():
        return items
    answer.message, answer.calls = said[-1].message, said[-1].calls
    return [answer if item is said[-1] else item for item in items]


def items_of(messages: Sequence[Message]) -> list[Item]:
    """The items that messages become which were kept."""
    out: list[Item] = []
    for message in messages:
        if message.role == "tool":
            out.append(Item(RESULT, text=message.text, call_id=message.call_id))
            continue
        calls = [Item(CALL, call=call, call_id=call.id) for call in message.calls]
        if message.text or not calls:
            out.append(Item(role=message.role, text=message.text))
        out += calls
        holder = out[-len(calls) - (1 if message.text or not calls else 0)]
        holder.message = message
        holder.calls = tuple(call.id for call in calls if call is not holder)
    return out
