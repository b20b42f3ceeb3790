"""What happens in a dialogue, whichever words a dialect has for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.realtime.items import Item
from voxturn.runtime.messages import Samples

if TYPE_CHECKING:
    from voxturn.runtime.gateway.realtime.reply import Reply


@dataclass(frozen=True)
class SpeechBegan:
    """Somebody speaks, and is to be heard: what is played is to stop. `at_ms` of what came in."""

    item_id: str
    at_ms: float


@dataclass(frozen=True)
class SpeechStopped:
    """He is done."""

    item_id: str
    at_ms: float


@dataclass(frozen=True)
class Committed:
    """What was heard becomes an item, after `before`."""

    item_id: str
    before: str | None


@dataclass(frozen=True)
class Cleared:
    """What came in and is no item yet was dropped."""


@dataclass(frozen=True)
class ItemAdded:
    """An item has its place, after `before`."""

    item: Item
    before: str | None


@dataclass(frozen=True)
class ItemDone:
    """An item is whole."""

    item: Item
    before: str | None


@dataclass(frozen=True)
class ItemDeleted:
    """An item is gone."""

    item_id: str


@dataclass(frozen=True)
class ItemTold:
    """An item that was asked for."""

    item: Item


@dataclass(frozen=True)
class ItemTruncated:
    """Of an answer so much was heard."""

    item_id: str
    ms: float


@dataclass(frozen=True)
class HeardDelta:
    """More words of what is said."""

    item_id: str
    text: str


@dataclass(frozen=True)
class Heard:
    """All words of what was said in `seconds`."""

    item_id: str
    text: str
    seconds: float


@dataclass(frozen=True)
class NotHeard:
    """What was said could not be written down."""

    item_id: str
    error: ApiError


@dataclass(frozen=True)
class ReplyBegan:
    """An answer is being made."""

    reply: Reply


@dataclass(frozen=True)
class OutputAdded:
    """An answer has another item."""

    reply: Reply
    index: int
    item: Item


@dataclass(frozen=True)
class ContentAdded:
    """Text or audio of an answer's item begins."""

    reply: Reply
    index: int
    item: Item


@dataclass(frozen=True)
class TextDelta:
    """More of an answer's text; of a spoken one, `at_s`: where in its audio."""

    reply: Reply
    index: int
    item: Item
    text: str
    at_s: float = 0.0


@dataclass(frozen=True)
class AudioDelta:
    """More of an answer's audio."""

    reply: Reply
    index: int
    item: Item
    samples: Samples


@dataclass(frozen=True)
class ContentDone:
    """The text or audio of an answer's item is whole, or cut."""

    reply: Reply
    index: int
    item: Item


@dataclass(frozen=True)
class CallWritten:
    """The arguments of a call."""

    reply: Reply
    index: int
    item: Item


@dataclass(frozen=True)
class OutputDone:
    """An answer's item is whole, or cut."""

    reply: Reply
    index: int
    item: Item


@dataclass(frozen=True)
class ReplyDone:
    """An answer has ended; its `status` says how."""

    reply: Reply


@dataclass(frozen=True)
class Failed:
    """Something could not be done, and the dialogue goes on."""

    error: ApiError


@dataclass(frozen=True)
class Withheld:
    """Somebody speaks over what is played, and it is not clear yet whether he is to be heard."""


@dataclass(frozen=True)
class Released:
    """He was not: what is played goes on."""


@dataclass(frozen=True)
class Cut:
    """What was not played of an answer is not to be played."""


Happening = (
    SpeechBegan
    | SpeechStopped
    | Committed
    | Cleared
    | ItemAdded
    | ItemDone
    | ItemDeleted
    | ItemTold
    | ItemTruncated
    | HeardDelta
    | Heard
    | NotHeard
    | ReplyBegan
    | OutputAdded
    | ContentAdded
    | TextDelta
    | AudioDelta
    | ContentDone
    | CallWritten
    | OutputDone
    | ReplyDone
    | Failed
    | Withheld
    | Released
    | Cut
)
