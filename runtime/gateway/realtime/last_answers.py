"""The last answers of conversations that were left, by the ids that their clients know."""

from __future__ import annotations

from collections import OrderedDict

from voxturn.runtime.gateway.realtime.items import Item

_MOST = 1000


class LastAnswers:
    """Of each conversation, by its key and its id, the item of its last spoken answer: a client
    that comes back may still say how much of it was heard. What is kept has no ids."""

    def __init__(self) -> None:
        self._items: OrderedDict[tuple[str, str], Item] = OrderedDict()

    def put(self, key: str, conversation: str, item: Item | None) -> None:
        """Remember it, as long as there are not too many."""
        if item is None:
            return
        self._items[key, conversation] = item
        if len(self._items) > _MOST:
            self._items.popitem(last=False)

    def take(self, key: str, conversation: str) -> Item | None:
        """The item, which is forgotten by this."""
        return self._items.pop((key, conversation), None)
