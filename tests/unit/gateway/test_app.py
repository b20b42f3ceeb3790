from __future__ import annotations

import re
from collections import Counter

from voxturn.runtime.gateway.app import OPERATIONS, SOCKETS


def test_every_address_is_answered_once() -> None:
    places = Counter((each.method, re.sub(r"\{[^}]*\}", "{}", each.path)) for each in OPERATIONS)
    places += Counter(("WebSocket", each.path) for each in SOCKETS)
    assert not [place for place, count in places.items() if count > 1]
